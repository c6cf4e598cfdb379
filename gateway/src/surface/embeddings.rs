//! OpenAI's embeddings.

use super::bounded::{Bounded, never};
use super::fields::{Peek, text_or_list};
use crate::error::ApiFailure;
use oarmaster_dialect::json::Fields;
use serde_json::value::RawValue;

/// What a budget can bound.
pub const BOUNDED: Bounded = Bounded {
    fields: &["dimensions", "encoding_format", "input", "model", "user"],
    with_value: never,
    tools: &[],
    said: &[],
    items: &[],
    told: &[],
    parts: &[],
};

/// Reads what the gateway must know.
pub(super) fn peek(fields: &Fields) -> Result<Peek, ApiFailure> {
    let what = "a text, a list of texts, a list of tokens, or a list of such lists";
    let items = text_or_list(fields, "input", what)?;
    let input = fields.get("input").map_or("", RawValue::get);
    // A list of tokens is one input.
    let is_tokens = input.strip_prefix('[').is_some_and(|list| {
        list.trim_start()
            .starts_with(|first: char| first.is_ascii_digit())
    });
    Ok(Peek {
        items: if is_tokens { 1 } else { items },
        choices: 1,
        ..Peek::default()
    })
}
