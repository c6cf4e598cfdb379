//! What people, models and programs said is on the disk under a key of the Task that it is of, and that key under one of the installation.
//!
//! An entry is a line: its JSON without the texts and, behind a tab, what was taken out of it, sealed (`secrets`). So money, times, digests and names can
//! be read, counted and kept without any key, and a Task's texts are gone once its key is.
//!
//! - AES-256-GCM. The nonces of lines and of wrapped keys are random: a counter would come again after a crash took away what was written last. One key
//!   has far less than the 2^32 messages that this allows: a journal is bounded, and notes are.
//! - A line's JSON is its associated data: sealed text moved to another line, Task or number is refused.
//! - The keys of Tasks, wrapped, are in a file beside the log (`file`), so that one can be dropped, or all of them wrapped anew, at once.
//! - Blobs have keys of their own (`blob`), which are among the texts of the entries that name them.

mod blob;
mod file;
mod keys;
mod secrets;
#[cfg(test)]
mod tests;

pub use blob::{BlobKey, Stream, open as open_blob};
pub use keys::{KeyError, Keys};

use crate::entry::Entry;
use crate::{Refusal, StoreError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use file::File;
use keys::Wrapped;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use secrets::{Put, Take, visit};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

/// Between an entry's JSON and what is sealed of it: no JSON has a raw one.
const BETWEEN: u8 = b'\t';
/// Digits that say which key sealed a line.
const ID_DIGITS: usize = 8;

/// The keys of this store.
#[derive(Debug)]
pub struct Sealer {
    keys: Keys,
    /// Held while it is written.
    file: Mutex<File>,
    /// What is in it: whoever reads or writes lines does not wait for the disk.
    known: RwLock<BTreeMap<String, Wrapped>>,
}

/// A line of the log that was read.
#[derive(Debug, PartialEq)]
pub enum Read {
    /// As it was written.
    Whole(Entry),
    /// Without its texts: their key is gone.
    Shut(Entry),
}

impl Sealer {
    /// The keys in a directory, all of them under the first of these.
    pub fn open(dir: &Path, keys: Keys) -> Result<Self, StoreError> {
        let file = File::open(dir, &keys)?;
        Ok(Self {
            keys,
            known: RwLock::new(file.known().clone()),
            file: Mutex::new(file),
        })
    }

    /// Whether what is written is sealed.
    pub fn is_on(&self) -> bool {
        self.keys.current().is_some()
    }

    /// Tasks by UID, and notes by an empty one, have keys once this returns, and they are on the disk.
    pub fn give<'a>(&self, to: impl IntoIterator<Item = &'a str>) -> Result<(), StoreError> {
        if !self.is_on() {
            return Ok(());
        }
        let mut file = self.lock();
        let new = file.give(&self.keys, to)?;
        let known = self.known.write();
        let new = new.into_iter().map(|key| (key.of.clone(), key));
        known.unwrap_or_else(PoisonError::into_inner).extend(new);
        Ok(())
    }

    /// Drops the keys of all others. Returns how many.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) -> Result<usize, StoreError> {
        let mut file = self.lock();
        let gone = file.retain(keep)?;
        let known = self.known.write();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        for of in &gone {
            known.remove(of);
        }
        Ok(gone.len())
    }

    /// A key for a blob that is about to be written.
    pub fn blob_key(&self) -> Result<Option<BlobKey>, Refusal> {
        match self.is_on() {
            true => BlobKey::new().map(Some).map_err(Refusal::Internal),
            false => Ok(None),
        }
    }

    /// Appends an entry's line.
    pub fn line(&self, out: &mut Vec<u8>, entry: &Entry) -> Result<(), Refusal> {
        let unwritten = |error: serde_json::Error| {
            Refusal::Invalid(format!("a record cannot be written as JSON: {error}"))
        };
        if !self.is_on() {
            return serde_json::to_writer(out, entry).map_err(unwritten);
        }
        let (bare, texts) = apart(entry).map_err(unwritten)?;
        out.extend_from_slice(&bare);
        if texts.is_empty() {
            return Ok(());
        }
        let of = entry.task_uid();
        let (id, key) = self.key(of).map_err(Refusal::Internal)?.ok_or_else(|| {
            Refusal::Internal(format!("Task {of} has no key to seal its journal with"))
        })?;
        let sealed = seal(&key, &bare, texts).map_err(Refusal::Internal)?;
        out.push(BETWEEN);
        out.extend_from_slice(id.as_bytes());
        out.extend_from_slice(BASE64.encode(sealed).as_bytes());
        Ok(())
    }

    /// The entry of a line, with its texts as far as there is a key.
    pub fn read(&self, line: &[u8]) -> Result<Read, String> {
        let not_understood = |error: serde_json::Error| format!("cannot be understood: {error}");
        let mut entry: Entry = serde_json::from_slice(bare(line)).map_err(not_understood)?;
        let Some(texts) = self.texts(&entry, line)? else {
            let whole = bare(line).len() == line.len();
            return Ok(if whole {
                Read::Whole(entry)
            } else {
                Read::Shut(entry)
            });
        };
        visit(&mut entry, &mut Put::new(&texts)).map_err(not_understood)?;
        Ok(Read::Whole(entry))
    }

    /// Whether a line says the same as this entry, text for text.
    pub fn is(&self, line: &[u8], entry: &Entry) -> Result<bool, String> {
        if bare(line).len() == line.len() {
            return Ok(serde_json::to_vec(entry).is_ok_and(|text| text == line));
        }
        let Ok((json, texts)) = apart(entry) else {
            return Ok(false);
        };
        Ok(json == bare(line) && self.texts(entry, line)?.is_some_and(|there| there == texts))
    }

    /// What is sealed of a line; `None` where nothing is, or its key is gone.
    fn texts(&self, entry: &Entry, line: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let json = bare(line);
        let Some(sealed) = line.get(json.len() + 1..) else {
            return Ok(None);
        };
        let (id, sealed) = sealed.split_at_checked(ID_DIGITS).ok_or("is cut off")?;
        let Some((_, key)) = self
            .key(entry.task_uid())?
            .filter(|(known, _)| known.as_bytes() == id)
        else {
            return Ok(None);
        };
        let sealed = BASE64
            .decode(sealed)
            .map_err(|error| format!("is not what was sealed: {error}"))?;
        open(&key, json, sealed).map(Some)
    }

    /// The id and the key of a Task.
    fn key(&self, of: &str) -> Result<Option<(String, LessSafeKey)>, String> {
        let known = self.known.read();
        let known = known
            .unwrap_or_else(PoisonError::into_inner)
            .get(of)
            .cloned();
        let Some(wrapped) = known else {
            return Ok(None);
        };
        let key = self.keys.unwrap(of, &wrapped).map_err(|e| e.to_string())?;
        Ok(Some((wrapped.id, key)))
    }

    fn lock(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a reading of the log from its beginning has met that it had no key for.
#[derive(Debug)]
pub struct Reading<'a> {
    sealer: &'a Sealer,
    shut: BTreeSet<String>,
}

