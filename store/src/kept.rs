//! Results of items of a run's steps: they outlive the items' Tasks, so that those need not be kept as objects.

use crate::blobs;
use crate::room::{Room, ends_the_task};
use crate::state::{KeptAt, State};
use crate::{Refusal, Store};
use oarmaster_protocol::admin::{KeptItem, MAX_KEPT_WRITE};
use oarmaster_protocol::journal::Blob;
use std::collections::{BTreeMap, BTreeSet};

/// Characters of what results are kept under: the name of a step, with `-2` and so on where all of it was run anew.
const MAX_STEP: usize = 64;

impl Store {
    /// Keeps results of items of a step of a run. They are on the disk when this returns. Of an item that has one already the newer one counts.
    /// `step` has at most [`MAX_STEP`] characters of `[a-z0-9-]`.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for a Task that no attempt was opened of; [`Refusal::TooLarge`] beyond [`MAX_KEPT_WRITE`], and where the Task, or the
    /// volume, has no more room.
    pub async fn keep_items(
        &self,
        task_uid: &str,
        step: &str,
        items: &[KeptItem],
    ) -> Result<(), Refusal> {
        if !is_step(step) || items.is_empty() {
            return Err(Refusal::Invalid(format!(
                "name a step in 1 to {MAX_STEP} characters of a-z, 0-9 and -, and send at least one item"
            )));
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
        let key = self.sealer().blob_key()?;
        let decide = |state: &State| {
            state.decide_kept(
                task_uid,
                step,
                &numbers,
                (&blob, key.as_ref()),
                quota,
                journal,
            )
        };
        let mut room = Room::new(self);
        room.add(blob.size)?;
        {
            // Refuse before it is kept; the decision that counts is the one after.
            let core = self.lock();
            self.room_for_tasks(&core.state).map_err(ends_the_task)?;
            decide(&core.state)?;
        }
        let mut staged = self.blobs().stage(key.as_ref())?;
        staged.write(&bytes).await?;
        self.name(staged, &blobs::name(&blob.digest, key.as_ref()), decide)
            .await?;
        drop(room);
        Ok(())
    }

    /// What is kept of the items of a step, or of one of them; in their order. Empty where nothing ever was.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`] where it is more than is read at once; [`Refusal::NotFound`] where it is no longer kept, and of a Task that is not
    /// known: nobody can say any more that nothing was kept of it.
    pub async fn kept_items(
        &self,
        task_uid: &str,
        step: &str,
        item: Option<u32>,
    ) -> Result<Vec<KeptItem>, Refusal> {
        let found = self
            .read(|state| {
                let task = state.task(task_uid).map_err(|_| {
                    Refusal::NotFound(format!(
                        "nothing is known of the results of step {step}: no attempt of Task {task_uid} was opened at this gateway, or its journal is no longer kept (gateway.retention.journals)"
                    ))
                })?;
                let key = |kept: &KeptAt| task.blobs.get(&kept.blob.digest)?.key.clone();
                let found = task.kept_of(step, item)?.into_iter();
                let found: Vec<_> = found.map(|kept| (key(&kept), kept)).collect();
                Ok((found, task.depends))
            })
            .await?;
        let mut all = BTreeMap::new();
        for (key, part) in found {
            let digest = &part.blob.digest;
            let bytes = self.blobs().read(digest, key.as_ref()).await?;
            let items: Vec<KeptItem> = serde_json::from_slice(&bytes).map_err(|error| {
                Refusal::Internal(format!("blob {digest} holds no results of items: {error}"))
            })?;
            // A blob may hold older results, too, of items that were kept anew since.
            let wanted =
                |kept: &KeptItem| part.has(kept.item) && item.is_none_or(|item| kept.item == item);
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

fn is_step(name: &str) -> bool {
    (1..=MAX_STEP).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
