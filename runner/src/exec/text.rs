//! The text of files: pages of lines, and the one place where an edit applies.

use super::workspace::failed;
use oarmaster_protocol::exec::{Failed, FailedCode};
use oarmaster_protocol::text::whole;
use std::io::BufRead;

/// Where `old` stands, when it stands at one place.
pub(super) fn single_match(content: &[u8], old: &[u8], path: &str) -> Result<usize, Failed> {
    let finder = |from: usize| {
        content
            .get(from..)
            .and_then(|rest| rest.windows(old.len()).position(|window| window == old))
            .map(|at| from + at)
    };
    let Some(first) = finder(0) else {
        let hint = if content.windows(2).any(|pair| pair == b"\r\n") && !old.contains(&b'\r') {
            "its lines end with \\r\\n"
        } else {
            "spaces, tabs and line ends must be the same"
        };
        return Err(failed(
            FailedCode::NoSingleMatch,
            &format!("`old` is not in `{path}`; read the file again, {hint}"),
        ));
    };
    let mut places = vec![first];
    while let Some(next) = places.last().and_then(|last| finder(last + 1)) {
        places.push(next);
        if places.len() == 10 {
            break;
        }
    }
    if places.len() == 1 {
        return Ok(first);
    }
    let lines: Vec<String> = places
        .iter()
        .map(|at| {
            let before = content.get(..*at).unwrap_or_default();
            (before.iter().filter(|byte| **byte == b'\n').count() + 1).to_string()
        })
        .collect();
    Err(failed(
        FailedCode::NoSingleMatch,
        &format!(
            "`old` is in `{path}` more than once (lines {}); add lines around it until it is unique",
            lines.join(", ")
        ),
    ))
}

/// Lines of a file.
pub(super) struct Page {
    pub(super) content: Vec<u8>,
    pub(super) next_line: Option<u64>,
    pub(super) cut: bool,
}

/// Reads whole lines from line `first` (from 1) on, within both bounds. A first line over the bound is cut between two characters.
pub(super) fn read_lines(
    reader: &mut impl BufRead,
    first: u64,
    lines: u64,
    max: usize,
) -> std::io::Result<Page> {
    let mut page = Page {
        content: Vec::new(),
        next_line: None,
        cut: false,
    };
    let mut line = 1;
    let mut line_start = 0;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(page);
        }
        if line >= first.saturating_add(lines) {
            page.next_line = Some(line);
            return Ok(page);
        }
        let end = buffer
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(buffer.len(), |at| at + 1);
        let piece = buffer.get(..end).unwrap_or_default();
        let complete = piece.last() == Some(&b'\n');
        if line >= first {
            let room = max.saturating_sub(page.content.len());
            if piece.len() > room {
                if line_start > 0 {
                    page.content.truncate(line_start);
                    page.next_line = Some(line);
                } else {
                    page.content
                        .extend_from_slice(piece.get(..room).unwrap_or_default());
                    page.content.truncate(whole(&page.content));
                    page.next_line = Some(line + 1);
                    page.cut = true;
                }
                return Ok(page);
            }
            page.content.extend_from_slice(piece);
        }
        reader.consume(end);
        if complete {
            line += 1;
            line_start = page.content.len();
        }
    }
}
