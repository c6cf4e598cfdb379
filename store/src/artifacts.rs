//! Artifacts: the files of a Task that outlive its sandbox.

use crate::blobs::Staged;
use crate::state::{By, State, check_artifact_name};
use crate::{Refusal, Store};
use bytes::Bytes;
use oarmaster_protocol::journal::Artifact;
use oarmaster_protocol::task::MAX_ARTIFACT_BYTES;
use sha2::{Digest as _, Sha256};

const DAY_MS: i64 = 24 * 3_600_000;

/// Receives an artifact's bytes. Dropped without [`ArtifactWriter::finish`], nothing is kept.
#[derive(Debug)]
pub struct ArtifactWriter {
    store: Store,
    task: String,
    attempt: u32,
    session: String,
    name: String,
    /// Absent once the artifact is over its bound.
    staged: Option<Staged>,
    hash: Sha256,
    size: u64,
}

impl ArtifactWriter {
    /// Adds bytes; refused as soon as the artifact is over its bound.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.size = self.size.saturating_add(bytes.len() as u64);
        if self.size > MAX_ARTIFACT_BYTES
            && let Some(staged) = self.staged.take()
        {
            staged.discard().await?;
        }
        match &mut self.staged {
            Some(staged) => {
                self.hash.update(bytes);
                staged.write(bytes).await
            }
            None => Err(too_large(&self.name)),
        }
    }

    /// Makes the bytes durable and the artifact visible. One of the same name is replaced.
    pub async fn finish(self) -> Result<Artifact, Refusal> {
        let Self {
            store,
            task,
            attempt,
            session,
            name,
            staged,
            hash,
            size,
        } = self;
        let staged = staged.ok_or_else(|| too_large(&name))?;
        let digest = format!("sha256:{}", hex::encode(hash.finalize()));
        let artifact = Artifact { name, size, digest };
        let quota = store.options().artifact_bytes;
        let by = By {
            task: &task,
            attempt,
            session: &session,
        };
        let decide = |state: &State| state.decide_artifact(by, &artifact, quota);
        // Refuse before the blob is kept; the decision that counts is the one after.
        let mut early = decide(&store.lock().state).map(drop);
        if early.is_ok() {
            early = store.room_for_blob(size);
        }
        if let Err(refused) = early {
            staged.discard().await?;
            return Err(refused);
        }
        staged.keep(&artifact.digest).await?;
        store
            .change(|state| Ok((decide(state)?, ())), |_, ()| ())
            .await?;
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
        Ok(ArtifactWriter {
            store: self.clone(),
            task: task_uid.to_owned(),
            attempt,
            session: session.to_owned(),
            name: name.to_owned(),
            staged: Some(self.blobs().stage()),
            hash: Sha256::new(),
            size: 0,
        })
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
        let artifact = self
            .read(|state| {
                let task = state.task(task_uid)?;
                let found = task.artifacts.get(name).cloned();
                let found = found.ok_or_else(|| {
                    Refusal::NotFound(format!(
                        "Task {}/{} has no artifact {name}",
                        task.task.namespace, task.task.name
                    ))
                })?;
                if !task.blobs.contains_key(&found.digest) {
                    return Err(Refusal::NotFound(format!(
                        "artifact {name} of Task {}/{} is no longer kept; artifacts are for {} days after the Task's end",
                        task.task.namespace,
                        task.task.name,
                        self.options().retention.artifacts_ms / DAY_MS
                    )));
                }
                Ok((found, task.depends))
            })
            .await?;
        let bytes = self.blobs().read(&artifact.digest).await?;
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
