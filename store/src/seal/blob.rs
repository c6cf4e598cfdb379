//! Blobs under keys of their own. A key seals the bytes of one blob and nothing else, so its nonces are the numbers of the pieces.

use super::{BASE64, key_of, random};
use base64::Engine as _;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// Bytes that are sealed at once.
pub const PIECE: usize = 64 << 10;
/// Digits of a key's digest in the name of its blob.
const TAG_DIGITS: usize = 16;

/// The key of one blob.
#[derive(Clone, PartialEq, Eq)]
pub struct BlobKey([u8; 32]);

impl BlobKey {
    /// A new one.
    pub(super) fn new() -> Result<Self, String> {
        random().map(Self)
    }

    /// What makes the name of its blob another one than that of the same bytes under another key.
    pub fn tag(&self) -> String {
        let digest = hex::encode(Sha256::digest([&b"oarmaster blob"[..], &self.0].concat()));
        digest.get(..TAG_DIGITS).unwrap_or_default().to_owned()
    }
}

impl std::fmt::Debug for BlobKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BlobKey")
    }
}

impl Serialize for BlobKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for BlobKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64.decode(text).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("a blob's key has 32 bytes"))
    }
}

/// Bytes that arrive in any parts, sealed.
#[derive(Debug)]
pub struct Stream {
    key: LessSafeKey,
    number: u64,
    /// Not sealed yet: at most a piece, since the last one is told apart.
    rest: Vec<u8>,
}

impl Stream {
    /// From the beginning.
    pub fn new(key: &BlobKey) -> Result<Self, String> {
        Ok(Self {
            key: key_of(&key.0)?,
            number: 0,
            rest: Vec::new(),
        })
    }

    /// More bytes; what can be written of them.
    pub fn more(&mut self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        self.rest.extend_from_slice(bytes);
        let mut out = Vec::new();
        while self.rest.len() > PIECE {
            let after = self.rest.split_off(PIECE);
            let piece = std::mem::replace(&mut self.rest, after);
            out.extend(self.piece(piece, false)?);
        }
        Ok(out)
    }

    /// There are no more.
    pub fn end(&mut self) -> Result<Vec<u8>, String> {
        let rest = std::mem::take(&mut self.rest);
        self.piece(rest, true)
    }

    fn piece(&mut self, mut bytes: Vec<u8>, last: bool) -> Result<Vec<u8>, String> {
        self.key
            .seal_in_place_append_tag(nonce(self.number, last), Aad::empty(), &mut bytes)
            .map_err(|_| "a piece of a blob cannot be sealed".to_owned())?;
        self.number += 1;
        Ok(bytes)
    }
}

/// All bytes of a sealed blob.
pub fn open(key: &BlobKey, sealed: &[u8]) -> Result<Vec<u8>, String> {
    let key = key_of(&key.0)?;
    let (size, pieces) = (
        PIECE + AES_256_GCM.tag_len(),
        sealed.len().div_ceil(PIECE + AES_256_GCM.tag_len()),
    );
    let mut out = Vec::with_capacity(sealed.len());
    for (number, piece) in (0_u64..).zip(sealed.chunks(size)) {
        let last = number + 1 == pieces as u64;
        let mut piece = piece.to_vec();
        let opened = key.open_in_place(nonce(number, last), Aad::empty(), &mut piece);
        out.extend_from_slice(opened.map_err(|_| "is not what was sealed".to_owned())?);
    }
    match pieces {
        0 => Err("is empty, and was not when it was sealed".to_owned()),
        _ => Ok(out),
    }
}

/// The number of a piece, and whether it is the last: one that is missing at the end is missed.
fn nonce(number: u64, last: bool) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    let [.., end] = &mut nonce;
    *end = u8::from(last);
    for (to, from) in nonce.iter_mut().zip(number.to_be_bytes()) {
        *to = from;
    }
    Nonce::assume_unique_for_key(nonce)
}
