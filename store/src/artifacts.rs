//! Artifacts: content-addressed files beside the log.
//!
//! A blob is written under a temporary name, synced, and renamed to its digest before the log says that it exists; so an entry never
//! points at bytes that a crash can take away. Blobs that no entry names (a crash between the two) are left for retention.

use crate::state::{By, State, check_artifact_name};
use crate::{Refusal, Store, StoreError};
use bytes::Bytes;
use oarmaster_protocol::journal::Artifact;
use oarmaster_protocol::task::MAX_ARTIFACT_BYTES;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use tokio::io::AsyncWriteExt as _;

/// Receives an artifact's bytes. Dropped without [`ArtifactWriter::finish`], nothing is kept.
#[derive(Debug)]
pub struct ArtifactWriter {
    store: Store,
    task: String,
    attempt: u32,
    session: String,
    name: String,
    file: tokio::fs::File,
    temporary: Temporary,
    hash: Sha256,
    size: u64,
}

/// A file that goes away unless it was renamed.
#[derive(Debug)]
struct Temporary(PathBuf);

impl ArtifactWriter {
    /// Adds bytes; refused as soon as the artifact is over its bound.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.size = self.size.saturating_add(bytes.len() as u64);
        if self.size > MAX_ARTIFACT_BYTES {
            return Err(Refusal::TooLarge(format!(
                "artifact {} has more than {MAX_ARTIFACT_BYTES} bytes; narrow its path",
                self.name
            )));
        }
        self.hash.update(bytes);
        let written = self.file.write_all(bytes).await;
        written.map_err(|source| failed("write", &self.temporary.0, source))
    }

    /// Makes the bytes durable and the artifact visible. One of the same name is replaced.
    pub async fn finish(self) -> Result<Artifact, Refusal> {
        let Self {
            store,
            task,
            attempt,
            session,
            name,
            mut file,
            temporary,
            hash,
            size,
        } = self;
        let digest = hex(&hash.finalize());
        let artifact = Artifact { name, size, digest };
        let quota = store.options().artifact_bytes;
        let by = By {
            task: &task,
            attempt,
            session: &session,
        };
        let decide = |state: &State| state.decide_artifact(by, &artifact, quota);
        // Refuse before the blob is kept; the decision that counts is the one below.
        decide(&store.lock().state)?;
        let synced = async {
            file.flush().await?;
            file.sync_all().await
        };
        synced
            .await
            .map_err(|source| failed("sync", &temporary.0, source))?;
        let target = blob_path(&store.options().dir, &artifact.digest);
        store
            .blocking(move |_| {
                let keep = || -> io::Result<()> {
                    std::fs::rename(&temporary.0, &target)?;
                    let parent = target.parent().unwrap_or(&target);
                    std::fs::File::open(parent)?.sync_all()
                };
                keep().map_err(|source| StoreError::Io {
                    act: "keep",
                    path: target.clone(),
                    source,
                })
            })
            .await?;
        store
            .change(|state| Ok((decide(state)?, ())), |_, ()| ())
            .await?;
        Ok(artifact)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.0.display(), %error, "cannot remove a temporary file");
        }
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
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let path = temporary_dir(&self.options().dir).join(unique);
        let file = tokio::fs::File::create(&path)
            .await
            .map_err(|source| failed("create", &path, source))?;
        Ok(ArtifactWriter {
            store: self.clone(),
            task: task_uid.to_owned(),
            attempt,
            session: session.to_owned(),
            name: name.to_owned(),
            file,
            temporary: Temporary(path),
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
                Ok((found, task.depends))
            })
            .await?;
        let path = blob_path(&self.options().dir, &artifact.digest);
        let bytes = self
            .blocking(move |_| {
                std::fs::read(&path).map_err(|source| StoreError::Io {
                    act: "read",
                    path,
                    source,
                })
            })
            .await?;
        if oarmaster_protocol::digest(&bytes) != artifact.digest {
            return Err(Refusal::Internal(format!(
                "the bytes of artifact {name} are not those of its digest"
            )));
        }
        Ok((artifact, Bytes::from(bytes)))
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

/// Makes the directories and removes what a process before did not finish.
pub fn prepare(dir: &Path) -> Result<(), StoreError> {
    let temporary = temporary_dir(dir);
    let fresh = || -> io::Result<()> {
        match std::fs::remove_dir_all(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::fs::create_dir_all(&temporary)?;
        std::fs::create_dir_all(dir.join("blobs"))?;
        std::fs::File::open(dir)?.sync_all()
    };
    fresh().map_err(|source| StoreError::Io {
        act: "prepare",
        path: temporary.clone(),
        source,
    })
}

fn temporary_dir(dir: &Path) -> PathBuf {
    dir.join("incoming")
}

fn blob_path(dir: &Path, digest: &str) -> PathBuf {
    dir.join("blobs").join(digest.trim_start_matches("sha256:"))
}

fn hex(hash: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in hash {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
    }
    text
}

fn failed(act: &'static str, path: &Path, source: io::Error) -> Refusal {
    StoreError::Io {
        act,
        path: path.to_owned(),
        source,
    }
    .into()
}
