//! A segment without what is no longer kept. Pure: bytes in, bytes out.
//!
//! What stays is where it was, byte for byte. A run of frames that go becomes one that stands for them and knows the hash of the last. What is
//! left of them comes in frames at the end.

use super::summary::{Rules, Summary};
use crate::entry::{Entry, SdkId, entries};
use crate::log::{Frame, HEADER_3, Stands, encode_stands, find};
use crate::state::Segment;
use std::collections::HashMap;

/// Most lines of one frame at the end.
const LINES: usize = 1000;

/// What became of a segment.
#[derive(Debug, PartialEq, Eq)]
pub struct Condensed {
    /// Its bytes from now on; `None` where nothing of it goes.
    pub bytes: Option<Vec<u8>>,
    /// What is known of it from now on.
    pub known: Segment,
}

struct Part<'a> {
    at: u32,
    frame: Frame<'a>,
    entries: Vec<Entry>,
    goes: bool,
}

/// The segment without what the rules let go.
///
/// # Errors
/// What in it is not as it should be.
pub fn condense(data: &[u8], rules: &Rules<'_>) -> Result<Condensed, String> {
    let mut parts = parts(data)?;
    let young = mark(&mut parts, rules);
    let mut summary = Summary::default();
    let mut changed = false;
    for part in parts.iter_mut().filter(|part| part.goes) {
        changed |= part.frame.stands.is_none();
        for entry in std::mem::take(&mut part.entries) {
            changed |= rules.is_old(&entry);
            summary.take(entry, rules);
        }
    }
    let mut known = Segment {
        rows: young,
        ..Segment::default()
    };
    let last = summary.entries();
    let stays = parts.iter().filter(|part| !part.goes);
    for entry in stays.flat_map(|part| &part.entries).chain(&last) {
        known.note(entry);
    }
    let bytes = changed.then(|| write(data, &parts, &last)).transpose()?;
    Ok(Condensed { bytes, known })
}

fn parts(data: &[u8]) -> Result<Vec<Part<'_>>, String> {
    let mut parts: Vec<Part<'_>> = Vec::new();
    let mut offset = 0;
    while let Some((at, frame)) = find(data, offset) {
        if parts
            .last()
            .is_some_and(|last| last.frame.next() != frame.number)
        {
            return Err(format!("frame {} is not the next one", frame.number));
        }
        offset = at.saturating_add(frame.size());
        let entries = entries(frame.payload).collect::<Result<_, _>>()?;
        parts.push(Part {
            at,
            // All that it brings is brought again.
            goes: frame.stands.is_some(),
            frame,
            entries,
        });
    }
    let rest = data.get(offset as usize..).unwrap_or_default();
    match rest.iter().all(|byte| *byte == 0) {
        true => Ok(parts),
        false => Err("a frame is unreadable".into()),
    }
}

/// Marks what goes. Returns how many hops of SDK callers will, when they are old.
fn mark(parts: &mut [Part<'_>], rules: &Rules<'_>) -> u32 {
    let mut begun: HashMap<SdkId, usize> = HashMap::new();
    let (mut pairs, mut young) = (Vec::new(), 0_u32);
    for (index, part) in parts.iter_mut().enumerate() {
        // Begin and end go together: one without the other would be an open hop, or the end of none.
        match &part.entries[..] {
            [Entry::SdkOpen { id, .. }] => {
                begun.insert(*id, index);
            }
            [Entry::SdkEnd { id, at_ms, .. }] => {
                if let Some(begin) = begun.remove(id) {
                    if *at_ms < rules.rows_before {
                        pairs.push([begin, index]);
                    } else {
                        young = young.saturating_add(1);
                    }
                }
            }
            [] => {}
            entries => part.goes |= entries.iter().all(|entry| rules.goes(entry)),
        }
    }
    for index in pairs.into_iter().flatten() {
        if let Some(part) = parts.get_mut(index) {
            part.goes = true;
        }
    }
    young
}

fn write(data: &[u8], parts: &[Part<'_>], last: &[Entry]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(data.len());
    let (mut next, mut hash) = (0, None);
    for run in parts.chunk_by(|a, b| a.goes && b.goes) {
        let ([first, ..], [.., end]) = (run, run) else {
            continue;
        };
        let before = first.frame.before.or(hash).unwrap_or_default();
        (next, hash) = (end.frame.next(), Some(end.frame.hash()));
        let from = first.at as usize;
        let to = end.at.saturating_add(end.frame.size()) as usize;
        if first.goes && next == first.frame.number {
            continue; // it only brought what is brought again
        }
        if out.len() > from {
            return Err(format!("frame {} has no room", first.frame.number));
        }
        out.resize(from, 0);
        if !first.goes {
            out.extend(
                data.get(from..to)
                    .ok_or("a frame ends behind the segment")?,
            );
            continue;
        }
        if to.saturating_sub(from) < HEADER_3 {
            return Err(format!("frame {} is too small", first.frame.number));
        }
        let stands = Stands {
            next,
            hash: end.frame.hash(),
        };
        encode_stands(&mut out, first.frame.number, &before, stands, &[]);
    }
    let hash = hash.unwrap_or_default();
    for lines in last.chunks(LINES) {
        let texts: Result<Vec<_>, _> = lines.iter().map(serde_json::to_vec).collect();
        let payload = texts.map_err(|error| error.to_string())?.join(&b'\n');
        encode_stands(&mut out, next, &hash, Stands { next, hash }, &payload);
    }
    Ok(out)
}
