//! One frame: header, payload, zeros up to the next multiple of 8.
//!
//! ```text
//! 0   "OAR1"      8   number u64     24  crc32c of bytes 0..24 and the payload
//! 4   length u32  16  synced u64     28  zero
//! ```
//! `synced` is the number of the first frame of the same batch: everything below it was durable before this frame was written. A hole
//! below a frame's `synced` is therefore damage; a hole at or above it can be an unfinished write.

/// Bytes before the payload.
pub const HEADER: usize = 32;
/// Frames begin at multiples of this.
pub const ALIGN: usize = 8;
/// The first bytes, with the format's version. Payloads are JSON without control characters, so no payload looks like a frame.
pub const MAGIC: &[u8] = b"OAR1";

/// A frame whose checksum is right.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Position in the log, from 0 without gaps.
    pub number: u64,
    /// Frames below this number were durable when it was written.
    pub synced: u64,
    /// The content.
    pub payload: &'a [u8],
}

/// Bytes that a payload takes in a segment.
pub const fn size(payload: usize) -> usize {
    HEADER
        .saturating_add(payload)
        .saturating_add(ALIGN - 1)
        .saturating_div(ALIGN)
        .saturating_mul(ALIGN)
}

/// Appends a frame to `out`.
pub fn encode(out: &mut Vec<u8>, number: u64, synced: u64, payload: &[u8]) {
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
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header), payload);
    out.extend_from_slice(&header);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
    out.resize(end, 0);
}

/// The frame at the start of `bytes`, or `None` if there is none or its checksum is wrong.
pub fn parse(bytes: &[u8]) -> Option<Frame<'_>> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    if header.get(..4)? != MAGIC {
        return None;
    }
    let u32_at = |at: usize| Some(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(header.get(at..at + 8)?.try_into().ok()?));
    let payload = rest.get(..u32_at(4)? as usize)?;
    let crc = crc32c::crc32c_append(crc32c::crc32c(header.get(..24)?), payload);
    (crc == u32_at(24)?).then_some(Frame {
        number: u64_at(8)?,
        synced: u64_at(16)?,
        payload,
    })
}
