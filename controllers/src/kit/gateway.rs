//! The client of the gateway's admin API. The operator is its only user.

use super::{Error, Result};
use arc_swap::ArcSwapOption;
use futures::StreamExt as _;
use oarmaster_protocol::admin::{
    AttemptReport, BudgetReport, Change, Fence, Health, KeptItem, OpenAttempt, OpenAttemptRef,
    Room, RoomQuery, TaskBudget,
};
use oarmaster_protocol::request::Reply;
use oarmaster_protocol::task::ApiError;
use reqwest::{Certificate, Client, Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long a call may take. An attempt is at most 1 MiB, and durable before the answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Silence on the stream of changes after which the connection is taken for dead; the gateway speaks every 10 s.
const STREAM_SILENCE: Duration = Duration::from_secs(25);
/// Longest line of that stream.
const MAX_LINE: usize = 64 << 10;

/// The gateway's admin API.
pub struct Gateway {
    url: String,
    token_file: PathBuf,
    held: ArcSwapOption<Held>,
    leads: Box<dyn Fn() -> bool + Send + Sync>,
}

/// A client and the CA for which it was made.
struct Held {
    ca: String,
    client: Client,
}

impl Gateway {
    /// The gateway at `url`, with the token in `token_file`. It cannot be asked before [`Self::trust`].
    #[must_use]
    pub fn new(url: &str, token_file: PathBuf) -> Self {
        Self {
            url: url.trim_end_matches('/').to_owned(),
            token_file,
            held: ArcSwapOption::empty(),
            leads: Box::new(|| true),
        }
    }

    /// Writes only while `leads` says so.
    #[must_use]
    pub fn writing_while(mut self, leads: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.leads = Box::new(leads);
        self
    }

    /// Trusts these CA certificates (PEM) and no others from now on.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn trust(&self, ca: &str) -> Result<()> {
        if self.held.load().as_ref().is_some_and(|held| held.ca == ca) {
            return Ok(());
        }
        let failed = |source| Error::Gateway {
            act: "trust the CA".to_owned(),
            source,
        };
        let certificates = Certificate::from_pem_bundle(ca.as_bytes()).map_err(failed)?;
        let client = Client::builder()
            .tls_certs_only(certificates)
            .https_only(true)
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(failed)?;
        self.held.store(Some(Arc::new(Held {
            ca: ca.to_owned(),
            client,
        })));
        Ok(())
    }

    /// Opens an attempt; again with the same content is fine.
    ///
    /// # Errors
    /// When the gateway cannot be asked, or refuses.
    pub async fn open(&self, uid: &str, attempt: u32, open: &OpenAttempt) -> Result<AttemptReport> {
        let act = format!("open attempt {attempt} of {uid}");
        let path = format!("/admin/v1/attempts/{uid}/{attempt}");
        self.ask(&act, Method::PUT, &path, Some(open)).await
    }

    /// What is known of an attempt; `None` if it was never opened.
    ///
    /// # Errors
    /// When the gateway cannot be asked.
    pub async fn report(&self, uid: &str, attempt: u32) -> Result<Option<AttemptReport>> {
        let act = format!("read attempt {attempt} of {uid}");
        let path = format!("/admin/v1/attempts/{uid}/{attempt}");
        known(self.ask::<(), _>(&act, Method::GET, &path, None).await)
    }

    /// Stops an attempt; `None` if it was never opened, which stops nothing.
    ///
    /// # Errors
    /// When the gateway cannot be asked.
    pub async fn fence(
        &self,
        uid: &str,
        attempt: u32,
        fence: &Fence,
    ) -> Result<Option<AttemptReport>> {
        let act = format!("fence attempt {attempt} of {uid}");
        let path = format!("/admin/v1/attempts/{uid}/{attempt}/fence");
        known(self.ask(&act, Method::PUT, &path, Some(fence)).await)
    }

    /// Raises a Task's budget; `None` if the Task is not known.
    ///
    /// # Errors
    /// When the gateway cannot be asked.
    pub async fn budget(&self, uid: &str, budget: &TaskBudget) -> Result<Option<AttemptReport>> {
        let act = format!("raise the budget of {uid}");
        let path = format!("/admin/v1/tasks/{uid}/budget");
        known(self.ask(&act, Method::PUT, &path, Some(budget)).await)
    }

    /// Answers a request of a Task; `None` if it was never made. The first answer stays.
    ///
    /// # Errors
    /// When the gateway cannot be asked.
    pub async fn answer(
        &self,
        uid: &str,
        id: &str,
        answer: &Reply,
    ) -> Result<Option<AttemptReport>> {
        let act = format!("answer request {id} of {uid}");
        let path = format!("/admin/v1/tasks/{uid}/requests/{id}");
        known(self.ask(&act, Method::PUT, &path, Some(answer)).await)
    }

    /// Keeps results of items of a step of a run. Of an item that has one the newer one counts.
    ///
    /// # Errors
    /// When the gateway cannot be asked, or has no room (`too_large`).
    pub async fn keep_items(&self, uid: &str, step: &str, items: &[KeptItem]) -> Result<()> {
        let act = format!("keep items of step {step} of {uid}");
        let path = format!("/admin/v1/tasks/{uid}/kept/{step}");
        self.ask(&act, Method::PUT, &path, Some(items)).await
    }

    /// What is kept of the items of a step, or of one of them; empty where nothing ever was.
    ///
    /// # Errors
    /// When the gateway cannot be asked, it is more than is read at once (`too_large`), or it is no longer kept (`not_found`).
    pub async fn kept_items(
        &self,
        uid: &str,
        step: &str,
        item: Option<u32>,
    ) -> Result<Vec<KeptItem>> {
        let act = format!("read items of step {step} of {uid}");
        let one = item.map_or_else(String::new, |item| format!("?item={item}"));
        let path = format!("/admin/v1/tasks/{uid}/kept/{step}{one}");
        self.ask::<(), _>(&act, Method::GET, &path, None).await
    }

    /// Every attempt that is neither fenced nor ended.
    ///
    /// # Errors
    /// When the gateway cannot be asked.
    pub async fn open_attempts(&self) -> Result<Vec<OpenAttemptRef>> {
        let path = "/admin/v1/attempts?open=true";
        self.ask::<(), _>("list open attempts", Method::GET, path, None)
            .await
    }

    /// What is known of the providers.
    ///
    /// # Errors
    /// When the gateway cannot be asked.
    pub async fn health(&self) -> Result<Health> {
        let path = "/admin/v1/providers";
        self.ask::<(), _>("read providers", Method::GET, path, None)
            .await
    }

    /// What the ledger has counted for each Budget.
    ///
    /// # Errors
    /// When the gateway cannot be asked.
    pub async fn budgets(&self) -> Result<Vec<BudgetReport>> {
        let path = "/admin/v1/budgets";
        self.ask::<(), _>("read budgets", Method::GET, path, None)
            .await
    }

    /// Whether Budgets leave room for a Task's next call.
    ///
    /// # Errors
    /// When the gateway cannot be asked.
    pub async fn room(&self, query: &RoomQuery) -> Result<Room> {
        let act = format!("ask for room for {}", query.task.uid);
        self.ask(&act, Method::POST, "/admin/v1/room", Some(query))
            .await
    }

    /// Reads the stream of changes until it ends, and hands each to `each`.
    ///
    /// # Errors
    /// When the stream cannot be opened, breaks, falls silent, or says something that was not agreed.
    pub async fn changes<F>(&self, mut each: impl FnMut(Change) -> F) -> Result<()>
    where
        F: Future<Output = Result<()>>,
    {
        let act = "read changes";
        let request = self
            .request(Method::GET, "/admin/v1/changes", act)
            .await?
            .build()
            .map_err(|source| gateway(act, source))?;
        let client = self.client(act)?;
        let answer = timely(act, CALL_TIMEOUT, client.execute(request)).await?;
        let answer = refused(act, answer).await?;
        let mut chunks = answer.bytes_stream();
        let mut held: Vec<u8> = Vec::new();
        loop {
            let Some(chunk) = tokio::time::timeout(STREAM_SILENCE, chunks.next())
                .await
                .map_err(|_| Error::Slow {
                    act: act.to_owned(),
                    after: STREAM_SILENCE,
                })?
            else {
                return Ok(());
            };
            held.extend_from_slice(&chunk.map_err(|source| gateway(act, source))?);
            while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = held.drain(..=end).collect();
                let change = serde_json::from_slice(&line).map_err(|error| Error::Protocol {
                    act: act.to_owned(),
                    message: error.to_string(),
                })?;
                each(change).await?;
            }
            if held.len() > MAX_LINE {
                return Err(Error::Protocol {
                    act: act.to_owned(),
                    message: format!("a line is longer than {MAX_LINE} bytes"),
                });
            }
        }
    }

    async fn ask<B, T>(&self, act: &str, method: Method, path: &str, body: Option<&B>) -> Result<T>
    where
        B: Serialize + ?Sized,
        T: DeserializeOwned,
    {
        let writes = method != Method::GET;
        let mut request = self.request(method, path, act).await?;
        if let Some(body) = body {
            request = request.json(body);
        }
        if writes && !(self.leads)() {
            return Err(Error::NotLeading {
                act: act.to_owned(),
            });
        }
        let call = async {
            let answer = request
                .send()
                .await
                .map_err(|source| gateway(act, source))?;
            let answer = refused(act, answer).await?;
            answer.json().await.map_err(|source| gateway(act, source))
        };
        tokio::time::timeout(CALL_TIMEOUT, call)
            .await
            .map_err(|_| Error::Slow {
                act: act.to_owned(),
                after: CALL_TIMEOUT,
            })?
    }

    /// A request with the token as it is now: the kubelet replaces the file well before the token ends.
    async fn request(&self, method: Method, path: &str, act: &str) -> Result<RequestBuilder> {
        let token = tokio::fs::read_to_string(&self.token_file)
            .await
            .map_err(|source| Error::Token {
                path: self.token_file.display().to_string(),
                source,
            })?;
        let client = self.client(act)?;
        Ok(client
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(token.trim()))
    }

    fn client(&self, act: &str) -> Result<Client> {
        self.held
            .load()
            .as_ref()
            .map(|held| held.client.clone())
            .ok_or_else(|| Error::Protocol {
                act: act.to_owned(),
                message: "no CA is known yet".to_owned(),
            })
    }
}

fn gateway(act: &str, source: reqwest::Error) -> Error {
    Error::Gateway {
        act: act.to_owned(),
        source,
    }
}

async fn timely(
    act: &str,
    limit: Duration,
    call: impl Future<Output = reqwest::Result<Response>>,
) -> Result<Response> {
    tokio::time::timeout(limit, call)
        .await
        .map_err(|_| Error::Slow {
            act: act.to_owned(),
            after: limit,
        })?
        .map_err(|source| gateway(act, source))
}

/// An answer that is a refusal, as an error with the gateway's own words.
async fn refused(act: &str, answer: Response) -> Result<Response> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let (code, message) = match answer.json::<ApiError>().await {
        Ok(body) => (body.error.code, body.error.message),
        Err(_) => ("unknown".to_owned(), "no reason was given".to_owned()),
    };
    Err(Error::GatewayRefused {
        act: act.to_owned(),
        status: status.as_u16(),
        code,
        message,
    })
}

/// `None` where the gateway does not know the thing. A path that it does not have is an error, and so is what somebody else answers.
fn known<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.gateway_code() == Some("not_found") => Ok(None),
        Err(error) => Err(error),
    }
}
#[cfg(test)]
#[path = "gateway_tests.rs"]
mod tests;
