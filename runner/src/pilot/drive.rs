//! Carries out what the machine says: records first, then the action. No decision is made here.

use super::Error;
use super::egress;
use super::gateway::{Gateway, GatewayError};
use super::machine::{Event, Kept, Machine, Next};
use super::policy::Policy;
use super::sandbox::{Collected, Exec, Lost};
use crate::network::Target;
use oarmaster_protocol::assignment::Assignment;
use oarmaster_protocol::exec::{FailedCode, Request};
use oarmaster_protocol::task::MAX_ARTIFACT_BYTES;
use std::path::Path;

/// Runs the attempt to its result.
pub(super) async fn drive(
    gateway: Gateway,
    assignment: Assignment,
    socket: Option<&Path>,
    targets: &[Target],
) -> Result<(), Error> {
    let exec = match (&assignment.sandbox, socket) {
        (Some(sandbox), Some(socket)) => {
            let port = if sandbox.has_port() {
                Some(egress::listen(gateway.door()).await?)
            } else {
                None
            };
            Some(Exec::new(socket, sandbox.clone(), port))
        }
        _ => None,
    };
    let policy = Policy::watch(exec.as_ref().and(assignment.sandbox.as_ref()), targets);
    let mut machine = Machine::new(assignment);
    let mut driver = Driver {
        gateway,
        exec,
        policy,
    };
    let mut event = Event::Begin;
    if let Some(exec) = &mut driver.exec
        && exec.connect().await.is_err()
    {
        event = Event::ExecGone;
    }
    loop {
        if let Some(found) = driver.policy.news() {
            machine.learn(found);
        }
        let (after, step) = machine.step(event);
        machine = after;
        if !step.records.is_empty() {
            driver.gateway.append(step.records).await?;
        }
        event = match step.next {
            Next::Finish(outcome) => {
                driver.gateway.hand_in(outcome).await?;
                return Ok(());
            }
            Next::Model(body) => driver.model(&body).await?,
            Next::Exec(request) => driver.ask(&request).await,
            Next::Await { id } => match driver.gateway.await_answer(&id).await? {
                Some(answer) => Event::Replied(answer),
                None => Event::NoReply,
            },
            Next::Network => Event::Network(driver.policy.wait().await),
            Next::Collect { name, pattern } => driver.collect(&name, &pattern).await?,
            Next::Store { name, bytes } => {
                Event::Kept(driver.store(&name, bytes, Vec::new()).await?)
            }
        };
    }
}

struct Driver {
    gateway: Gateway,
    exec: Option<Exec>,
    policy: Policy,
}

impl Driver {
    async fn model(&mut self, body: &serde_json::Value) -> Result<Event, GatewayError> {
        match self.gateway.ask_model(body).await {
            Ok(answer) => Ok(Event::Answered(answer)),
            Err(GatewayError::Refused { code, message }) => {
                Ok(Event::ModelFailed { code, message })
            }
            Err(error) => Err(error),
        }
    }

    async fn ask(&mut self, request: &Request) -> Event {
        let Some(exec) = &mut self.exec else {
            return Event::ExecGone;
        };
        match exec.ask(request).await {
            Ok(response) => Event::Exec(response),
            Err(lost) => match self.reconnect().await {
                Event::ExecRestarted if lost == Lost::Idle => Event::ExecReplaced(request.clone()),
                event => event,
            },
        }
    }

    /// kubelet starts the container again; until then nobody listens.
    async fn reconnect(&mut self) -> Event {
        if let Some(exec) = &mut self.exec
            && exec.connect().await.is_ok()
        {
            return Event::ExecRestarted;
        }
        Event::ExecGone
    }

    async fn collect(&mut self, name: &str, pattern: &str) -> Result<Event, GatewayError> {
        let Some(exec) = &mut self.exec else {
            return Ok(Event::ExecGone);
        };
        let kept = match exec.collect(pattern, MAX_ARTIFACT_BYTES).await {
            Err(_) => return Ok(self.reconnect().await), // collecting changes nothing, and is done again
            Ok(Collected::Failed(failed)) if failed.code == FailedCode::TooLarge => {
                Kept::TooLarge(failed.message)
            }
            Ok(Collected::Failed(failed)) => Kept::Failed(failed.message),
            Ok(Collected::Files {
                count: 0, skipped, ..
            }) => Kept::Nothing { skipped },
            Ok(Collected::Files { bytes, skipped, .. }) => self.store(name, bytes, skipped).await?,
        };
        Ok(Event::Kept(kept))
    }

    async fn store(
        &mut self,
        name: &str,
        bytes: Vec<u8>,
        skipped: Vec<String>,
    ) -> Result<Kept, GatewayError> {
        match self.gateway.store(name, bytes).await {
            Ok(artifact) => Ok(Kept::Stored { artifact, skipped }),
            Err(GatewayError::Refused { code, message }) if code == "too_large" => {
                Ok(Kept::TooLarge(message))
            }
            Err(GatewayError::Refused { message, .. }) => Ok(Kept::Failed(message)),
            Err(error) => Err(error),
        }
    }
}
