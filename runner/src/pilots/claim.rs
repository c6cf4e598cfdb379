//! One attempt of many: run to its result, for as long as the claim holds.

use crate::pilot::gateway::{Gateway, GatewayError};
use crate::pilot::link::{Link, Token};
use crate::pilot::{self, Error};
use oarmaster_protocol::task::{ApiError, CLAIM_LASTS, Release, Work};
use reqwest::StatusCode;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How often a claim is renewed, and how soon again after a try without an answer: a gateway that comes back gives it [`CLAIM_LASTS`].
const RENEW: Duration = Duration::from_secs(10);
const RENEW_AGAIN: Duration = Duration::from_secs(2);
/// An answer to these takes milliseconds.
const WITHIN: Duration = Duration::from_secs(8);
const _: () = assert!(RENEW.as_secs() * 2 <= CLAIM_LASTS.as_secs());

/// An attempt that this process has.
pub struct Claimed {
    link: Link,
    token: Token,
    work: Work,
    /// Whose turn it is to read a journal.
    turns: Arc<Semaphore>,
}

impl Claimed {
    pub fn new(link: Link, work: Work, turns: Arc<Semaphore>) -> Self {
        let token = Token::Claim(work.capability.clone());
        Self {
            link,
            token,
            work,
            turns,
        }
    }

    /// Runs it until its result is handed in, the claim is over, or this process stops.
    pub async fn run(self, mut stopped: watch::Receiver<bool>) {
        let Work {
            task_uid,
            attempt,
            assignment,
            claim,
            ..
        } = &self.work;
        let (link, token) = (self.link.clone(), self.token.clone());
        let mut kept = keep(link.clone(), token.clone(), RENEW);
        let gateway = Gateway::claimed(link, token, claim, self.turns.clone());
        let running = pilot::attempt(gateway, (task_uid, *attempt), assignment, None, &[]);
        let (why, failed) = tokio::select! {
            ended = running => match ended {
                Ok(()) => return,
                Err(error) => (error.to_string(), is_final(&error)),
            },
            Some(Ok(why)) = kept.join_next() => (why, false),
            () = stop(&mut stopped) => ("the process stops".to_owned(), false),
        };
        say(&format!(
            "attempt {attempt} of task {task_uid} is left: {why}"
        ));
        self.give_back(failed.then_some(why)).await;
    }

    /// Gives the attempt back, so that another pilot has it at once; where it cannot be run at all, it ends. Tried once: a claim that is not
    /// given back is over by itself soon.
    async fn give_back(&self, failed: Option<String>) {
        let session = self.work.claim.session.clone();
        let Ok(body) = serde_json::to_vec(&Release { session, failed }) else {
            return;
        };
        let _ = self
            .link
            .post(&self.token, "/task/v1/release", body, WITHIN)
            .await;
    }
}

/// Renews the claim until it is over, and says why it is; in a task of its own, which what the attempt does without a pause keeps from nothing. Until this is
/// dropped.
fn keep(link: Link, token: Token, every: Duration) -> JoinSet<String> {
    let mut kept = JoinSet::new();
    kept.spawn(async move {
        let mut pause = every;
        loop {
            sleep(pause).await;
            let renewed = link.post(&token, "/task/v1/renew", Vec::new(), WITHIN);
            pause = match renewed.await {
                Ok((status, _)) if status.is_success() => every,
                Ok((status, body)) if status.is_client_error() => return reason(status, &body),
                _ => RENEW_AGAIN,
            };
        }
    });
    kept
}

/// Whether another try would end as this one did.
fn is_final(error: &Error) -> bool {
    !matches!(
        error,
        Error::Gateway(GatewayError::Fenced(_) | GatewayError::Unreachable(_))
    )
}

async fn stop(stopped: &mut watch::Receiver<bool>) {
    // An error says that the process is at its end.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// What the gateway said.
pub fn reason(status: StatusCode, body: &[u8]) -> String {
    match serde_json::from_slice::<ApiError>(body) {
        Ok(error) => format!("{}: {}", error.error.code, error.error.message),
        Err(_) => format!("HTTP status {}", status.as_u16()),
    }
}

/// A line for the pod's log.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}"); // nobody is left to tell when stderr is gone
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use axum::Router;
    use axum::routing::post;
    use oarmaster_protocol::task::Capability;
    use std::sync::mpsc;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_claim_is_renewed_while_its_attempt_does_something_without_a_pause() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (renewed, seen) = mpsc::channel();
        let renew = move || {
            let told = renewed.send(());
            async move { told.map_err(|_| "the test is over".to_owned()) }
        };
        let router = Router::new().route("/task/v1/renew", post(renew));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let _ = rustls::crypto::ring::default_provider().install_default();
        let token = Token::Claim(Capability("mine".to_owned()));
        let link = Link::new(&base, "").unwrap();
        // As it is in the task that runs the attempt.
        let attempt = tokio::spawn(async move {
            let kept = keep(link, token, Duration::from_millis(1));
            let soon = Duration::from_secs(60);
            let done = tokio::task::block_in_place(|| {
                seen.recv_timeout(soon)
                    .and_then(|()| seen.recv_timeout(soon))
            });
            drop(kept);
            done
        });
        attempt.await.unwrap().unwrap();
    }
}
