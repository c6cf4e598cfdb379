//! What the log and the blobs may take of the volume, so that neither stops the other, and Tasks never stop what is spent.

use crate::state::State;
use crate::{Limits, Refusal, Store};
use std::path::Path;
use std::sync::atomic::Ordering;

/// What a person can do about it.
const REMEDY: &str =
    "expand the gateway's volume (its PersistentVolumeClaim), or keep less (gateway.retention)";

/// Bytes on the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Of the log's files.
    pub log: u64,
    /// Of the journals of all Tasks, which are in them.
    pub tasks: u64,
    /// Of the artifacts of all Tasks.
    pub blobs: u64,
    /// Most of both.
    pub limits: Limits,
}

impl Store {
    /// What is used of the volume.
    #[must_use]
    pub fn volume(&self) -> Usage {
        let (tasks, blobs) = {
            let core = self.lock();
            (core.state.task_bytes, core.state.held.bytes())
        };
        Usage {
            log: self.log_bytes(),
            tasks,
            blobs,
            limits: self.limits(),
        }
    }

    /// The directory of the log and the artifacts.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.options().dir
    }

    /// Why no new money is spent; `None` while the log has room for its rows.
    #[must_use]
    pub fn full(&self) -> Option<String> {
        let (log, limit) = (self.log_bytes(), self.limits().log);
        (log >= limit).then(|| {
            format!(
                "the gateway's log has {log} of {limit} bytes, so nothing new is spent: {REMEDY}"
            )
        })
    }

    pub(crate) fn room_for_money(&self) -> Result<(), Refusal> {
        self.full().map_or(Ok(()), |why| Err(Refusal::Full(why)))
    }

    /// For what a Task brings; its end, and what its calls cost, need none.
    pub(crate) fn room_for_tasks(&self, state: &State) -> Result<(), Refusal> {
        self.room_for_money()?;
        let (limit, tasks) = (self.limits().tasks, state.task_bytes);
        if tasks < limit {
            return Ok(());
        }
        Err(Refusal::Full(format!(
            "the journals of all Tasks have {tasks} of {limit} bytes: {REMEDY}"
        )))
    }

    /// For the artifacts that there are, and those on their way.
    fn room_for_blobs(&self) -> Result<(), Refusal> {
        let limit = self.limits().blobs;
        let staged = self.staged().load(Ordering::Relaxed);
        let blobs = self.lock().state.held.bytes().saturating_add(staged);
        if blobs <= limit {
            return Ok(());
        }
        Err(Refusal::TooLarge(format!(
            "the artifacts of all Tasks would have {blobs} of {limit} bytes: {REMEDY}"
        )))
    }
}

/// Bytes of blobs on their way: they count until they are given up, or the log knows them.
#[derive(Debug)]
pub struct Room {
    store: Store,
    bytes: u64,
}

impl Room {
    /// For nothing yet.
    pub fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            bytes: 0,
        }
    }

    /// For so many more.
    pub fn add(&mut self, bytes: u64) -> Result<(), Refusal> {
        self.bytes = self.bytes.saturating_add(bytes);
        self.store.staged().fetch_add(bytes, Ordering::Relaxed);
        self.store.room_for_blobs()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.store.staged().fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// To a Task that runs: it ends, and says why.
pub fn ends_the_task(refused: Refusal) -> Refusal {
    match refused {
        Refusal::Full(why) => Refusal::TooLarge(why),
        other => other,
    }
}
