//! Artifacts: the files of a Task that outlive its sandbox.

use crate::blobs::{self, Staged};
use crate::entry::Entry;
use crate::room::{Room, ends_the_task};
use crate::seal::BlobKey;
use crate::state::{By, State, check_artifact_name};
use crate::window::DAY_MS;
use crate::{Refusal, Store};
use bytes::Bytes;
use oarmaster_protocol::journal::{Artifact, Blob};
use oarmaster_protocol::task::{MAX_ARTIFACT_BYTES, MAX_BLOB_BYTES};
use sha2::{Digest as _, Sha256};

/// Receives an artifact's bytes. Dropped without [`ArtifactWriter::finish`], nothing is kept.
#[derive(Debug)]
pub struct ArtifactWriter {
    store: Store,
    task: String,
    attempt: u32,
    session: String,
    name: String,
    archive: bool,
    /// Absent once the artifact is over its bound.
    staged: Option<Staged>,
    /// What its bytes are sealed with.
    key: Option<BlobKey>,
    hash: Sha256,
    size: u64,
    room: Room,
}

impl ArtifactWriter {
    /// Whether what arrives is an archive.
    #[must_use]
    pub fn archive(mut self, archive: bool) -> Self {
        self.archive = archive;
        self
    }

    /// Adds bytes; refused as soon as the artifact is over its bound.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.size = self.size.saturating_add(bytes.len() as u64);
        let Some(staged) = &mut self.staged else {
            return Err(too_large(&self.name));
        };
        let fits = match self.size > MAX_ARTIFACT_BYTES {
            true => Err(too_large(&self.name)),
            false => self.room.add(bytes.len() as u64),
        };
        if fits.is_ok() {
            self.hash.update(bytes);
            return staged.write(bytes).await;
        }
        if let Some(staged) = self.staged.take() {
            staged.discard().await?;
        }
        fits
    }

    /// Makes the bytes durable and the artifact visible. One of the same name is replaced.
    pub async fn finish(self) -> Result<Artifact, Refusal> {
        let Self {
            store,
            task,
            attempt,
            session,
            name,
            archive,
            staged,
            key,
            hash,
            size,
            room,
        } = self;
        let staged = staged.ok_or_else(|| too_large(&name))?;
        let digest = format!("sha256:{}", hex::encode(hash.finalize()));
        let artifact = Artifact {
            name,
            size,
            digest,
            archive,
        };
        let options = store.options();
        let (quota, journal) = (options.artifact_bytes, options.journal_bytes);
        let by = By {
            task: &task,
            attempt,
            session: &session,
        };
        let decide =
            |state: &State| state.decide_artifact(by, &artifact, key.as_ref(), quota, journal);
        // Refuse before the blob is kept; the decision that counts is the one after.
        let early = {
            let core = store.lock();
            let room = store.room_for_tasks(&core.state).map_err(ends_the_task);
            room.and_then(|()| decide(&core.state).map(drop))
        };
        if let Err(refused) = early {
            staged.discard().await?;
            return Err(refused);
        }
        store
            .name(staged, &blobs::name(&artifact.digest, key.as_ref()), decide)
            .await?;
        drop(room);
        Ok(artifact)
    }
}

impl Store {
    /// Starts an artifact of at most [`MAX_ARTIFACT_BYTES`]. Names are `[A-Za-z0-9._-]{1,63}` without a leading dot.
    pub async fn artifact_writer(
        &self,
        task_uid: &str,
        attempt: u32,
        session: &str,
        name: &str,
    ) -> Result<ArtifactWriter, Refusal> {
        check_artifact_name(name)?;
        self.lock().state.session(By {
            task: task_uid,
            attempt,
            session,
        })?;
        let key = self.sealer().blob_key()?;
        Ok(ArtifactWriter {
            store: self.clone(),
            task: task_uid.to_owned(),
            attempt,
            session: session.to_owned(),
            name: name.to_owned(),
            archive: false,
            staged: Some(self.blobs().stage(key.as_ref())?),
            key,
            hash: Sha256::new(),
            size: 0,
            room: Room::new(self),
        })
    }

    /// Keeps a part of a checkpoint; an append may name it then.
    pub async fn put_blob(
        &self,
        task_uid: &str,
        attempt: u32,
        session: &str,
        bytes: &[u8],
    ) -> Result<Blob, Refusal> {
        let most = usize::try_from(MAX_BLOB_BYTES).unwrap_or(usize::MAX);
        if bytes.is_empty() || bytes.len() > most {
            return Err(Refusal::TooLarge(format!(
                "a part of a checkpoint has 1 to {MAX_BLOB_BYTES} bytes; send several"
            )));
        }
        let by = By {
            task: task_uid,
            attempt,
            session,
        };
        let blob = Blob {
            digest: oarmaster_protocol::digest(bytes),
            size: bytes.len() as u64,
        };
        let options = self.options();
        let (quota, journal) = (options.artifact_bytes, options.journal_bytes);
        let key = self.sealer().blob_key()?;
        let decide = |state: &State| state.decide_blob(by, &blob, key.as_ref(), quota, journal);
        let mut room = Room::new(self);
        room.add(blob.size)?;
        {
            // Refuse before it is kept; the decision that counts is the one after.
            let core = self.lock();
            self.room_for_tasks(&core.state).map_err(ends_the_task)?;
            decide(&core.state)?;
        }
        let mut staged = self.blobs().stage(key.as_ref())?;
        staged.write(bytes).await?;
        self.name(staged, &blobs::name(&blob.digest, key.as_ref()), decide)
            .await?;
        drop(room);
        Ok(blob)
    }

