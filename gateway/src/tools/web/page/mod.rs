//! A page as text with numbered links, in parts: pure, and in time and memory that grow with the page's length alone.

mod charset;
mod html;
mod write;

use super::target::Target;
use crate::tools::clean::{line, lines};
use oarmaster_protocol::text;
use oarmaster_protocol::tool::MAX_TOOL_TEXT;

/// Bytes of a part, without its head and sources.
const PART: usize = 44 << 10;
/// Bytes of the sources of a part.
const SOURCES: usize = 12 << 10;
/// How far before the end of a part the end of a line is looked for.
const NEAR: usize = 2 << 10;
/// Longest title in characters.
const MAX_TITLE: usize = 200;

const _: () = assert!(PART + SOURCES + (8 << 10) <= MAX_TOOL_TEXT);

/// What can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Html,
    Text,
}

/// A type of content that is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is of the type {0}; FetchPage reads HTML, plain text, Markdown and JSON")]
pub struct OtherType(String);

/// A page that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Its title, in one line.
    pub title: String,
    /// What it says its address is, where that is another one.
    pub canonical: Option<Target>,
    /// Its text.
    pub text: String,
    /// Where in the text links end, in order, and which address each is for: its index in `targets`.
    pub links: Vec<(usize, usize)>,
    /// The addresses, each once.
    pub targets: Vec<Target>,
    /// Whether there is more of it, which was not read.
    pub is_cut: bool,
}

/// Reads a page.
///
/// # Errors
/// [`OtherType`].
pub fn read(content_type: Option<&str>, body: &[u8], url: &Target) -> Result<Page, OtherType> {
    let declared = content_type.unwrap_or("none");
    let essence = declared.split(';').next().unwrap_or_default().trim();
    let kind = match essence.to_ascii_lowercase().as_str() {
        "text/html" | "application/xhtml+xml" => Kind::Html,
        "text/plain" | "text/markdown" | "text/x-markdown" | "application/json" => Kind::Text,
        other if other.starts_with("application/") && other.ends_with("+json") => Kind::Text,
        _ => return Err(OtherType(line(essence, 100))),
    };
    let text = charset::decode(declared, body, kind == Kind::Html);
    Ok(match kind {
        Kind::Html => html::read(&text, url),
        Kind::Text => Page {
            text: lines(&text),
            ..Page::default()
        },
    })
}

/// The part of a page that begins at a byte of its text, with what it is of and the sources of its links.
///
/// # Errors
/// What to do, where the text ends before.
pub fn part(page: &Page, url: &Target, offset: usize) -> Result<String, String> {
    let whole = page.text.len();
    if offset > 0 && offset >= whole {
        return Err(format!(
            "the text of {url} has {whole} bytes, so nothing stands at offset {offset}; read it from a smaller one"
        ));
    }
    let start = text::ceil(page.text.as_bytes(), offset);
    let links = page.links.iter().filter(|(at, _)| *at > start);
    let (end, sources) = end(page, start, links);
    let shown = page.text.get(start..end).unwrap_or_default();

    let mut part = String::new();
    if !page.title.is_empty() {
        part.push_str(&format!("Title: {}\n", line(&page.title, MAX_TITLE)));
    }
    part.push_str(&format!("URL: {url}\n"));
    if let Some(canonical) = &page.canonical {
        part.push_str(&format!("Canonical URL, as the page says: {canonical}\n"));
    }
    if whole == 0 {
        part.push_str(
            "The page has no text; it may be made by scripts, which FetchPage does not run.\n",
        );
    }
    if start > 0 || end < whole {
        part.push_str(&format!("Bytes {start} to {end} of {whole} of its text"));
        if end < whole {
            part.push_str(&format!("; read on with offset {end}"));
        }
        part.push_str(".\n");
    }
    if end >= whole && page.is_cut {
        part.push_str(
            "The page is longer than what FetchPage reads: its text ends before the page does.\n",
        );
    }
    part.push_str(&format!(
        "\n{}\n\nSources:\n[1] {url}\n{sources}",
        shown.trim_matches('\n')
    ));
    Ok(part)
}

/// Where a part ends, and the sources of its links.
fn end<'a>(
    page: &Page,
    start: usize,
    links: impl Iterator<Item = &'a (usize, usize)>,
) -> (usize, String) {
    let mut end = page.text.len();
    if end - start > PART {
        let bytes = page.text.as_bytes();
        let most = start + PART;
        end = start + text::whole(bytes.get(start..most).unwrap_or_default());
        // At the end of a line, where one is near.
        let near = page.text.get(..end).and_then(|text| text.rfind('\n'));
        end = near.filter(|at| at + NEAR > end).map_or(end, |at| at + 1);
    }
    let mut listed = vec![false; page.targets.len()];
    let mut sources = String::new();
    for (at, target) in links.take_while(|(at, _)| *at <= end) {
        let (Some(seen), Some(url)) = (listed.get_mut(*target), page.targets.get(*target)) else {
            continue;
        };
        if std::mem::replace(seen, true) {
            continue;
        }
        let source = format!("[{}] {url}\n", target + 2);
        if sources.len() + source.len() > SOURCES {
            // No link without its source: the part ends before it.
            let before = page.links.iter().rev().find(|(earlier, _)| earlier < at);
            return (before.map_or(start, |(earlier, _)| *earlier), sources);
        }
        sources.push_str(&source);
    }
    (end, sources)
}

#[cfg(test)]
mod tests;
