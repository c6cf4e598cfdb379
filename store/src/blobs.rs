//! Large bytes beside the log, by digest: a directory of the volume now, a bucket with the same code later.
//!
//! Bytes are staged, made durable, and renamed to their digest before the log says that they exist, so an entry never points at bytes
//! that a crash can take away. Blobs that no entry names (a crash between the two) go with those that are no longer kept.

use crate::seal::{self, BlobKey, Stream};
use crate::{Refusal, StoreError};
use bytes::Bytes;
use futures::StreamExt as _;
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt as _};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::AsyncWriteExt as _;

/// A blob that no Task has may be one that a Task is about to have. Its name is written right before its entry.
const GRACE: Duration = Duration::from_secs(3600);
/// Bytes that one upload keeps in memory.
const BUFFER: usize = 1 << 20;

/// The blobs of a store.
#[derive(Clone, Debug)]
pub struct Blobs(Arc<dyn ObjectStore>);

/// A blob on its way.
#[derive(Debug)]
pub struct Staged {
    blobs: Blobs,
    writer: BufWriter,
    key: Key,
    /// Where its bytes are sealed.
    seal: Option<Stream>,
}

impl Blobs {
    /// The blobs in a directory, without what a process before did not finish.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let staging = dir.join("incoming");
        match std::fs::remove_dir_all(&staging) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StoreError::Io {
                act: "empty",
                path: staging,
                source,
            }),
            _ => Ok(()),
        }?;
        let files = LocalFileSystem::new_with_prefix(dir).map_err(failed("open the blobs"))?;
        // Off by default, and nothing here is worth having without it.
        Ok(Self(Arc::new(files.with_fsync(true))))
    }

    /// Starts a blob.
    pub fn stage(&self, key: Option<&BlobKey>) -> Result<Staged, Refusal> {
        let seal = key
            .map(Stream::new)
            .transpose()
            .map_err(Refusal::Internal)?;
        let key = Key::from_iter(["incoming", &uuid::Uuid::new_v4().simple().to_string()]);
        Ok(Staged {
            blobs: self.clone(),
            writer: BufWriter::with_capacity(Arc::clone(&self.0), key.clone(), BUFFER),
            key,
            seal,
        })
    }

    /// The bytes with this digest, checked.
    pub async fn read(&self, digest: &str, key: Option<&BlobKey>) -> Result<Bytes, Refusal> {
        let found = self.0.get(&blob(&name(digest, key))).await;
        let bytes = found.map_err(failed("find a blob"))?.bytes().await;
        let bytes = bytes.map_err(failed("read a blob"))?;
        let bytes = match key {
            Some(key) => seal::open_blob(key, &bytes)
                .map(Bytes::from)
                .map_err(|what| Refusal::Internal(format!("blob {digest} {what}")))?,
            None => bytes,
        };
        if oarmaster_protocol::digest(&bytes) != digest {
            return Err(Refusal::Internal(format!(
                "the bytes of blob {digest} are not those of its digest"
            )));
        }
        Ok(bytes)
    }
}

impl Blobs {
    /// Names of the blobs that are older than an hour.
    pub async fn old(&self) -> Result<Vec<String>, Refusal> {
        let since = SystemTime::now().checked_sub(GRACE);
        let mut found = self.0.list(Some(&Key::from("blobs")));
        let mut old = Vec::new();
        while let Some(blob) = found.next().await {
            let blob = blob.map_err(failed("list the blobs"))?;
            if since.is_some_and(|since| SystemTime::from(blob.last_modified) < since) {
                let name = blob.location.filename().unwrap_or_default();
                old.push(format!("sha256:{name}"));
            }
        }
        Ok(old)
    }

    /// Removes a blob.
    pub async fn remove(&self, name: &str) -> Result<(), Refusal> {
        let removed = self.0.delete(&blob(name)).await;
        Ok(removed.map_err(failed("remove a blob"))?)
    }
}

impl Staged {
    /// Adds bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let sealed = match &mut self.seal {
            Some(seal) => Some(seal.more(bytes).map_err(Refusal::Internal)?),
            None => None,
        };
        let bytes = sealed.as_deref().unwrap_or(bytes);
        let written = self.writer.write_all(bytes).await;
        Ok(written.map_err(failed("write a blob"))?)
    }

    /// Gives it up. Without this the next start removes what is left.
    pub async fn discard(mut self) -> Result<(), Refusal> {
        Ok(self
            .writer
            .abort()
            .await
            .map_err(failed("discard a blob"))?)
    }

    /// Makes it durable under its name.
    pub async fn keep(mut self, name: &str) -> Result<(), Refusal> {
        if let Some(seal) = &mut self.seal {
            let last = seal.end().map_err(Refusal::Internal)?;
            let written = self.writer.write_all(&last).await;
            written.map_err(failed("write a blob"))?;
        }
        let written = self.writer.shutdown().await;
        written.map_err(failed("write a blob"))?;
        let kept = self.blobs.0.rename(&self.key, &blob(name)).await;
        Ok(kept.map_err(failed("keep a blob"))?)
    }
}

/// The name of bytes: their digest and, of sealed ones, which key they are under.
pub fn name(digest: &str, key: Option<&BlobKey>) -> String {
    match key {
        Some(key) => format!("{digest}.{}", key.tag()),
        None => digest.to_owned(),
    }
}

fn blob(name: &str) -> Key {
    Key::from_iter(["blobs", name.trim_start_matches("sha256:")])
}

fn failed<E>(act: &'static str) -> impl FnOnce(E) -> StoreError
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |source| StoreError::Blob {
        act,
        source: Box::new(source),
    }
}
