//! Plays a process of shared pilots: takes each attempt as soon as there is one, and hands in its result at once.

use anyhow::{Context as _, Result, anyhow, bail};
use oarmaster_e2e::crash::rig::Door;
use oarmaster_protocol::journal::{Body, Outcome};
use oarmaster_protocol::task::{Append, SESSION_HEADER, WORK_WAIT, Work};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// So many ask for work at once. Each answer waits until the claim is durable, and so does each result.
const AT_ONCE: usize = 16;
/// How often a gateway is asked that cannot answer yet, as pilots do, and how long it is waited for in between.
const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(200);

/// The stub, until it is dropped.
pub struct Stub {
    failed: Arc<Mutex<Vec<String>>>,
    _asking: JoinSet<()>,
}

impl Stub {
    /// Starts to take attempts.
    pub fn start(door: Door) -> Result<Self> {
        let http = Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(door.ca.as_bytes())?])
            .timeout(WORK_WAIT + Duration::from_secs(40))
            .build()?;
        let failed = Arc::<Mutex<Vec<String>>>::default();
        let pilot = Arc::new(Pilot { http, door });
        let mut asking = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (pilot, failed) = (Arc::clone(&pilot), Arc::clone(&failed));
            asking.spawn(async move {
                loop {
                    if let Err(error) = pilot.play().await {
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.push(format!("{error:#}"));
                        return;
                    }
                }
            });
        }
        Ok(Self {
            failed,
            _asking: asking,
        })
    }

    /// An error if it could not take an attempt or finish it.
    pub fn check(&self) -> Result<()> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        match failed.first() {
            None => Ok(()),
            Some(first) => bail!("the stub has failed {} times: {first}", failed.len()),
        }
    }
}

struct Pilot {
    http: Client,
    door: Door,
}

impl Pilot {
    /// One attempt, if there is one before the gateway says that there is none.
    async fn play(&self) -> Result<()> {
        let work = || self.post("work").bearer_auth(&self.door.token);
        let answer = sent("work", work).await?;
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok(());
        }
        let Work {
            capability, claim, ..
        } = answer.json().await.context("failed to read an attempt")?;
        let outcome = Outcome {
            output: Some(json!({"text": "I am done."})),
            ..Outcome::default()
        };
        let append = Append {
            next: claim.next,
            records: vec![Body::Result { outcome }],
        };
        let result = || {
            let request = self.post("result").bearer_auth(&capability.0);
            request.header(SESSION_HEADER, &claim.session).json(&append)
        };
        sent("result", result).await.map(drop)
    }

    fn post(&self, what: &str) -> RequestBuilder {
        self.http.post(format!("{}/task/v1/{what}", self.door.url))
    }
}

/// The answer to a request, once it is no failure of the gateway.
async fn sent(what: &str, request: impl Fn() -> RequestBuilder) -> Result<Response> {
    let mut last = anyhow!("{what}: nobody answered");
    for _ in 0..TRIES {
        match request().send().await {
            Ok(answer) if answer.status().is_success() => return Ok(answer),
            Ok(answer) => {
                let status = answer.status();
                last = anyhow!("{what}: {status}: {}", answer.text().await?);
                if !status.is_server_error() {
                    return Err(last);
                }
            }
            Err(error) => last = anyhow!(error).context(format!("failed to ask for {what}")),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(last)
}
