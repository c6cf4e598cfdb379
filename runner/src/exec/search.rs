//! Regular-expression search in the workspace, bounded in time, bytes and hits.

use super::walk::{Step, walk};
use super::workspace::{MAX_SHOWN, Workspace, failed};
use oarmaster_protocol::exec::{EntryKind, Failed, FailedCode, Hit, Response};
use oarmaster_protocol::text::{ceil, decode};
use regex::bytes::{Regex, RegexBuilder};
use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

const MAX_TIME: Duration = Duration::from_secs(10);
const MAX_BYTES: u64 = 256 << 20;
/// A longer line is searched in its first part only.
const MAX_LINE: u64 = 1 << 20;
const SHOWN_CHARS: usize = 500;
/// A NUL byte this near the start means that a file is not text.
const SNIFFED: usize = 8 << 10;

struct Search<'a> {
    workspace: &'a Workspace,
    regex: Regex,
    max_hits: usize,
    hits: Vec<Hit>,
    /// Memory of the hits, in bytes.
    held: usize,
    bytes: u64,
    deadline: Instant,
}

/// Why a search ended early.
type Early = String;

/// Finds lines in a file, or in all files below a directory. Links are not followed, and files that are not text are passed over.
pub(super) fn search(
    workspace: &Workspace,
    pattern: &str,
    path: &str,
    max_hits: u32,
) -> Result<Response, Failed> {
    let regex = RegexBuilder::new(pattern)
        .size_limit(1 << 20)
        .build()
        .map_err(|error| {
            failed(
                FailedCode::InvalidRequest,
                &format!("the pattern is not usable: {error}"),
            )
        })?;
    let start = workspace.relative(path)?.into_bytes();
    let mut search = Search {
        workspace,
        regex,
        max_hits: usize::try_from(max_hits).unwrap_or(usize::MAX).min(1000),
        hits: Vec::new(),
        held: 0,
        bytes: 0,
        deadline: Instant::now() + MAX_TIME,
    };
    let ended = if workspace.is_dir(&start) {
        walk(workspace, &start, |step| match step {
            Step::Entry(name) if name.kind == EntryKind::File => search.file(&name.path),
            Step::Entry(_) | Step::Directory(_) | Step::Passed(_) => Ok(()),
        })
    } else {
        workspace.open_file(&start)?; // the first error is the answer, later ones are passed over
        search.file(&start)
    };
    Ok(Response::Found {
        hits: search.hits,
        truncated: ended.err(),
    })
}

impl Search<'_> {
    fn in_time(&self) -> Result<(), Early> {
        if Instant::now() > self.deadline {
            return Err(format!(
                "stopped after {} s; name a smaller directory",
                MAX_TIME.as_secs()
            ));
        }
        Ok(())
    }

    fn file(&mut self, path: &[u8]) -> Result<(), Early> {
        self.in_time()?;
        let Ok((file, _)) = self.workspace.open_file(path) else {
            return Ok(());
        };
        let mut reader = BufReader::with_capacity(64 << 10, file);
        let Ok(start) = reader.fill_buf() else {
            return Ok(());
        };
        if start.iter().take(SNIFFED).any(|byte| *byte == 0) {
            return Ok(());
        }
        let mut line = Vec::new();
        let mut number = 1;
        let mut within = false; // what comes is the rest of a line whose first part was searched
        loop {
            line.clear();
            let Ok(count) = (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line) else {
                return Ok(());
            };
            if count == 0 {
                return Ok(());
            }
            self.bytes += count as u64;
            if self.bytes > MAX_BYTES {
                return Err(format!(
                    "only the first {MAX_BYTES} bytes were searched; name a smaller directory"
                ));
            }
            self.in_time()?;
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let is_whole = text.len() < line.len();
            let goes_on = std::mem::replace(&mut within, !is_whole);
            if !goes_on && self.regex.is_match(text) {
                if self.hits.len() == self.max_hits || self.held > MAX_SHOWN {
                    return Err(format!(
                        "only the first {} hits are shown; use a narrower pattern",
                        self.hits.len()
                    ));
                }
                let path = decode(path);
                let end = (0..SHOWN_CHARS).fold(0, |end, _| ceil(text, end + 1));
                let shown = decode(text.get(..end).unwrap_or_default());
                self.held += path.text.len() + shown.text.len();
                let more = if end < text.len() { "…" } else { "" };
                self.hits.push(Hit {
                    path: path.text.into_owned(),
                    line: number,
                    text: format!("{}{more}", shown.text),
                    replaced: path.replaced + shown.replaced,
                });
            }
            number += u64::from(is_whole);
        }
    }
}
