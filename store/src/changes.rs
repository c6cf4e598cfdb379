//! What changed, for the operator.

use crate::Store;
use oarmaster_protocol::assignment::TaskRef;

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
pub struct Changes {}

impl Changes {
    /// The next event; `None` when the store was closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        None
    }
}

impl Store {
    /// Changes from now on. Tell the operator `Hello` first: what was before is not repeated.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes {}
    }
}
