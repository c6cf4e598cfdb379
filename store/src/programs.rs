//! Model calls of programs in a Task's sandbox. A program has no number for a call and asks for none again, so they are numbered here, and an
//! equal request is another call. Otherwise they are the Task's as any other: its journal, its budget, its fence.

use crate::calls::{Call, Inner};
use crate::hops::{HopRequest, HopTicket};
use crate::log::Urgency;
use crate::room::ends_the_task;
use crate::state::{By, Wanted};
use crate::store::RunningCall;
use crate::{Refusal, Store};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Model calls of one Task that its programs may add to: nothing else bounds those that cost nothing, and each is remembered.
pub const MAX_CALLS: usize = if cfg!(test) { 20 } else { 10_000 };

/// A call, hop by hop.
#[derive(Debug)]
pub struct ProgramCall {
    store: Store,
    task: String,
    attempt: u32,
    session: String,
    last: Mutex<Option<Arc<Inner>>>,
}

impl Store {
    /// A call of a program in the sandbox of this attempt. Nothing is asked or written before its first hop.
    #[must_use]
    pub fn program_call(&self, task_uid: &str, attempt: u32, session: &str) -> ProgramCall {
        ProgramCall {
            store: self.clone(),
            task: task_uid.to_owned(),
            attempt,
            session: session.to_owned(),
            last: Mutex::default(),
        }
    }
}

impl ProgramCall {
    /// Reserves the worst case of the next hop and writes its `Open`, as [`Call::reserve`]. A hop after one that was answered, where a request
    /// goes out in several parts, is the journal's next call.
    pub async fn reserve(&self, hop: HopRequest) -> Result<HopTicket, Refusal> {
        self.call()?.reserve(hop).await
    }

    fn call(&self) -> Result<Call, Refusal> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = match &*last {
            Some(inner) if !self.is_answered(inner.call) => inner.clone(),
            _ => {
                let inner = Arc::new(self.numbered()?);
                *last = Some(inner.clone());
                inner
            }
        };
        Ok(Call { inner })
    }

    fn is_answered(&self, call: u64) -> bool {
        let core = self.store.lock();
        let task = core.state.tasks.get(&self.task);
        let call = task.and_then(|task| task.calls.get(&call));
        call.is_some_and(|call| call.answer.is_some())
    }

    /// The Task's next call.
    fn numbered(&self) -> Result<Inner, Refusal> {
        let (store, quota) = (&self.store, self.store.options().journal_bytes);
        let by = By {
            task: &self.task,
            attempt: self.attempt,
            session: &self.session,
        };
        let (call, _) = store.commit(
            Urgency::Now,
            |state| {
                let task = state.session(by)?;
                if task.calls.len() >= MAX_CALLS {
                    return Err(Refusal::TooLarge(format!(
                        "this Task has made {MAX_CALLS} model calls, and may make no more: go on in another one"
                    )));
                }
                let call = store.next_call(&self.task, task);
                let wanted = Wanted {
                    call,
                    next: task.next(),
                    digest: "",
                };
                state.decide_call(by, wanted, call, quota)?;
                store.room_for_tasks(state).map_err(ends_the_task)?;
                let running = RunningCall {
                    digest: String::new(),
                    alive: watch::Sender::new(()),
                };
                store.running().insert((self.task.clone(), call), running);
                Ok((Vec::new(), call))
            },
            |_, call| call,
        )?;
        Ok(Inner {
            store: store.clone(),
            task: self.task.clone(),
            attempt: self.attempt,
            session: self.session.clone(),
            call,
            digest: String::new(), // nobody asks for it again
        })
    }
}
