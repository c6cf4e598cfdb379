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
//! What retention took out of a segment is told by a frame of another kind, whose header goes on to 104:
//!
//! ```text
//! 0   "OAR3", then as above      64  hash of the last frame that it stands for      96  next u64
//! ```
//! It stands for the frames from `number` to before `next`: what came before and after them is known by their hashes still. `next` is
//! `number` where it stands for none, and only brings what is left of frames that others stand for.
//!
//! Frames of the first version begin with "OAR1" and have no hash: their header ends at 32.

use sha2::{Digest as _, Sha256};

/// Bytes before the payload.
pub const HEADER: usize = 64;
/// Bytes before the payload of a frame without a hash.
const HEADER_1: usize = 32;
/// Bytes before the payload of a frame that stands for others.
pub const HEADER_3: usize = 104;
/// Frames begin at multiples of this.
pub const ALIGN: usize = 8;
/// The first bytes, with the format's version. Payloads are JSON, and what is sealed is base64: no byte is zero, so no payload looks like a frame.
pub const MAGIC: &[u8] = b"OAR2";
const MAGIC_1: &[u8] = b"OAR1";
const MAGIC_3: &[u8] = b"OAR3";
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
    /// The frames that it stands for, where it does.
    pub stands: Option<Stands>,
    /// The content.
    pub payload: &'a [u8],
}

/// Frames that retention took out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stands {
    /// Number of the first frame after them.
    pub next: u64,
    /// Hash of the last of them; of the frame before, where there are none.
    pub hash: Hash,
}

impl Frame<'_> {
    /// What the next frame has as `before`.
    pub fn hash(&self) -> Hash {
        match self.stands {
            Some(stands) => stands.hash,
            None => hash(&self.before.unwrap_or_default(), self.number, self.payload),
        }
    }

    /// Number of the frame after it.
    pub fn next(&self) -> u64 {
        let next = self.stands.map(|stands| stands.next);
        next.unwrap_or_else(|| self.number.saturating_add(1))
    }

    /// Bytes that it takes in its segment.
    pub fn size(&self) -> u32 {
        let header = match (self.stands, self.before) {
            (Some(_), _) => HEADER_3,
            (None, Some(_)) => HEADER,
            (None, None) => HEADER_1,
        };
        u32::try_from(aligned(header, self.payload.len())).unwrap_or(u32::MAX)
    }
}

/// The frame at `offset` or, behind zeros, at the next multiple of 8 with anything at all, and where it is.
pub fn find(data: &[u8], offset: u32) -> Option<(u32, Frame<'_>)> {
    let rest = data.get(offset as usize..)?;
    let zeros = rest.iter().position(|byte| *byte != 0)?;
    let at = (offset as usize).checked_add(zeros / ALIGN * ALIGN)?;
    let found = parse(data.get(at..)?)?;
    Some((u32::try_from(at).ok()?, found))
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
    version.is_some_and(|version| (b'4'..=b'9').contains(version))
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
    assemble(out, MAGIC, [number, synced], before, payload);
}

/// Appends a frame that stands for others.
pub fn encode_stands(
    out: &mut Vec<u8>,
    number: u64,
    before: &Hash,
    stands: Stands,
    payload: &[u8],
) {
    let next = stands.next.to_le_bytes();
    let more = [&before[..], &stands.hash, &next].concat();
    // It proves nothing of frames before it: it is written long after them.
    assemble(out, MAGIC_3, [number, 0], &more, payload);
}

fn assemble(out: &mut Vec<u8>, magic: &[u8], numbers: [u64; 2], more: &[u8], payload: &[u8]) {
    let header = HEADER_1.saturating_add(more.len());
    let end = out.len().saturating_add(aligned(header, payload.len()));
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX); // the queue refuses longer ones
    let [number, synced] = numbers.map(u64::to_le_bytes);
    let mut crc = 0;
    for part in [magic, &length.to_le_bytes(), &number, &synced] {
        crc = crc32c::crc32c_append(crc, part);
        out.extend_from_slice(part);
    }
    for part in [more, payload] {
        crc = crc32c::crc32c_append(crc, part);
    }
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(more);
    out.extend_from_slice(payload);
    out.resize(end, 0);
}

/// The frame at the start of `bytes`, or `None` if there is none or its checksum is wrong.
pub fn parse(bytes: &[u8]) -> Option<Frame<'_>> {
    let (header, rest) = bytes.split_at_checked(HEADER_1)?;
    let u32_at = |at: usize| Some(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(header.get(at..at + 8)?.try_into().ok()?));
    let size = match header.get(..4)? {
        MAGIC => HEADER,
        MAGIC_1 => HEADER_1,
        MAGIC_3 => HEADER_3,
        _ => return None,
    };
    let (more, rest) = rest.split_at_checked(size - HEADER_1)?;
    let payload = rest.get(..u32_at(4)? as usize)?;
    let crc = crc32c::crc32c_append(crc32c::crc32c(header.get(..24)?), more);
    if crc32c::crc32c_append(crc, payload) != u32_at(24)? {
        return None;
    }
    let (before, more) = more.split_at(more.len().min(size_of::<Hash>()));
    let (hash, next) = more.split_at(more.len().min(size_of::<Hash>()));
    Some(Frame {
        number: u64_at(8)?,
        synced: u64_at(16)?,
        before: before.try_into().ok(),
        stands: match (hash.try_into(), next.try_into()) {
            (Ok(hash), Ok(next)) => Some(Stands {
                next: u64::from_le_bytes(next),
                hash,
            }),
            _ => None,
        },
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
