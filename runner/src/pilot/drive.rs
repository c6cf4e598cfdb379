//! Carries out what the machine says: records first, then the action. No decision is made here.

use super::Error;
use super::egress;
use super::gateway::{Gateway, GatewayError};
use super::machine::{Event, Kept, Machine, Next, Save, Saved};
use super::policy::Policy;
use super::sandbox::{Collected, Exec, Lost};
use crate::network::Target;
use oarmaster_protocol::assignment::{Assignment, Placed};
use oarmaster_protocol::exec::{Bytes, Failed, FailedCode, Request, Response};
use oarmaster_protocol::journal::Blob;
use oarmaster_protocol::task::{MAX_ARTIFACT_BYTES, MAX_BLOB_BYTES};
use oarmaster_protocol::tool::{Offer, ToolAnswer};
use std::path::Path;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// Bytes of a piece of an artifact that is placed: as base64 it fits into a frame with room to spare.
const PIECE_BYTES: usize = 4 << 20;

/// Runs the attempt to its result.
pub(super) async fn drive(
    gateway: Gateway,
    mut machine: Machine,
    assignment: &Assignment,
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
        let (after, step) = unhurried(|| machine.step(event));
        machine = after;
        if !step.records.is_empty() {
            driver.gateway.append(step.records).await?;
        }
        event = match step.next {
            Next::Finish(outcome) => {
                driver.gateway.hand_in(outcome).await?;
                return Ok(());
            }
            Next::Model(body) => {
                let asked = driver.gateway.ask_model(&body).await;
                answered(asked)?
            }
            Next::Again { call, body } => {
                let asked = driver.gateway.ask_model_as(call, &body).await;
                answered(asked)?
            }
            Next::Exec(request) => {
                let event = driver.ask(&request).await;
                if let Event::Exec(response) = &event
                    && let Some(save) = machine.saves(response)
                {
                    machine.saved(driver.save(save).await?);
                }
                event
            }
            Next::Tools => Event::Tools(match driver.gateway.tools().await {
                Ok(offer) => offer,
                Err(GatewayError::Refused { message, .. }) => Offer {
                    missing: vec![message],
                    ..Offer::default()
                },
                Err(error) => return Err(error.into()),
            }),
            Next::Serve { name, call, once } => {
                Event::Served(match driver.gateway.use_tool(&name, call, once).await {
                    Ok(answer) => answer,
                    Err(GatewayError::Refused { message, .. }) => ToolAnswer::failed(message),
                    Err(error) => return Err(error.into()),
                })
            }
            Next::Save(save) => Event::Saved(driver.save(save).await?),
            Next::Restore(blobs) => driver.restore(&blobs).await?,
            Next::Place(placed) => driver.place(&placed).await?,
            Next::Await { id } => match driver.gateway.await_answer(&id).await? {
                Some(answer) => Event::Replied(answer),
                None => Event::NoReply,
            },
            Next::Network => Event::Network(driver.policy.wait().await),
            Next::Collect { name, pattern } => driver.collect(&name, &pattern).await?,
            Next::Store { name, bytes } => {
                Event::Kept(driver.store(&name, bytes, false, Vec::new()).await?)
            }
        };
    }
}

fn answered(asked: Result<serde_json::Value, GatewayError>) -> Result<Event, GatewayError> {
    match asked {
        Ok(answer) => Ok(Event::Answered(answer)),
        Err(GatewayError::Refused { code, message }) => Ok(Event::ModelFailed { code, message }),
        Err(error) => Err(error),
    }
}

/// Does what may take long, while other attempts of the process go on.
pub(super) fn unhurried<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => block_in_place(work),
        _ => work(),
    }
}

struct Driver {
    gateway: Gateway,
    exec: Option<Exec>,
    policy: Policy,
}

impl Driver {
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

