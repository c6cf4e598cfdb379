//! Artifacts: content-addressed files beside the log.

use crate::{Refusal, Store};
use bytes::Bytes;
use oarmaster_protocol::journal::Artifact;

/// Receives an artifact's bytes. Dropped without [`ArtifactWriter::finish`], nothing is kept.
#[derive(Debug)]
pub struct ArtifactWriter {}

impl ArtifactWriter {
    /// Adds bytes; refused as soon as the artifact is over its bound.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let _ = bytes;
        Err(Refusal::Internal("".into()))
    }

    /// Makes the bytes durable and the artifact visible. One of the same name is replaced.
    pub async fn finish(self) -> Result<Artifact, Refusal> {
        Err(Refusal::Internal("".into()))
    }
}

impl Store {
    /// Starts an artifact of at most [`oarmaster_protocol::task::MAX_ARTIFACT_BYTES`]. Names are `[A-Za-z0-9._-]{1,63}` without a
    /// leading dot.
    pub async fn artifact_writer(
        &self,
        task_uid: &str,
        attempt: u32,
        session: &str,
        name: &str,
    ) -> Result<ArtifactWriter, Refusal> {
        let _ = (task_uid, attempt, session, name);
        Err(Refusal::Internal("".into()))
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
        let _ = (task_uid, name);
        Err(Refusal::Internal("".into()))
    }

    /// The artifacts of a Task, by name.
    pub async fn artifacts(&self, task_uid: &str) -> Result<Vec<Artifact>, Refusal> {
        let _ = task_uid;
        Err(Refusal::Internal("".into()))
    }
}
