//! Reading the log from its beginning, and telling an unfinished write from damage.

use super::frame::Frame;
use super::{Hash, Place, frame, segment_path};
use crate::StoreError;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Where the next frame goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Number of the next frame.
    pub number: u64,
    /// How many segments there are; the last one is written to.
    pub segments: u32,
    /// Offset of the next frame in the last segment.
    pub offset: u32,
    /// Size of the last segment.
    pub capacity: u32,
    /// Hash of the frame before the next one; not known where a replay stopped early.
    pub hash: Hash,
}

/// What to do with an unfinished write at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Erase it, so that none of its bytes can be taken for a frame later.
    Erase,
    /// Leave the files alone, and stop before this frame.
    ReadOnly {
        /// The first frame that is not read.
        before: u64,
    },
}

/// Takes a frame: its number, place and payload. `Err` says what is wrong with it.
type Visit<'a> = &'a mut dyn FnMut(u64, Place, &[u8]) -> Result<(), String>;

/// Visits every durable frame in order and returns where the next one goes.
pub fn replay(dir: &Path, repair: Repair, visit: Visit<'_>) -> Result<Cursor, StoreError> {
    let segments = list(dir)?;
    let mut at = Cursor::default();
    let mut ahead = None;
    for segment in 0..segments {
        let data = match ahead.take() {
            Some(data) => data,
            None => load(dir, segment)?,
        };
        at.segments = segment + 1;
        at.capacity = u32::try_from(data.len()).unwrap_or(u32::MAX);
        at.offset = 0;
        let (mut last, mut anew) = (None, false);
        loop {
            if matches!(repair, Repair::ReadOnly { before } if at.number >= before) {
                return Ok(at);
            }
            let found = frame::find(&data, at.offset);
            let Some((offset, found)) = found.filter(|(_, f)| f.number == at.number) else {
                break;
            };
            let place = Place {
                segment,
                offset,
                len: u32::try_from(found.payload.len()).unwrap_or(u32::MAX),
            };
            visit(at.number, place, found.payload)
                .map_err(|what| corrupt(segment, offset, what))?;
            at.offset = offset.saturating_add(found.size());
            at.number = found.next();
            anew |= found.stands.is_some();
            last = Some(found);
        }
        at.hash = last.map_or(at.hash, |last| last.hash());
        let rest = data.get(at.offset as usize..).unwrap_or_default();
        if anew && rest.iter().any(|byte| *byte != 0) {
            // It was whole before it had this name. Nothing in it is unfinished, and its last frame may not be missed by its number.
            let what = "what is left of frames that are no longer kept is unreadable";
            return Err(corrupt(segment, at.offset, what.into()));
        }
        if at.segments < segments {
            // The writer goes to the next segment when a frame does not fit, and leaves zeros.
            let next = load(dir, at.segments)?;
            if first(&next) == Some(at.number) || rest.iter().all(|byte| *byte == 0) {
                ahead = Some(next);
                continue;
            }
        }
        return end(dir, repair, &data, at, segments);
    }
    Ok(at)
}

