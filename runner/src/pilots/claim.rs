//! One attempt of many: run to its result, for as long as the claim holds.

use crate::pilot::gateway::{Gateway, GatewayError};
use crate::pilot::link::{Link, Token};
use crate::pilot::{self, Error};
use oarmaster_protocol::task::{ApiError, CLAIM_LASTS, Release, Work};
use reqwest::StatusCode;
use std::io::Write as _;
use std::time::Duration;
use tokio::sync::watch;
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
}

impl Claimed {
    pub fn new(link: Link, work: Work) -> Self {
        let token = Token::Claim(work.capability.clone());
        Self { link, token, work }
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
        let gateway = Gateway::claimed(self.link.clone(), self.token.clone(), claim);
        let running = pilot::attempt(gateway, (task_uid, *attempt), assignment, None, &[]);
        let (why, failed) = tokio::select! {
            ended = running => match ended {
                Ok(()) => return,
                Err(error) => (error.to_string(), is_final(&error)),
            },
            why = self.keep() => (why, false),
            () = stop(&mut stopped) => ("the process stops".to_owned(), false),
        };
        say(&format!(
            "attempt {attempt} of task {task_uid} is left: {why}"
        ));
        self.give_back(failed.then_some(why)).await;
    }

    /// Renews the claim until it is over; says why it is.
    async fn keep(&self) -> String {
        let mut pause = RENEW;
        loop {
            sleep(pause).await;
            let renewed = self
                .link
                .post(&self.token, "/task/v1/renew", Vec::new(), WITHIN);
            pause = match renewed.await {
                Ok((status, _)) if status.is_success() => RENEW,
                Ok((status, body)) if status.is_client_error() => return reason(status, &body),
                _ => RENEW_AGAIN,
            };
        }
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
