//! Standard output: lines, tables, JSON and YAML.

use crate::args::Format;
use crate::error::Error;
use crate::text::{acts, clean};
use serde::Serialize;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

/// Prints a line. Control characters are escaped.
pub fn line(text: &str) -> Result<(), Error> {
    raw(clean(text).as_bytes())?;
    raw(b"\n")
}

/// Prints bytes as they are.
pub fn raw(bytes: &[u8]) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(Error::output)
}

/// Whether a person reads standard output.
pub fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Prints data.
pub fn data<T: Serialize>(value: &T, format: Format) -> Result<(), Error> {
    let text = match format {
        Format::Json => json(value)?,
        Format::Yaml => yaml(value)?,
    };
    raw(text.as_bytes())
}

/// JSON in which every character that a terminal acts on, or that YAML has not, is escaped: the same data.
fn json<T: Serialize>(value: &T) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::cluster("failed to write JSON").source(error))?;
    Ok(escape_json(&text) + "\n")
}

/// One line of JSON, safe for a terminal.
pub fn json_line<T: Serialize>(value: &T) -> Result<String, Error> {
    let text = serde_json::to_string(value)
        .map_err(|error| Error::cluster("failed to write JSON").source(error))?;
    Ok(escape_json(&text))
}

// Outside of strings JSON is ASCII, so whatever acts and is not a line end of the pretty form stands in a string.
fn escape_json(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter != '\n' && is_escaped(letter) {
            // Writing to a String cannot fail.
            let _ = write!(safe, "\\u{:04x}", u32::from(letter));
        } else {
            safe.push(letter);
        }
    }
    safe
}

/// What is written as an escape in data: what a terminal acts on; the byte order mark, which YAML readers drop; and what they refuse.
/// All of it has four digits, so that JSON's escape is YAML's, too.
fn is_escaped(letter: char) -> bool {
    acts(letter) || matches!(letter, '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// YAML. A text with characters that are escaped makes it JSON, which is YAML too: block scalars have no escapes.
fn yaml<T: Serialize>(value: &T) -> Result<String, Error> {
    let value = serde_json::to_value(value)
        .map_err(|error| Error::cluster("failed to write YAML").source(error))?;
    let text = serde_saphyr::to_string(&value)
        .map_err(|error| Error::cluster("failed to write YAML").source(error))?;
    if text
        .chars()
        .any(|letter| !matches!(letter, '\n' | '\t') && is_escaped(letter))
    {
        return json(&value);
    }
    Ok(text)
}

/// Prints a table with a header.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> Result<(), Error> {
    raw(lay_out(header, rows).as_bytes())
}

/// A table: columns as wide as they must be, three spaces between. Control characters are escaped.
pub fn lay_out(header: &[&str], rows: &[Vec<String>]) -> String {
    let cells: Vec<Vec<String>> =
        std::iter::once(header.iter().map(|cell| (*cell).to_owned()).collect())
            .chain(rows.iter().cloned())
            .map(|row: Vec<String>| {
                row.iter()
                    .map(|cell| clean(cell).replace(['\n', '\t'], " "))
                    .collect()
            })
            .collect();
    let mut widths = vec![0; header.len()];
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &cells {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a String cannot fail.
            let _ = write!(line, "{cell:<width$}   ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests;
