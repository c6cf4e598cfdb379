//! Model calls of Tasks: reserve before a hop leaves, settle after it, exactly once.
//!
//! ```text
//! begin_call -> New(call) -> call.reserve(hop 0) -> ticket.settle(Failed)      (failover)
//!                            call.reserve(hop 1) -> ticket.settle(Answer)      -> answer the pilot with the new `next`
//! ```

use crate::log::Urgency;
use crate::room::ends_the_task;
use crate::state::{At, By, Standing, State, Task, Wanted, diverged};
use crate::store::RunningCall;
use crate::{Refusal, Store};
use oarmaster_protocol::journal::Record;
use std::sync::Arc;
use tokio::sync::watch;

/// How a call number stands.
#[derive(Debug)]
pub enum CallState {
    /// Nobody runs it: the caller does now, through the handle.
    New(Call),
    /// It runs already: wait for its end.
    Running(Attach),
    /// It was answered; the record's body is an `Answer`.
    Answered(Record),
    /// It left for a provider and nobody saw its end. It is booked; ask again under a new number.
    InDoubt,
}

/// A call that this caller runs. While it or one of its tickets lives, the same number attaches to it.
#[derive(Debug)]
pub struct Call {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub struct Inner {
    pub(crate) store: Store,
    pub(crate) task: String,
    pub(crate) attempt: u32,
    pub(crate) session: String,
    pub(crate) call: u64,
    pub(crate) digest: String,
}

/// The wait for a call that another caller runs.
#[derive(Debug)]
pub struct Attach {
    store: Store,
    task: String,
    call: u64,
    alive: watch::Receiver<()>,
}

/// How a call that another caller ran has ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// With an answer; the record's body is an `Answer`.
    Answered(Record),
    /// Every hop failed; the record is the last one's `CallFailed`.
    Failed(Record),
    /// No hop was reserved (the budget, a fence).
    NotSent,
}

impl Store {
    /// Starts or finds the model call with number `call`. `next` is the expected sequence number; it is compared for a number that was
    /// never used, so that a repeat after a lost answer attaches. Another digest under a used number is [`Refusal::Diverged`].
    ///
    /// A call whose hops all failed, with a known end, may be asked again under its number: its hops go on counting.
    pub async fn begin_call(
        &self,
        task_uid: &str,
        attempt: u32,
        session: &str,
        next: u64,
        call: u64,
        body_digest: &str,
    ) -> Result<CallState, Refusal> {
        enum Found {
            New,
            Running(watch::Receiver<()>),
            Answered(Option<At>),
            InDoubt,
        }
        let quota = self.options().journal_bytes;
        let by = By {
            task: task_uid,
            attempt,
            session,
        };
        let wanted = Wanted {
            call,
            next,
            digest: body_digest,
        };
        let (found, end) = self.commit(
            Urgency::Now,
            |state| {
                let task = state.session(by)?;
                let next_call = self.next_call(task_uid, task);
                let mut running = self.running();
                let key = (task_uid.to_owned(), call);
                if let Some(other) = running.get(&key) {
                    if other.digest != body_digest {
                        return Err(diverged(call));
                    }
                    let alive = other.alive.subscribe();
                    return Ok((Vec::new(), Found::Running(alive)));
                }
                let standing = state.decide_call(by, wanted, next_call, quota)?;
                let found = match standing {
                    Standing::Answered(seq) => Found::Answered(task.record_at(seq)),
                    Standing::InDoubt => Found::InDoubt,
                    Standing::Free => {
                        self.room_for_tasks(state).map_err(ends_the_task)?;
                        let digest = body_digest.to_owned();
                        let alive = watch::Sender::new(());
                        running.insert(key, RunningCall { digest, alive });
                        Found::New
                    }
                };
                Ok((Vec::new(), found))
            },
            |_, found| found,
        )?;
        match found {
            Found::New => Ok(CallState::New(Call {
                inner: Arc::new(Inner {
                    store: self.clone(),
                    task: task_uid.to_owned(),
                    attempt,
                    session: session.to_owned(),
                    call,
                    digest: body_digest.to_owned(),
                }),
            })),
            Found::Running(alive) => Ok(CallState::Running(Attach {
                store: self.clone(),
                task: task_uid.to_owned(),
                call,
                alive,
            })),
            Found::Answered(Some(at)) => {
                self.durable(end).await?;
                Ok(CallState::Answered(self.record(at).await?))
            }
            Found::Answered(None) => Err(Refusal::Internal("the answer has no record".into())),
            Found::InDoubt => {
                self.durable(end).await?;
                Ok(CallState::InDoubt)
            }
        }
    }

    /// Smallest call number above every used and every running one.
    pub(crate) fn next_call(&self, uid: &str, task: &Task) -> u64 {
        let running = self.running();
        let mut calls = running.range((uid.to_owned(), 0)..=(uid.to_owned(), u64::MAX));
        let last = calls.next_back().map(|((_, call), _)| *call);
        let running = last.map_or(0, |call| call.saturating_add(1));
        task.next_call().max(running)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let key = (std::mem::take(&mut self.task), self.call);
        self.store.running().remove(&key);
    }
}

impl Attach {
    /// Waits until nobody runs the call any more.
    pub async fn ended(mut self) -> Result<Ended, Refusal> {
        while self.alive.changed().await.is_ok() {}
        let view = |state: &State| {
            let task = state.task(&self.task)?;
            let call = task.calls.get(&self.call);
            let answer = call.and_then(|call| task.record_at(call.answer?));
            let failed = call.and_then(|call| task.record_at(call.failed?));
            Ok(((answer, failed), task.depends))
        };
        match self.store.read(view).await? {
            (Some(at), _) => Ok(Ended::Answered(self.store.record(at).await?)),
            (None, Some(at)) => Ok(Ended::Failed(self.store.record(at).await?)),
            (None, None) => Ok(Ended::NotSent),
        }
    }
}
