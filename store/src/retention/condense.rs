//! Segments without what is no longer kept. Pure: bytes in, bytes out.
//!
//! Some segments that follow each other are written anew at once. What stays is where it was, byte for byte. A run of frames that go becomes one
//! that stands for them and knows the hash of the last. What is left of them comes in frames at the end of the last segment.

use super::summary::{Rules, Summary};
use crate::entry::{Entry, SdkId, entries};
use crate::log::{Frame, HEADER_3, Hash, Stands, encode_stands, find};
use crate::state::Segment;
use std::collections::HashMap;

/// Most lines of one frame at the end.
const LINES: usize = 1000;

/// A segment, and what is known of it.
#[derive(Debug)]
pub struct Full {
    pub number: u32,
    pub data: Vec<u8>,
    pub known: Segment,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Condensed {
    pub number: u32,
    /// Its bytes from now on; `None` where they are what they were.
    pub bytes: Option<Vec<u8>>,
    /// What is known of it from now on.
    pub known: Segment,
}

/// A frame, without its content.
struct Part {
    at: u32,
    size: u32,
    number: u64,
    before: Option<Hash>,
    stands: Stands,
    /// Whether it stands for others already: what it brings is brought again.
    anew: bool,
    goes: bool,
}

/// The segments without what the rules let go, in their order.
///
/// # Errors
/// What in which segment is not as it should be.
pub fn condense(full: &[Full], rules: &Rules<'_>) -> Result<Vec<Condensed>, (u32, String)> {
    let mut marked = Marked::default();
    for segment in full {
        let found = marked.segment(segment, rules);
        found.map_err(|what| (segment.number, what))?;
    }
    marked.settle();
    let Marked {
        parts, mut known, ..
    } = marked;
    let mut changed = false;
    let mut summary = Summary::default();
    for (segment, parts) in full.iter().zip(&parts) {
        for part in parts.iter().filter(|part| part.goes) {
            changed |= !part.anew;
            let (_, frame) = find(&segment.data, part.at)
                .ok_or_else(|| (segment.number, "a frame is gone".to_owned()))?;
            for entry in entries(frame.payload) {
                let entry = entry.map_err(|what| (segment.number, what))?;
                changed |= rules.is_old(&entry);
                summary.take(entry, rules);
            }
        }
    }
    let last = summary.entries();
    if let Some(known) = known.last_mut() {
        for entry in &last {
            known.note(entry);
        }
    }
    let mut condensed = Vec::new();
    for (index, ((segment, parts), known)) in full.iter().zip(&parts).zip(known).enumerate() {
        let is_last = index + 1 == full.len();
        let last = if is_last { &last[..] } else { &[] };
        let number = segment.number;
        let bytes = match changed {
            true => Some(write(&segment.data, parts, last).map_err(|what| (number, what))?),
            false => None,
        };
        condensed.push(Condensed {
            number,
            bytes: bytes.filter(|bytes| *bytes != segment.data),
            known: match changed {
                true => known,
                false => Segment {
                    rows: known.rows,
                    since: known.since,
                    ..segment.known
                },
            },
        });
    }
    Ok(condensed)
}

/// What goes, and what is known of what stays.
#[derive(Default)]
struct Marked {
    parts: Vec<Vec<Part>>,
    known: Vec<Segment>,
    /// Hops of SDK callers that began, by segment and frame, and in which segment of the log.
    begun: HashMap<SdkId, (usize, usize, u32)>,
    /// Those that ended long ago, begin and end.
    pairs: Vec<[(usize, usize); 2]>,
}

impl Marked {
    fn segment(&mut self, segment: &Full, rules: &Rules<'_>) -> Result<(), String> {
        let place = self.parts.len();
        let (mut parts, mut known): (Vec<Part>, _) = (Vec::new(), Segment::default());
        let mut offset = 0;
        while let Some((at, frame)) = find(&segment.data, offset) {
            if parts
                .last()
                .is_some_and(|last| last.stands.next != frame.number)
            {
                return Err(format!("frame {} is not the next one", frame.number));
            }
            offset = at.saturating_add(frame.size());
            let entries: Vec<Entry> = entries(frame.payload).collect::<Result<_, _>>()?;
            let mut part = Part::new(at, &frame);
            // Begin and end go together: one without the other would be an open hop, or the end of none.
            match &entries[..] {
                [Entry::SdkOpen { id, .. }] => {
                    self.begun.insert(*id, (place, parts.len(), segment.number));
                }
                [Entry::SdkEnd { id, at_ms, .. }] => match self.begun.remove(id) {
                    Some((begin, part, _)) if *at_ms < rules.rows_before => {
                        self.pairs.push([(begin, part), (place, parts.len())]);
                    }
                    Some((_, _, since)) => known.row(Some(since)),
                    None => known.row(segment.known.since),
                },
                [] => {}
                [Entry::Note(note)] => {
                    part.goes |= !(rules.noted)(&note.owner, &note.id, frame.number);
                }
                entries => part.goes |= entries.iter().all(|entry| rules.goes(entry)),
            }
            if !part.goes {
                for entry in &entries {
                    known.note(entry);
                }
            }
            parts.push(part);
        }
        let rest = segment.data.get(offset as usize..).unwrap_or_default();
        if rest.iter().any(|byte| *byte != 0) {
            return Err("a frame is unreadable".into());
        }
        self.parts.push(parts);
        self.known.push(known);
        Ok(())
    }

    /// Lets pairs go.
    fn settle(&mut self) {
        for (segment, part) in self.pairs.drain(..).flatten() {
            let part = self
                .parts
                .get_mut(segment)
                .and_then(|parts| parts.get_mut(part));
            if let Some(part) = part {
                part.goes = true;
            }
        }
    }
}

impl Part {
    fn new(at: u32, frame: &Frame<'_>) -> Self {
        Self {
            at,
            size: frame.size(),
            number: frame.number,
            before: frame.before,
            stands: Stands {
                next: frame.next(),
                hash: frame.hash(),
            },
            anew: frame.stands.is_some(),
            goes: frame.stands.is_some(),
        }
    }
}

fn write(data: &[u8], parts: &[Part], last: &[Entry]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(data.len());
    let mut end: Option<Stands> = None;
    for run in parts.chunk_by(|a, b| a.goes && b.goes) {
        let ([first, ..], [.., final_]) = (run, run) else {
            continue;
        };
        let before = first.before.or(end.map(|end| end.hash)).unwrap_or_default();
        let stands = final_.stands;
        end = Some(stands);
        let from = first.at as usize;
        let to = final_.at.saturating_add(final_.size) as usize;
        if first.goes && stands.next == first.number {
            continue; // it only brought what is brought again
        }
        if out.len() > from {
            return Err(format!("frame {} has no room", first.number));
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
            return Err(format!("frame {} is too small", first.number));
        }
        encode_stands(&mut out, first.number, &before, stands, &[]);
    }
    let Some(Stands { next, hash }) = end else {
        return Ok(out);
    };
    for lines in last.chunks(LINES) {
        let texts: Result<Vec<_>, _> = lines.iter().map(serde_json::to_vec).collect();
        let payload = texts.map_err(|error| error.to_string())?.join(&b'\n');
        encode_stands(&mut out, next, &hash, Stands { next, hash }, &payload);
    }
    Ok(out)
}