/// Visits the frames of one segment that are below `before`, in order. Of others than the first nothing is known before them, so the
/// caller asks for segments that a replay has read.
pub fn scan(
    dir: &Path,
    segment: u32,
    before: u64,
    visit: &mut dyn FnMut(Frame<'_>) -> Result<(), String>,
) -> Result<(), StoreError> {
    let data = load(dir, segment)?;
    let (mut offset, mut next) = (0_u32, None);
    loop {
        let found = frame::find(&data, offset);
        let Some((at, found)) = found.filter(|(_, f)| next.is_none_or(|next| f.number == next))
        else {
            let rest = data.get(offset as usize..).unwrap_or_default();
            // What follows the last frame is zeros, or was not durable when the caller began.
            if next.is_some_and(|next| next >= before) || rest.iter().all(|byte| *byte == 0) {
                return Ok(());
            }
            return Err(corrupt(segment, offset, "a frame is unreadable".into()));
        };
        // What stands for no frame of its own is of those before it.
        if found.number >= before && found.next() > found.number {
            return Ok(());
        }
        next = Some(found.next());
        let size = found.size();
        visit(found).map_err(|what| corrupt(segment, at, what))?;
        offset = at.saturating_add(size);
    }
}

/// No frame is readable at `at`: the end of the log, unless a later frame says otherwise.
fn end(
    dir: &Path,
    repair: Repair,
    data: &[u8],
    at: Cursor,
    segments: u32,
) -> Result<Cursor, StoreError> {
    if let Some(number) = later_durable(dir, data, at, segments)? {
        return Err(corrupt(
            at.segments.saturating_sub(1),
            at.offset,
            format!(
                "frame {} is unreadable, but frame {number} was written after it was durable",
                at.number
            ),
        ));
    }
    let rest = data.get(at.offset as usize..).unwrap_or_default();
    if frame::is_newer(rest) {
        return Err(corrupt(
            at.segments.saturating_sub(1),
            at.offset,
            "a newer version has written here; start that version".into(),
        ));
    }
    if repair == Repair::Erase {
        erase(dir, data, at, segments)?;
    }
    Ok(at)
}

/// How many segments there are; their numbers have no gap.
pub fn list(dir: &Path) -> Result<u32, StoreError> {
    let failed = |source| StoreError::Io {
        act: "list",
        path: dir.to_owned(),
        source,
    };
    let mut numbers = Vec::new();
    for file in std::fs::read_dir(dir).map_err(failed)? {
        let name = file.map_err(failed)?.file_name();
        if let Some(number) = name.to_str().and_then(|n| n.strip_suffix(".log")) {
            numbers.extend(number.parse::<u32>());
        }
    }
    numbers.sort_unstable();
    for (expected, found) in (0_u32..).zip(&numbers) {
        if expected != *found {
            return Err(corrupt(expected, 0, "the segment is missing".into()));
        }
    }
    Ok(u32::try_from(numbers.len()).unwrap_or(u32::MAX))
}

/// The bytes of a segment.
pub fn load(dir: &Path, segment: u32) -> Result<Vec<u8>, StoreError> {
    let path = segment_path(dir, segment);
    std::fs::read(&path).map_err(|source| StoreError::Io {
        act: "read",
        path,
        source,
    })
}

fn first(data: &[u8]) -> Option<u64> {
    frame::parse(data).map(|found| found.number)
}

/// The number of a frame that proves that the unreadable one at `at` had been durable.
fn later_durable(
    dir: &Path,
    data: &[u8],
    at: Cursor,
    segments: u32,
) -> Result<Option<u64>, StoreError> {
    let proof = |data: &[u8], from: usize| {
        (from..data.len()).step_by(frame::ALIGN).find_map(|offset| {
            data.get(offset..)
                .filter(|rest| rest.starts_with(frame::ANY_MAGIC))
                .and_then(frame::parse)
                .filter(|found| found.synced > at.number)
                .map(|found| found.number)
        })
    };
    if let Some(number) = proof(data, at.offset as usize) {
        return Ok(Some(number));
    }
    for segment in at.segments..segments {
        if let Some(number) = proof(&load(dir, segment)?, 0) {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// Zeroes everything after the last durable frame.
fn erase(dir: &Path, data: &[u8], at: Cursor, segments: u32) -> Result<(), StoreError> {
    let rest = data.get(at.offset as usize..).unwrap_or_default();
    let torn = rest.iter().rposition(|byte| *byte != 0);
    if torn.is_none() && at.segments == segments {
        return Ok(());
    }
    tracing::warn!(
        frame = at.number,
        bytes = torn.map_or(0, |last| last + 1),
        "erased an unfinished write at the end of the log"
    );
    // From the back, so that a crash in between leaves a log that is repaired the same way.
    for segment in (at.segments..segments).rev() {
        let path = segment_path(dir, segment);
        std::fs::remove_file(&path).map_err(|source| StoreError::Io {
            act: "remove",
            path,
            source,
        })?;
    }
    let path = segment_path(dir, at.segments.saturating_sub(1));
    let zeroed = || -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(&path)?;
        let zeros = vec![0; torn.map_or(0, |last| last + 1)];
        file.write_all_at(&zeros, u64::from(at.offset))?;
        file.sync_all()?;
        File::open(dir)?.sync_all()
    };
    zeroed().map_err(|source| StoreError::Io {
        act: "erase the unfinished end of",
        path: path.clone(),
        source,
    })
}

pub fn corrupt(segment: u32, offset: u32, what: String) -> StoreError {
    StoreError::Corrupt {
        segment,
        offset: u64::from(offset),
        what,
    }
}
