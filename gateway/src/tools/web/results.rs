//! What a search endpoint answers, as a list for the model; and the list read back, since what a search has returned may be fetched.

use super::config::Fields;
use super::target::Target;
use crate::tools::clean::line;
use oarmaster_protocol::text;
use serde_json::Value;

/// Longest title in characters.
const MAX_TITLE: usize = 200;
/// Longest text of a result in characters.
const MAX_TEXT: usize = 600;
/// What stands before the address of a result.
const ADDRESS: &str = "URL: ";
/// What stands before its text.
const INDENT: &str = "    ";

/// A result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its title, in one line.
    pub title: String,
    /// Where it is.
    pub url: String,
    /// What the endpoint says of it, in one line.
    pub text: String,
}

/// Why an answer has no list of results.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoList {
    /// It cannot be read.
    #[error(
        "its answer is no JSON; with SearXNG, its settings must list json among search.formats"
    )]
    Json,
    /// There is none where it is looked for.
    #[error("its answer has no list at {0:?} (gateway.search.results)")]
    Pointer(String),
}

/// The first `most` results that have an address which can be fetched.
///
/// # Errors
/// [`NoList`].
pub fn read(body: &[u8], fields: &Fields, most: usize) -> Result<Vec<Found>, NoList> {
    let answer: Value = serde_json::from_str(&text::json(body).text).map_err(|_| NoList::Json)?;
    let list = answer.pointer(&fields.results);
    let list = list.and_then(Value::as_array);
    let list = list.ok_or_else(|| NoList::Pointer(fields.results.clone()))?;
    let mut found: Vec<Found> = Vec::new();
    for result in list {
        let said = |at: &str| result.pointer(at).and_then(Value::as_str);
        let target = said(&fields.link).and_then(|url| Target::parse(url).ok());
        let Some(target) = target else { continue };
        let url = target.to_string();
        if found.iter().any(|known| known.url == url) {
            continue;
        }
        found.push(Found {
            title: line(said(&fields.title).unwrap_or_default(), MAX_TITLE),
            text: line(said(&fields.text).unwrap_or_default(), MAX_TEXT),
            url,
        });
        if found.len() == most {
            break;
        }
    }
    Ok(found)
}

/// The list as the model sees it.
#[must_use]
pub fn show(found: &[Found]) -> String {
    if found.is_empty() {
        return "The search found nothing.\n".to_owned();
    }
    let mut shown = String::new();
    for (index, Found { title, url, text }) in found.iter().enumerate() {
        let number = index + 1;
        shown.push_str(&format!(
            "[{number}] {title}\n{ADDRESS}{url}\n{INDENT}{text}\n\n"
        ));
    }
    shown
}

/// The addresses in a list that [`show`] made. They stand where only an address can: each part of a result is one line.
pub fn addresses(shown: &str) -> impl Iterator<Item = &str> {
    let lines: Vec<&str> = shown.lines().collect();
    let results = lines.chunks(4).map(|result| match result {
        [_, address, ..] => address.strip_prefix(ADDRESS),
        _ => None,
    });
    results.collect::<Vec<_>>().into_iter().flatten()
}

#[cfg(test)]
mod tests;
