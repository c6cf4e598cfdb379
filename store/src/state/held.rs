//! The blobs that Tasks have. One that several have is there once, until the last of them lets go of it.

use std::collections::HashMap;

/// Which blobs there are, and how large they are together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// How many Tasks have it, by digest.
    by: HashMap<String, u32>,
    bytes: u64,
}

impl Held {
    /// A Task has a blob that it did not have.
    pub fn add(&mut self, digest: &str, size: u64) {
        let by = self.by.entry(digest.to_owned()).or_default();
        if *by == 0 {
            self.bytes = self.bytes.saturating_add(size);
        }
        *by = by.saturating_add(1);
    }

    /// A Task has it no longer.
    pub fn give_back(&mut self, digest: &str, size: u64) {
        let Some(by) = self.by.get_mut(digest) else {
            return;
        };
        *by = by.saturating_sub(1);
        if *by == 0 {
            self.by.remove(digest);
            self.bytes = self.bytes.saturating_sub(size);
        }
    }

    /// Whether a Task has it.
    pub fn has(&self, digest: &str) -> bool {
        self.by.contains_key(digest)
    }

    /// Bytes of all of them.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}