    /// Takes a checkpoint. A sandbox that is lost meanwhile is found out by the next request to it.
    async fn save(&mut self, save: Save) -> Result<Saved, GatewayError> {
        let lost = || Ok(Saved::Failed("the sandbox was lost".to_owned()));
        let Some(exec) = &mut self.exec else {
            return lost();
        };
        let request = Request::Snapshot { base: save.base };
        if exec.begin(&request).await.is_err() {
            return lost();
        }
        let mut blobs = Vec::new();
        let mut part = Vec::new();
        let most = usize::try_from(MAX_BLOB_BYTES).unwrap_or(usize::MAX);
        let mut refused: Option<String> = None;
        loop {
            let Ok(response) = exec.receive_more().await else {
                return lost();
            };
            let end = match response {
                Response::Chunk { .. } if refused.is_some() => continue, // what is sent must be read
                Response::Chunk { content } => {
                    part.extend(content.0);
                    None
                }
                Response::Snapshot { base, skipped, .. } => Some((base, skipped)),
                Response::Failed(failed) => return Ok(Saved::Failed(failed.message)),
                _ => return lost(),
            };
            while refused.is_none() && (part.len() >= most || (end.is_some() && !part.is_empty())) {
                let rest = part.split_off(part.len().min(most));
                let bytes = std::mem::replace(&mut part, rest);
                match self.gateway.keep(bytes).await {
                    Ok(blob) => blobs.push(blob),
                    Err(GatewayError::Refused { message, .. }) => refused = Some(message),
                    Err(error) => return Err(error),
                }
            }
            if let Some((base, skipped)) = end {
                return Ok(match refused {
                    Some(why) => Saved::Failed(why),
                    None if blobs.is_empty() && !base => Saved::Same,
                    None => Saved::Taken {
                        base,
                        blobs,
                        skipped,
                    },
                });
            }
        }
    }

    async fn restore(&mut self, blobs: &[Blob]) -> Result<Event, GatewayError> {
        let Some(exec) = &mut self.exec else {
            return Ok(Event::ExecGone);
        };
        if exec.begin(&Request::Restore).await.is_err() {
            return Ok(self.reconnect().await);
        }
        for blob in blobs {
            let content = match self.gateway.kept(blob).await {
                Ok(bytes) => Bytes(bytes),
                Err(GatewayError::Refused { message, .. }) => {
                    exec.leave(); // in the middle of a request
                    return Ok(Event::Restored(Err(message)));
                }
                Err(error) => return Err(error),
            };
            if exec.begin(&Request::Chunk { content }).await.is_err() {
                return Ok(self.reconnect().await);
            }
        }
        let end = Request::Chunk {
            content: Bytes::default(),
        };
        Ok(match exec.ask(&end).await {
            Ok(Response::Done) => Event::Restored(Ok(())),
            Ok(Response::Failed(failed)) => Event::Restored(Err(failed.message)),
            Ok(_) => Event::Restored(Err("exec did not answer".to_owned())),
            Err(_) => self.reconnect().await,
        })
    }

    /// Puts an artifact of another Task into the workspace.
    async fn place(&mut self, placed: &Placed) -> Result<Event, GatewayError> {
        let blob = Blob {
            digest: placed.digest.clone(),
            size: placed.size,
        };
        let bytes = match self.gateway.kept(&blob).await {
            Ok(bytes) => bytes,
            Err(GatewayError::Refused { message, .. }) => {
                let code = FailedCode::NotFound;
                return Ok(Event::Exec(Response::Failed(Failed { code, message })));
            }
            Err(error) => return Err(error),
        };
        let Some(exec) = &mut self.exec else {
            return Ok(Event::ExecGone);
        };
        let begin = Request::Place {
            path: placed.path.clone(),
            archive: placed.archive,
        };
        let piece = |bytes: &[u8]| Request::Chunk {
            content: Bytes(bytes.to_vec()),
        };
        let pieces = bytes.chunks(PIECE_BYTES).map(piece);
        for request in std::iter::once(begin).chain(pieces) {
            if exec.begin(&request).await.is_err() {
                return Ok(self.reconnect().await);
            }
        }
        Ok(match exec.ask(&piece(&[])).await {
            Ok(response) => Event::Exec(response),
            Err(_) => self.reconnect().await,
        })
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
            Ok(Collected::Files {
                bytes,
                archive,
                skipped,
                ..
            }) => self.store(name, bytes, archive, skipped).await?,
        };
        Ok(Event::Kept(kept))
    }

    async fn store(
        &mut self,
        name: &str,
        bytes: Vec<u8>,
        archive: bool,
        skipped: Vec<String>,
    ) -> Result<Kept, GatewayError> {
        match self.gateway.store(name, bytes, archive).await {
            Ok(artifact) => Ok(Kept::Stored { artifact, skipped }),
            Err(GatewayError::Refused { code, message }) if code == "too_large" => {
                Ok(Kept::TooLarge(message))
            }
            Err(GatewayError::Refused { message, .. }) => Ok(Kept::Failed(message)),
            Err(error) => Err(error),
        }
    }
}
