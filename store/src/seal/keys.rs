//! The keys of the installation, and the keys of Tasks under them.

use super::{BASE64, ID_DIGITS, key_of, open, random, seal};
use base64::Engine as _;
use ring::aead::LessSafeKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Most keys: the one that seals, and those that only open until everything is under it.
const MAX_KEYS: usize = 16;

/// The keys of an installation. The first one seals; the others open what was sealed before it came. Without any, nothing is sealed.
#[derive(Clone, Debug, Default)]
pub struct Keys(Arc<[Key]>);

/// One of them.
#[derive(Debug)]
struct Key {
    /// Follows from the key, and says nothing of it.
    id: String,
    key: LessSafeKey,
}

/// Keys that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A line that is no key.
    #[error(
        "line {0} is no key: a key is 64 hexadecimal digits, as `openssl rand -hex 32` makes them"
    )]
    Line(usize),
    /// None at all, which would be sealing nothing without being told to.
    #[error(
        "there is no key: one line with 64 hexadecimal digits, as `openssl rand -hex 32` makes them, is needed"
    )]
    None,
    /// Too many, or one twice.
    #[error("there are more than {MAX_KEYS} keys, or one of them twice")]
    Many,
    /// A key of a Task that was sealed with another key of the installation.
    #[error(
        "the keys of Tasks are sealed with key {0}, which is none of those that were given; add it as a further line behind the first"
    )]
    Other(String),
    /// A key of a Task that is damaged.
    #[error("the key of Task {0} is damaged; restore the volume from a snapshot")]
    Damaged(String),
}

/// A key of a Task, under one of the installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wrapped {
    /// UID of the Task; empty for the key of all notes.
    pub of: String,
    /// Says which one it is, where a Task had one before.
    pub id: String,
    /// Id of the key of the installation.
    pub by: String,
    /// The key, sealed.
    pub key: String,
}

impl Keys {
    /// The keys of a text: 64 hexadecimal digits on each line, the one that seals first. Empty lines and lines that begin with `#` are left out.
    ///
    /// # Errors
    /// Which line is none; never what stands there.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut keys: Vec<Key> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut bytes = [0; 32];
            hex::decode_to_slice(line, &mut bytes).map_err(|_| KeyError::Line(number))?;
            let id = hex::encode(Sha256::digest([&b"oarmaster key"[..], &bytes].concat()));
            let id = id.get(..ID_DIGITS).unwrap_or_default().to_owned();
            let key = key_of(&bytes).map_err(|_| KeyError::Line(number))?;
            if keys.len() == MAX_KEYS || keys.iter().any(|known| known.id == id) {
                return Err(KeyError::Many);
            }
            keys.push(Key { id, key });
        }
        match keys.is_empty() {
            true => Err(KeyError::None),
            false => Ok(Self(keys.into())),
        }
    }

    /// Id of the key that seals: the first digits of a SHA-256 of it. `None` where nothing is sealed.
    #[must_use]
    pub fn current(&self) -> Option<&str> {
        self.0.first().map(|key| key.id.as_str())
    }

    /// A new key for a Task.
    pub(super) fn wrap_new(&self, of: &str) -> Result<Wrapped, String> {
        let id: [u8; ID_DIGITS / 2] = random()?;
        self.wrap(of, hex::encode(id), random()?)
    }

    /// The same key of a Task under the one that seals now.
    pub(super) fn wrap_again(&self, wrapped: &Wrapped) -> Result<Wrapped, KeyError> {
        let damaged = || KeyError::Damaged(wrapped.of.clone());
        let bytes = self.bytes(&wrapped.of, wrapped)?;
        let bytes = bytes.try_into().map_err(|_| damaged())?;
        self.wrap(&wrapped.of, wrapped.id.clone(), bytes)
            .map_err(|_| damaged())
    }

    fn wrap(&self, of: &str, id: String, bytes: [u8; 32]) -> Result<Wrapped, String> {
        let current = self.0.first().ok_or("there is no key")?;
        let key = seal(&current.key, &with(of, &id), bytes.to_vec())?;
        Ok(Wrapped {
            of: of.to_owned(),
            id,
            by: current.id.clone(),
            key: BASE64.encode(key),
        })
    }

    /// A key of a Task.
    pub(super) fn unwrap(&self, of: &str, wrapped: &Wrapped) -> Result<LessSafeKey, KeyError> {
        let damaged = || KeyError::Damaged(of.to_owned());
        let bytes = self.bytes(of, wrapped)?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| damaged())?;
        key_of(&bytes).map_err(|_| damaged())
    }

    fn bytes(&self, of: &str, wrapped: &Wrapped) -> Result<Vec<u8>, KeyError> {
        let damaged = || KeyError::Damaged(of.to_owned());
        let mut known = self.0.iter();
        let by = known
            .find(|key| key.id == wrapped.by)
            .ok_or_else(|| KeyError::Other(wrapped.by.clone()))?;
        let sealed = BASE64.decode(&wrapped.key).map_err(|_| damaged())?;
        open(&by.key, &with(of, &wrapped.id), sealed).map_err(|_| damaged())
    }
}

/// A wrapped key is of this Task, and has this id.
fn with(of: &str, id: &str) -> Vec<u8> {
    format!("oarmaster task key\n{of}\n{id}").into_bytes()
}
