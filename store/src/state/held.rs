//! The blobs that Tasks have. One that several have is there once, until the last of them lets go of it.

use super::BlobAt;
use crate::blobs;
use std::collections::HashMap;

impl BlobAt {
    /// Its name in the store.
    pub fn name(&self, digest: &str) -> String {
        blobs::name(digest, self.key.as_ref())
    }
}

/// Which blobs there are, and how large they are together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// How many Tasks have it, by name.
    by: HashMap<String, u32>,
    bytes: u64,
}

impl Held {
    /// A Task has a blob that it did not have.
    pub fn add(&mut self, name: &str, size: u64) {
        let by = self.by.entry(name.to_owned()).or_default();
        if *by == 0 {
            self.bytes = self.bytes.saturating_add(size);
        }
        *by = by.saturating_add(1);
    }

    /// A Task has it no longer.
    pub fn give_back(&mut self, name: &str, size: u64) {
        let Some(by) = self.by.get_mut(name) else {
            return;
        };
        *by = by.saturating_sub(1);
        if *by == 0 {
            self.by.remove(name);
            self.bytes = self.bytes.saturating_sub(size);
        }
    }

    /// Whether a Task has it.
    pub fn has(&self, name: &str) -> bool {
        self.by.contains_key(name)
    }

    /// Bytes of all of them.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}
