//! One frame: header, payload, zeros up to the next multiple of 8.
//!
//! ```text
//! 0   "OAR2"      8   number u64     24  crc32c of bytes 0..24, 32..64 and the payload
//! 4   length u32  16  synced u64     28  zero
//! 32  SHA-256 of the frame before: of its own bytes 32..64, its number and its payload; zeros in the first frame
//! ```
//! `synced` is the number of the first frame of the same batch: everything below it was durable before this frame was written. A hole
//! below a frame's `synced` is therefore damage; a hole at or above it can be an unfinished write.
//!
//! Frames of the version before begin with "OAR1" and have no hash: their header ends at 32.

use sha2::{Digest as _, Sha256};

/// Bytes before the payload.
pub const HEADER: usize = 64;
/// Bytes before the payload of a frame without a hash.
const HEADER_1: usize = 32;
/// Frames begin at multiples of this.
pub const ALIGN: usize = 8;
/// The first bytes, with the format's version. Payloads are JSON without control characters, so no payload looks like a frame.
pub const MAGIC: &[u8] = b"OAR2";
const MAGIC_1: &[u8] = b"OAR1";
/// What every version begins with.
pub const ANY_MAGIC: &[u8] = b"OAR";

/// A SHA-256.
pub type Hash = [u8; 32];

/// A frame whose checksum is right.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Position in the log, from 0 without gaps.
    pub number: u64,
    /// Frames below this number were durable when it was written.
    pub synced: u64,
    /// Hash of the frame before; `None` in a version that has none.
    pub before: Option<Hash>,
    /// The content.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// What the next frame has as `before`.
    pub fn hash(&self) -> Hash {
        hash(&self.before.unwrap_or_default(), self.number, self.payload)
    }

    /// Bytes that it takes in its segment.
    pub fn size(&self) -> u32 {
        let header = if self.before.is_some() {
            HEADER
        } else {
            HEADER_1
        };
        u32::try_from(aligned(header, self.payload.len())).unwrap_or(u32::MAX)
    }
}

/// The hash of a frame.
pub fn hash(before: &Hash, number: u64, payload: &[u8]) -> Hash {
    let hash = Sha256::new().chain_update(before);
    let hash = hash.chain_update(number.to_le_bytes());
    hash.chain_update(payload).finalize().into()
}

/// Whether these bytes begin a frame of a version that is not known here.
pub fn is_newer(bytes: &[u8]) -> bool {
    let version = bytes.strip_prefix(ANY_MAGIC).and_then(<[u8]>::first);
    version.is_some_and(|version| (b'3'..=b'9').contains(version))
}

/// Bytes that a payload takes in a segment when it is written.
pub const fn size(payload: usize) -> usize {
    aligned(HEADER, payload)
}

const fn aligned(header: usize, payload: usize) -> usize {
    header
        .saturating_add(payload)
        .saturating_add(ALIGN - 1)
        .saturating_div(ALIGN)
        .saturating_mul(ALIGN)
}

/// Appends a frame to `out`.
pub fn encode(out: &mut Vec<u8>, number: u64, synced: u64, before: &Hash, payload: &[u8]) {
    let end = out.len().saturating_add(size(payload.len()));
    let mut header = [0_u8; 24];
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX); // the queue refuses longer ones
    for (slot, byte) in header.iter_mut().zip(
        MAGIC
            .iter()
            .copied()
            .chain(length.to_le_bytes())
            .chain(number.to_le_bytes())
            .chain(synced.to_le_bytes()),
    ) {
        *slot = byte;
    }
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header), before);
    let crc = crc32c::crc32c_append(crc, payload);
    out.extend_from_slice(&header);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(before);
    out.extend_from_slice(payload);
    out.resize(end, 0);
}

/// The frame at the start of `bytes`, or `None` if there is none or its checksum is wrong.
pub fn parse(bytes: &[u8]) -> Option<Frame<'_>> {
    let (header, mut rest) = bytes.split_at_checked(HEADER_1)?;
    let u32_at = |at: usize| Some(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(header.get(at..at + 8)?.try_into().ok()?));
    let mut crc = crc32c::crc32c(header.get(..24)?);
    let before: Option<Hash> = match header.get(..4)? {
        MAGIC => {
            let (before, payload) = rest.split_at_checked(HEADER - HEADER_1)?;
            crc = crc32c::crc32c_append(crc, before);
            rest = payload;
            Some(before.try_into().ok()?)
        }
        MAGIC_1 => None,
        _ => return None,
    };
    let payload = rest.get(..u32_at(4)? as usize)?;
    crc = crc32c::crc32c_append(crc, payload);
    (crc == u32_at(24)?).then_some(Frame {
        number: u64_at(8)?,
        synced: u64_at(16)?,
        before,
        payload,
    })
}

/// Appends a frame as the version without a hash wrote it.
#[cfg(test)]
pub fn encode_1(out: &mut Vec<u8>, number: u64, synced: u64, payload: &[u8]) {
    let end = out.len() + aligned(HEADER_1, payload.len());
    let length = u32::try_from(payload.len()).unwrap();
    let header = [
        MAGIC_1,
        &length.to_le_bytes(),
        &number.to_le_bytes(),
        &synced.to_le_bytes(),
    ];
    let header = header.concat();
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header), payload);
    out.extend_from_slice(&header);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
    out.resize(end, 0);
}
