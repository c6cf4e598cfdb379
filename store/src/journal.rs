//! Appending to a journal and reading it.

use crate::{Refusal, Store};
use oarmaster_protocol::journal::Record;
use oarmaster_protocol::task::{Append, Appended};
use tokio::sync::watch;

impl Store {
    /// Appends a pilot's records. Repeating an append whose answer was lost is safe: equal records are not written twice.
    pub async fn append(
        &self,
        task_uid: &str,
        attempt: u32,
        session: &str,
        append: Append,
    ) -> Result<Appended, Refusal> {
        let _ = (task_uid, attempt, session, append);
        Err(Refusal::Internal("".into()))
    }

    /// At most `limit` durable records from `from` on, and not more than about 8 MiB; ask again from the last one's successor. Empty
    /// when there is none yet.
    pub async fn records(
        &self,
        task_uid: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, Refusal> {
        let _ = (task_uid, from, limit);
        Err(Refusal::Internal("".into()))
    }

    /// The number of the Task's next record, as far as the journal is durable. Changes whenever there is more to read.
    pub async fn watch(&self, task_uid: &str) -> Result<watch::Receiver<u64>, Refusal> {
        let _ = task_uid;
        Err(Refusal::Internal("".into()))
    }
}
