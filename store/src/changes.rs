//! What changed, for the operator.

use crate::Store;
use oarmaster_protocol::assignment::TaskRef;
use std::collections::{HashSet, VecDeque};
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};

/// How many changes a reader may be behind.
pub const CHANGES: usize = 4096;

/// Something happened to a Task. Convert to [`oarmaster_protocol::admin::Change`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Claim, usage, isolation, fence or outcome of this Task changed, durably.
    Task(TaskRef),
    /// The reader was too slow and missed changes: every Task may have changed. Tell the operator `Hello` again.
    Resync,
}

/// A reader of changes. Several changes of one Task that nobody has read yet are one event.
#[derive(Debug)]
pub struct Changes {
    receiver: broadcast::Receiver<TaskRef>,
    order: VecDeque<TaskRef>,
    waiting: HashSet<String>,
}

impl Changes {
    /// The next event; `None` when the store was closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        if self.order.is_empty() {
            match self.receiver.recv().await {
                Ok(task) => self.add(task),
                Err(RecvError::Lagged(_)) => return Some(self.resync()),
                Err(RecvError::Closed) => return None,
            }
        }
        loop {
            match self.receiver.try_recv() {
                Ok(task) => self.add(task),
                Err(TryRecvError::Lagged(_)) => return Some(self.resync()),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        let task = self.order.pop_front()?;
        self.waiting.remove(&task.uid);
        Some(Event::Task(task))
    }

    fn add(&mut self, task: TaskRef) {
        if self.waiting.insert(task.uid.clone()) {
            self.order.push_back(task);
        }
    }

    /// Everything up to now is covered by the resync.
    fn resync(&mut self) -> Event {
        self.order.clear();
        self.waiting.clear();
        self.receiver = self.receiver.resubscribe();
        Event::Resync
    }
}

impl Store {
    /// Changes from now on. Tell the operator `Hello` first: what was before is not repeated.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes {
            receiver: self.hub().changes(),
            order: VecDeque::new(),
            waiting: HashSet::new(),
        }
    }
}
