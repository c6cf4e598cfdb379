//! OpenAI's responses. The gateway keeps none, whoever answers: a pool's members do not share what one of them would keep.

use super::bounded::Bounded;
use super::chat::is_default_tier;
use super::fields::{Peek, count, limit, stream, text_or_list, typed};
use crate::error::ApiFailure;
use oarmaster_dialect::json::Fields;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// What a budget can bound.
pub const BOUNDED: Bounded = Bounded {
    fields: &[
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "metadata",
        "model",
        "parallel_tool_calls",
        "prompt_cache_key",
        "reasoning",
        "safety_identifier",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "truncation",
        "user",
    ],
    with_value: is_default_tier,
    tools: &["function", "custom"],
    said: &["input"],
    items: &[
        "",
        "message",
        "reasoning",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
    ],
    told: &[],
    parts: &[
        "input_text",
        "output_text",
        "refusal",
        "summary_text",
        "reasoning_text",
        "text",
    ],
};

/// Fields that refer to what OpenAI keeps.
const KEPT: [&str; 2] = ["previous_response_id", "conversation"];

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    r#type: Option<String>,
    #[serde(default)]
    role: Option<IgnoredAny>,
}

/// Reads what the gateway must know.
pub(super) fn peek(fields: &Fields) -> Result<Peek, ApiFailure> {
    if let Some(name) = KEPT.into_iter().find(|name| fields.get(name).is_some()) {
        return Err(ApiFailure::invalid(format!(
            "field {name}: no response is kept here; send the whole conversation in input, thoughts with their encrypted_content among it"
        )));
    }
    if typed(fields, "background", "true or false")? == Some(true) {
        return Err(ApiFailure::invalid(
            "field background: no response is kept here to be asked for later; set stream and read it as it comes",
        ));
    }
    check_references(fields)?;
    let what = "a string or a list of items";
    Ok(Peek {
        items: match fields.get("prompt") {
            // A prompt that OpenAI keeps may be all that is asked.
            Some(_) if fields.get("input").is_none() => 0,
            _ => text_or_list(fields, "input", what)?,
        },
        tools: count(fields, "tools", "a list of tools")?,
        stream: stream(fields)?,
        include_usage: true,
        max_output: limit(fields, "max_output_tokens", 1)?,
        choices: 1,
    })
}

/// Refuses items that stand for what OpenAI keeps.
fn check_references(fields: &Fields) -> Result<(), ApiFailure> {
    let Some(input) = fields.get("input").map(RawValue::get) else {
        return Ok(());
    };
    if !input.starts_with('[') {
        return Ok(());
    }
    let items: Vec<Item> = typed(fields, "input", "a list of items")?.unwrap_or_default();
    let reference = |item: &Item| match item.r#type.as_deref() {
        Some(kind) => kind == "item_reference",
        None => item.role.is_none(), // a message has one
    };
    match items.iter().position(reference) {
        None => Ok(()),
        Some(at) => Err(ApiFailure::invalid(format!(
            "field input[{at}] refers to an item, and none is kept here; send the item itself"
        ))),
    }
}
