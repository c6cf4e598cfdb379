//! What the log and the blobs may take of the volume, so that neither stops the other, and Tasks never stop what is spent.

use crate::{Limits, Refusal, Store};
use std::path::Path;

/// What a person can do about it.
const REMEDY: &str =
    "expand the gateway's volume (its PersistentVolumeClaim), or keep less (gateway.retention)";

/// Bytes on the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Of the log's files.
    pub log: u64,
    /// Of the artifacts of all Tasks.
    pub blobs: u64,
    /// Most of both.
    pub limits: Limits,
}

impl Store {
    /// What is used of the volume.
    #[must_use]
    pub fn volume(&self) -> Usage {
        Usage {
            log: self.log_bytes(),
            blobs: self.lock().state.blob_bytes,
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
    pub(crate) fn room_for_tasks(&self) -> Result<(), Refusal> {
        let Limits { log, reserved, .. } = self.limits();
        let limit = log.saturating_sub(reserved);
        let log = self.log_bytes();
        if log < limit {
            return Ok(());
        }
        Err(Refusal::Full(format!(
            "the gateway's log has {log} bytes, and {limit} are for Tasks: {REMEDY}"
        )))
    }

    pub(crate) fn room_for_blob(&self, bytes: u64) -> Result<(), Refusal> {
        let limit = self.limits().blobs;
        let blobs = self.lock().state.blob_bytes;
        if blobs.saturating_add(bytes) <= limit {
            return Ok(());
        }
        Err(Refusal::TooLarge(format!(
            "the artifacts of all Tasks have {blobs} of {limit} bytes: {REMEDY}"
        )))
    }
}

/// To a Task that runs: it ends, and says why.
pub fn ends_the_task(refused: Refusal) -> Refusal {
    match refused {
        Refusal::Full(why) => Refusal::TooLarge(why),
        other => other,
    }
}
