//! Prompts with places for parameters.

use super::MAX_PROMPT;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A piece of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text as it is.
    Text(&'a str),
    /// The parameter of this name.
    Param(&'a str),
}

/// The pieces of a prompt: `${params.NAME}` is a parameter, `$${` the characters `${`, everything else text.
///
/// # Errors
/// What stands in `${...}` and is no parameter, with what may.
pub fn pieces(prompt: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = prompt;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        let inner = from.get(2..).unwrap_or_default();
        if let Some(before) = before.strip_suffix('$') {
            pieces.extend([Piece::Text(before), Piece::Text("${")]);
            rest = inner;
            continue;
        }
        let Some((inside, after)) = inner.split_once('}') else {
            return Err(wrong(inner));
        };
        let Some(name) = inside
            .trim()
            .strip_prefix("params.")
            .filter(|name| plain(name))
        else {
            return Err(wrong(inside));
        };
        pieces.extend([Piece::Text(before), Piece::Param(name)]);
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    pieces.retain(|piece| *piece != Piece::Text(""));
    Ok(pieces)
}

fn plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn wrong(inside: &str) -> String {
    let shown: String = inside.chars().take(40).collect();
    format!(
        "has '${{{shown}': write ${{params.NAME}} for a parameter, and $${{ for the characters ${{"
    )
}

/// The prompt; `None` if it would have more than [`MAX_PROMPT`] characters. A parameter without a value is nothing.
pub(super) fn render(
    pieces: &[Piece<'_>],
    values: &BTreeMap<&str, Cow<'_, Value>>,
) -> Option<String> {
    let mut prompt = String::new();
    let mut left = MAX_PROMPT;
    for piece in pieces {
        let text = match piece {
            Piece::Text(text) => Cow::Borrowed(*text),
            Piece::Param(name) => match values.get(name).map(AsRef::as_ref) {
                Some(Value::String(text)) => Cow::Borrowed(text.as_str()),
                Some(value) => Cow::Owned(value.to_string()),
                None => continue,
            },
        };
        left = left.checked_sub(text.chars().count())?;
        prompt.push_str(&text);
    }
    Some(prompt)
}