impl<'a> Reading<'a> {
    /// From the beginning.
    pub fn new(sealer: &'a Sealer) -> Self {
        Self {
            sealer,
            shut: BTreeSet::new(),
        }
    }

    /// The next line.
    pub fn next(&mut self, line: &[u8]) -> Result<Entry, String> {
        let entry = match self.sealer.read(line)? {
            Read::Whole(entry) => entry,
            Read::Shut(entry) => {
                self.shut.insert(entry.task_uid().to_owned());
                entry
            }
        };
        if let Entry::Expired { tasks, .. } = &entry {
            for uid in tasks {
                self.shut.remove(uid);
            }
        }
        Ok(entry)
    }

    /// Nothing that is kept may be without its key.
    pub fn end(self) -> Result<(), StoreError> {
        match self.shut.first() {
            None => Ok(()),
            Some(uid) => Err(StoreError::Sealed(format!(
                "the keys of {} Tasks are missing, the first is {uid:?}; restore the file {} of the volume, or all of the volume, from a snapshot",
                self.shut.len(),
                file::NAME
            ))),
        }
    }
}

/// The JSON of a line, which anybody can read.
pub fn bare(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == BETWEEN).next().unwrap_or(line)
}

/// An entry's JSON without its texts, and these: a line of JSON each.
fn apart(entry: &Entry) -> serde_json::Result<(Vec<u8>, Vec<u8>)> {
    let (mut entry, mut texts) = (entry.clone(), Take::default());
    visit(&mut entry, &mut texts)?;
    Ok((serde_json::to_vec(&entry)?, texts.into_bytes()))
}

/// Nonce, sealed bytes and tag.
fn seal(key: &LessSafeKey, with: &[u8], mut bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let nonce: [u8; NONCE_LEN] = random()?;
    key.seal_in_place_append_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(with),
        &mut bytes,
    )
    .map_err(|_| "cannot be sealed: it is too large".to_owned())?;
    Ok([&nonce[..], &bytes].concat())
}

fn open(key: &LessSafeKey, with: &[u8], mut sealed: Vec<u8>) -> Result<Vec<u8>, String> {
    let refused = || "is not what was sealed, or was sealed with another key".to_owned();
    let mut bytes = match sealed.len() {
        0..NONCE_LEN => return Err(refused()),
        _ => sealed.split_off(NONCE_LEN),
    };
    let nonce = Nonce::try_assume_unique_for_key(&sealed).map_err(|_| refused())?;
    let opened = key.open_in_place(nonce, Aad::from(with), &mut bytes);
    let length = opened.map_err(|_| refused())?.len();
    bytes.truncate(length);
    Ok(bytes)
}

fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| "the operating system gives no random bytes".to_owned())?;
    Ok(bytes)
}

fn key_of(bytes: &[u8; 32]) -> Result<LessSafeKey, String> {
    let key = UnboundKey::new(&AES_256_GCM, bytes);
    key.map(LessSafeKey::new)
        .map_err(|_| "a key has 32 bytes".to_owned())
}
