//! What one Task keeps for others: its workspace, which they begin with, and its artifacts, which are placed in theirs.
//!
//! A Task that begins with a workspace has its parts from then on, as if it had sent them: it goes on from them in each attempt, and what it keeps
//! stands on them. So a chain needs no Task but the last one, and none of the bytes is there twice.

use super::{BlobAt, By, State, Task};
use crate::Refusal;
use crate::entry::Entry;
use crate::seal::BlobKey;
use oarmaster_protocol::assignment::{Placed, TaskRef};
use oarmaster_protocol::journal::{Blob, Checkpoint, Outcome};

impl State {
    /// Lets a Task have the workspace that another one kept, once.
    pub fn decide_take_over(&self, by: By<'_>, from: &TaskRef) -> Result<Vec<Entry>, Refusal> {
        let task = self.session(by)?;
        if !task.taken.is_empty() {
            return Ok(Vec::new());
        }
        let (source, outcome) = self.ended(task, from)?;
        let name = &from.name;
        let blobs = match &outcome.workspace {
            Some(Checkpoint::Layer { blobs, .. }) => blobs,
            Some(Checkpoint::Failed { why }) => {
                return Err(Refusal::NotFound(format!(
                    "the workspace of Task {name} could not be kept: {why}"
                )));
            }
            None => {
                return Err(Refusal::NotFound(format!(
                    "Task {name} kept no workspace; run it again with workspace.keep: true"
                )));
            }
        };
        if super::journal::missing(source, blobs).is_some() {
            return Err(Refusal::NotFound(format!(
                "the workspace of Task {name} is no longer kept (gateway.retention.artifacts); run that Task again"
            )));
        }
        let key = |blob: &Blob| source.blobs.get(&blob.digest)?.key.clone();
        let mut keys: Vec<Option<BlobKey>> = blobs.iter().map(key).collect();
        if keys.iter().all(Option::is_none) {
            keys.clear();
        }
        Ok(vec![Entry::TakenOver {
            task: by.task.to_owned(),
            from: from.uid.clone(),
            blobs: blobs.clone(),
            keys,
        }])
    }

    /// Whether the bytes of an artifact may be read by the Task in whose assignment it stands.
    pub fn check_placed(&self, uid: &str, placed: &Placed) -> Result<(&Task, &BlobAt), Refusal> {
        let (source, outcome) = self.ended(self.task(uid)?, &placed.task)?;
        let (name, of) = (&placed.name, &placed.task.name);
        let mut kept = outcome.artifacts.iter();
        if !kept.any(|kept| kept.name == *name && kept.digest == placed.digest) {
            return Err(Refusal::NotFound(format!(
                "Task {of} kept no such artifact {name}"
            )));
        }
        let Some(blob) = source.blobs.get(&placed.digest) else {
            return Err(Refusal::NotFound(format!(
                "artifact {name} of Task {of} is no longer kept (gateway.retention.artifacts); run that Task again"
            )));
        };
        Ok((source, blob))
    }

    /// A Task of the same namespace, and how it ended.
    fn ended<'a>(
        &'a self,
        task: &Task,
        from: &TaskRef,
    ) -> Result<(&'a Task, &'a Outcome), Refusal> {
        let name = &from.name;
        let source = self.tasks.get(&from.uid);
        // One text for what is gone and what is another namespace's.
        let source = source.filter(|source| source.task.namespace == task.task.namespace);
        let source = source.ok_or_else(|| {
            Refusal::NotFound(format!(
                "nothing is kept of Task {name} any more (gateway.retention.journals); run that Task again"
            ))
        })?;
        let newest = source.attempts.last_key_value();
        let outcome = newest.and_then(|(_, newest)| newest.outcome.as_ref());
        let outcome = outcome.ok_or_else(|| {
            Refusal::NotFound(format!(
                "Task {name} has not ended by itself, and so kept nothing; run that Task again"
            ))
        })?;
        Ok((source, outcome))
    }
}
