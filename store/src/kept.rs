//! Results of items of a run's steps: they outlive the items' Tasks, so that those need not be kept as objects.

use crate::state::State;
use crate::{Refusal, Store};
use oarmaster_protocol::admin::{KeptItem, MAX_KEPT_WRITE};
use oarmaster_protocol::journal::Blob;
use std::collections::{BTreeMap, BTreeSet};

/// Characters of a step's name.
const MAX_STEP: usize = 32;

impl Store {
    /// Keeps results of items of a step of a run. They are on the disk when this returns. Of an item that has one already the newer one counts.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for a Task that no attempt was opened of; [`Refusal::TooLarge`] beyond [`MAX_KEPT_WRITE`], and where the Task has no more room.
    pub async fn keep_items(
        &self,
        task_uid: &str,
        step: &str,
        items: &[KeptItem],
    ) -> Result<(), Refusal> {
        if step.is_empty() || step.len() > MAX_STEP || items.is_empty() {
            return Err(Refusal::Invalid(
                "name a step, and send at least one item".to_owned(),
            ));
        }
        let bytes = serde_json::to_vec(items).map_err(|error| {
            Refusal::Invalid(format!("the items cannot be written as JSON: {error}"))
        })?;
        if bytes.len() > MAX_KEPT_WRITE {
            return Err(Refusal::TooLarge(format!(
                "items may have {MAX_KEPT_WRITE} bytes together; send fewer"
            )));
        }
        let numbers: BTreeSet<u32> = items.iter().map(|item| item.item).collect();
        let blob = Blob {
            digest: oarmaster_protocol::digest(&bytes),
            size: bytes.len() as u64,
        };
        let options = self.options();
        let (quota, journal) = (options.artifact_bytes, options.journal_bytes);
        let decide =
            |state: &State| state.decide_kept(task_uid, step, &numbers, &blob, quota, journal);
        {
            // Refuse before it is kept; the decision that counts is the one after.
            let core = self.lock();
            self.room_for_tasks(&core.state)?;
            decide(&core.state)?;
        }
        let mut staged = self.blobs().stage();
        staged.write(&bytes).await?;
        self.name(staged, &blob.digest, decide).await
    }

    /// What is kept of the items of a step, or of one of them; in their order.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`] where it is more than is read at once; [`Refusal::NotFound`] where it is no longer kept.
    pub async fn kept_items(
        &self,
        task_uid: &str,
        step: &str,
        item: Option<u32>,
    ) -> Result<Vec<KeptItem>, Refusal> {
        let digests = self
            .read(|state| {
                let task = state.task(task_uid)?;
                Ok((task.kept_of(step, item)?, task.depends))
            })
            .await?;
        let mut all = BTreeMap::new();
        for digest in digests {
            let bytes = self.blobs().read(&digest).await?;
            let items: Vec<KeptItem> = serde_json::from_slice(&bytes).map_err(|error| {
                Refusal::Internal(format!("blob {digest} holds no results of items: {error}"))
            })?;
            let wanted = |kept: &KeptItem| item.is_none_or(|item| kept.item == item);
            all.extend(
                items
                    .into_iter()
                    .filter(wanted)
                    .map(|kept| (kept.item, kept)),
            );
        }
        Ok(all.into_values().collect())
    }
}
