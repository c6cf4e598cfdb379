//! The provider: OpenAI's chat completions with a bill of its own. What it does is chosen by the first segment of the path.

use crate::reply::{self, Answer, Failure, Fault, Pace};
use crate::tls::Files;
use crate::wire::{listen, serve};
use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// Pico-USD of an input token: USD 1 per million.
pub const INPUT_PICO: u64 = 1_000_000;
/// Pico-USD of an output token: USD 2 per million.
pub const OUTPUT_PICO: u64 = 2_000_000;
/// What was asked and billed so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Bill {
    /// Requests.
    pub requests: u64,
    /// Money in pico-USD.
    pub pico: u64,
    /// What the requests to `free` would have cost at the same price.
    pub free_pico: u64,
    /// Requests to `free`.
    pub free: u64,
    /// Requests that a fault was the answer to.
    pub faults: u64,
    /// The newest key.
    pub key: String,
}

#[derive(Default)]
struct Mock {
    requests: AtomicU64,
    pico: AtomicU64,
    free_pico: AtomicU64,
    free: AtomicU64,
    faults: AtomicU64,
    key: Mutex<String>,
}

/// Runs until it is stopped. Its first line says where it is: with TLS, and for questions about the bill.
pub async fn run(folder: &Path) -> Result<()> {
    let mock = Arc::new(Mock::default());
    let (listener, port) = listen().await?;
    let (control, control_port) = listen().await?;
    let asked = mock.clone();
    tokio::spawn(serve(control, None, move |_: Request<Incoming>| {
        let bill = serde_json::to_vec(&asked.bill());
        async move { Ok(Response::new(Full::new(Bytes::from(bill?)))) }
    }));
    let tls = Files::of(folder).server()?;
    crate::process::say(&[port, control_port]);
    serve(listener, Some(tls), move |request: Request<Incoming>| {
        let mock = mock.clone();
        async move { mock.answer(request).await }
    })
    .await;
    Ok(())
}

impl Mock {
    fn bill(&self) -> Bill {
        let key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        Bill {
            requests: self.requests.load(Relaxed),
            pico: self.pico.load(Relaxed),
            free_pico: self.free_pico.load(Relaxed),
            free: self.free.load(Relaxed),
            faults: self.faults.load(Relaxed),
            key: key.clone(),
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Answer, Failure> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let behaviour = parts.uri.path().split('/').nth(1).unwrap_or_default();
        if parts.method == http::Method::GET {
            return reply::whole(StatusCode::OK, &json!({"data": []}));
        }
        let number = self.requests.fetch_add(1, Relaxed);
        if behaviour == "keyed" {
            self.note_key(&parts.headers);
        }
        // Output between 20 and 79 tokens, the same for the same number.
        let output = 20 + number.wrapping_mul(2_654_435_761) % 60;
        let input = u64::try_from(body.len() / 4)?;
        let pico = input * INPUT_PICO + output * OUTPUT_PICO;
        let usage = json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output});
        let streamed = reply::wants_stream(&body);
        if behaviour.starts_with("faulty")
            && let Some(fault) = reply::fault(number)
        {
            self.faults.fetch_add(1, Relaxed);
            match fault {
                Fault::Refused(status, code) => return reply::refused(status, code),
                Fault::Pretended => {
                    let error = json!({"error": {"message": "slow down", "type": "rate_limit_exceeded", "code": "rate_limit_exceeded"}});
                    return reply::whole(StatusCode::OK, &error);
                }
                Fault::Cut if streamed => {
                    return Ok(self.stream(pico, &usage, reply::QUICK, true));
                }
                Fault::Stall if streamed => {
                    return Ok(self.stream(pico, &usage, reply::STALLING, false));
                }
                Fault::Cut | Fault::Stall => {}
            }
        }
        let mut owed = pico;
        if behaviour == "free" {
            self.free.fetch_add(1, Relaxed);
            self.free_pico.fetch_add(pico, Relaxed);
            owed = 0;
        }
        if streamed {
            let pace = match behaviour {
                "steady" => reply::STEADY,
                "slow" => reply::STALLING,
                _ => reply::QUICK,
            };
            return Ok(self.stream(owed, &usage, pace, false));
        }
        self.pico.fetch_add(owed, Relaxed);
        reply::whole(StatusCode::OK, &reply::completion(&usage))
    }

    fn note_key(&self, headers: &HeaderMap) {
        let key = headers.get(header::AUTHORIZATION);
        let key = key
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        key.clone_into(&mut self.key.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A stream; it is billed when its usage leaves, and breaks off after that where it is `cut`.
    fn stream(
        self: Arc<Self>,
        pico: u64,
        usage: &serde_json::Value,
        pace: Pace,
        cut: bool,
    ) -> Answer {
        reply::stream(usage, pace, cut, move || {
            self.pico.fetch_add(pico, Relaxed);
        })
    }
}
