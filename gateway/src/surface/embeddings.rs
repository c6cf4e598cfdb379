//! OpenAI's embeddings.

use super::bounded::Bounded;
use super::fields::{Peek, text_or_list};
use crate::error::ApiFailure;
use oarmaster_dialect::json::Fields;
use serde_json::Value;
use serde_json::value::RawValue;

/// What a budget can bound.
pub const BOUNDED: Bounded = Bounded {
    fields: &["dimensions", "encoding_format", "model", "user"],
    with_value: is_words,
    tools: &[],
    said: &[],
    items: &[],
    told: &[],
    parts: &[],
};

/// Whether a field is an input of texts or tokens: what else a server takes there, such as the address of a picture, may be any number of tokens.
fn is_words(name: &str, value: &RawValue) -> bool {
    if name != "input" {
        return false;
    }
    let Ok(value) = serde_json::from_str::<Value>(value.get()) else {
        return false;
    };
    let all = |list: &Value, is: fn(&Value) -> bool| {
        list.as_array().is_some_and(|list| list.iter().all(is))
    };
    let is_words = value.is_string() || all(&value, Value::is_string);
    let is_tokens = all(&value, Value::is_u64)
        || value
            .as_array()
            .is_some_and(|lists| lists.iter().all(|list| all(list, Value::is_u64)));
    is_words || is_tokens
}

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