    /// Makes bytes durable, and says in the log whose they are. Refused, nothing of them is left.
    pub(crate) async fn name(
        &self,
        staged: Staged,
        name: &str,
        decide: impl Fn(&State) -> Result<Vec<Entry>, Refusal>,
    ) -> Result<(), Refusal> {
        // No blob is removed between its name and its entry.
        let naming = self.naming().read().await;
        staged.keep(name).await?;
        let named = self.change(|state| Ok((decide(state)?, ())), |_, ()| ());
        let named = named.await;
        drop(naming);
        if let Err(refused) = named {
            self.remove_unnamed(name).await?;
            return Err(refused);
        }
        // The Task had the same bytes under another key.
        if !self.lock().state.names_blob(name) {
            self.remove_unnamed(name).await?;
        }
        Ok(())
    }

    /// A part of a checkpoint of this Task, checked against its digest.
    pub async fn blob(&self, task_uid: &str, digest: &str) -> Result<Bytes, Refusal> {
        let key = self.read(|state| {
            let task = state.task(task_uid)?;
            let Some(blob) = task.blobs.get(digest) else {
                return Err(Refusal::NotFound(format!(
                    "a part of the checkpoint is no longer kept, or is none of this Task's: {digest}"
                )));
            };
            Ok((blob.key.clone(), task.depends))
        })
        .await?;
        self.blobs().read(digest, key.as_ref()).await
    }

    /// Removes the blobs that no Task has and that are older than an hour. Returns how many.
    pub(crate) async fn sweep_blobs(&self) -> Result<usize, Refusal> {
        let old = self.blobs().old().await?;
        let gone: Vec<String> = {
            let core = self.lock();
            let unnamed = |name: &String| !core.state.names_blob(name);
            old.into_iter().filter(unnamed).collect()
        };
        let mut removed = 0;
        for name in gone {
            removed += usize::from(self.remove_unnamed(&name).await?);
        }
        Ok(removed)
    }

    /// Removes a blob if no Task has it.
    async fn remove_unnamed(&self, name: &str) -> Result<bool, Refusal> {
        let _naming = self.naming().write().await;
        if self.lock().state.names_blob(name) {
            return Ok(false);
        }
        self.blobs().remove(name).await?;
        Ok(true)
    }

    /// Stores an artifact that is in memory already.
    pub async fn put_artifact(
        &self,
        task_uid: &str,
        attempt: u32,
        session: &str,
        name: &str,
        bytes: &[u8],
    ) -> Result<Artifact, Refusal> {
        let mut writer = self
            .artifact_writer(task_uid, attempt, session, name)
            .await?;
        writer.write(bytes).await?;
        writer.finish().await
    }

    /// An artifact and its bytes, checked against the digest.
    pub async fn artifact(&self, task_uid: &str, name: &str) -> Result<(Artifact, Bytes), Refusal> {
        let (artifact, key) = self
            .read(|state| {
                let task = state.task(task_uid)?;
                let found = task.artifacts.get(name).cloned();
                let found = found.ok_or_else(|| {
                    Refusal::NotFound(format!(
                        "Task {}/{} has no artifact {name}",
                        task.task.namespace, task.task.name
                    ))
                })?;
                let Some(blob) = task.blobs.get(&found.digest) else {
                    return Err(Refusal::NotFound(format!(
                        "artifact {name} of Task {}/{} is no longer kept; artifacts are for {} days after the Task's end",
                        task.task.namespace,
                        task.task.name,
                        self.options().retention.artifacts_ms / DAY_MS
                    )));
                };
                Ok(((found, blob.key.clone()), task.depends))
            })
            .await?;
        let bytes = self.blobs().read(&artifact.digest, key.as_ref()).await?;
        Ok((artifact, bytes))
    }

    /// The artifacts of a Task, by name.
    pub async fn artifacts(&self, task_uid: &str) -> Result<Vec<Artifact>, Refusal> {
        self.read(|state| {
            let task = state.task(task_uid)?;
            Ok((task.artifacts.values().cloned().collect(), task.depends))
        })
        .await
    }
}

fn too_large(name: &str) -> Refusal {
    Refusal::TooLarge(format!(
        "artifact {name} has more than {MAX_ARTIFACT_BYTES} bytes; narrow its path"
    ))
}
