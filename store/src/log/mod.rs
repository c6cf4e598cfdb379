//! The append-only log: numbered, checksummed frames in preallocated segments.
//!
//! - A frame is written once and never changed. It is durable when the batch it was written in has been synced.
//! - One thread writes: it takes everything that is queued, writes it, syncs once, and wakes whoever waits (group commit without linger).
//! - Each frame carries the SHA-256 of the one before it, so that nothing in the log can be changed, left out or put in without changing
//!   all that follows (`chain`).
//! - Segments are files of zeros from the start, so that a sync writes data and no metadata. One that is full loses the zeros at its end.
//! - Retention (`crate::retention`) writes a full segment anew: what stays is where it was, a frame that stands for others keeps their
//!   hash, so that the chain is whole, and one more brings what is left of them.

mod anew;
mod chain;
mod disk;
mod frame;
mod replay;
#[cfg(test)]
pub mod tests;
mod writer;

pub use anew::{commit, finish, prepare};
pub use chain::{Chain, digest, verify};
pub use disk::{Disk, Files};
#[cfg(test)]
pub use frame::HEADER;
pub use frame::{Frame, HEADER_3, Hash, Stands, encode_stands, find};
pub use replay::{Cursor, Repair, corrupt, load, replay, scan};
pub use writer::{Log, Sink, Urgency};

use crate::StoreError;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Where a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the segment.
    pub segment: u32,
    /// Offset of the frame in it.
    pub offset: u32,
    /// Length of the payload.
    pub len: u32,
}

/// The payload of the frame at `place`, checked.
pub fn read(dir: &Path, place: Place) -> Result<Vec<u8>, StoreError> {
    let path = segment_path(dir, place.segment);
    let failed = |act| {
        let path = path.clone();
        move |source| StoreError::Io { act, path, source }
    };
    let file = File::open(&path).map_err(failed("open"))?;
    // One without a hash is shorter, and may be the last thing in its file.
    let end = file.metadata().map_err(failed("read"))?.len();
    let room = end.saturating_sub(u64::from(place.offset));
    let size = frame::HEADER.saturating_add(place.len as usize);
    let mut bytes = vec![0; size.min(usize::try_from(room).unwrap_or(usize::MAX))];
    file.read_exact_at(&mut bytes, u64::from(place.offset))
        .map_err(failed("read"))?;
    match frame::parse(&bytes) {
        Some(found) if found.payload.len() == place.len as usize => Ok(found.payload.to_vec()),
        _ => Err(StoreError::Corrupt {
            segment: place.segment,
            offset: u64::from(place.offset),
            what: "the checksum does not match".into(),
        }),
    }
}

/// Bytes of all segments.
pub fn bytes(dir: &Path) -> Result<u64, StoreError> {
    (0..replay::list(dir)?).try_fold(0_u64, |sum, segment| {
        let path = segment_path(dir, segment);
        let found = std::fs::metadata(&path);
        let len = found.map_err(|source| StoreError::Io {
            act: "find",
            path,
            source,
        })?;
        Ok(sum.saturating_add(len.len()))
    })
}

fn segment_path(dir: &Path, segment: u32) -> PathBuf {
    dir.join(format!("{segment:08}.log"))
}
