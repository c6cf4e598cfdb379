//! Anthropic's messages, and its count of tokens.

use super::bounded::Bounded;
use super::fields::{Peek, count, limit, some, stream};
use crate::error::ApiFailure;
use crate::request::BYTES_PER_TOKEN;
use oarmaster_dialect::json::Fields;
use oarmaster_dialect::request::{Content, Request};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Tokens that a picture or document is taken for: Anthropic's most for a picture.
const TOKENS_PER_MEDIUM: u64 = 1600;

/// What a budget can bound.
pub const BOUNDED: Bounded = Bounded {
    fields: &[
        // Writing into a cache costs more than input does: the price's bound knows.
        "cache_control",
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "output_config",
        "output_format",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    ],
    with_value: is_ordinary,
    tools: &["", "custom"],
    said: &["messages"],
    items: &["", "message"],
    told: &["system"],
    parts: &[
        "text",
        "thinking",
        "redacted_thinking",
        "tool_use",
        "tool_result",
    ],
};

#[derive(Deserialize)]
struct ContextManagement {
    #[serde(default)]
    edits: Vec<ContextEdit>,
}

#[derive(Deserialize)]
struct ContextEdit {
    r#type: String,
}

/// The tier at the ordinary price, and edits of the context that only clear it: others have the model write a summary.
fn is_ordinary(name: &str, value: &RawValue) -> bool {
    match name {
        "service_tier" => value.get() == "\"standard_only\"",
        "context_management" => {
            serde_json::from_str(value.get()).is_ok_and(|management: ContextManagement| {
                let mut edits = management.edits.iter();
                edits.all(|edit| edit.r#type.starts_with("clear_"))
            })
        }
        _ => false,
    }
}

/// Reads what the gateway must know.
pub(super) fn peek(fields: &Fields) -> Result<Peek, ApiFailure> {
    Ok(Peek {
        stream: stream(fields)?,
        // 0 fills Anthropic's cache and asks for no answer.
        max_output: limit(fields, "max_tokens", 0)?,
        ..peek_count(fields)?
    })
}

/// Reads what the gateway must know of a request for a count.
pub(super) fn peek_count(fields: &Fields) -> Result<Peek, ApiFailure> {
    Ok(Peek {
        items: some(fields, "messages", "a list of messages")?,
        tools: count(fields, "tools", "a list of tools")?,
        include_usage: true,
        choices: 1,
        ..Peek::default()
    })
}

/// About how many tokens a request has, for a model whose provider does not count them.
#[must_use]
pub fn estimate(request: &Request) -> u64 {
    let mut bytes = 0;
    let mut media = 0;
    for part in request.turns.iter().flat_map(|turn| &turn.parts) {
        measure(&part.content, &mut bytes, &mut media);
    }
    for tool in &request.tools {
        let description = tool.description.as_ref().map_or(0, String::len);
        let parameters = tool.parameters.as_ref().map_or(0, |raw| raw.get().len());
        bytes += tool.name.len() + description + parameters;
    }
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let text = bytes.div_ceil(BYTES_PER_TOKEN);
    text.saturating_add(TOKENS_PER_MEDIUM.saturating_mul(media))
}

fn measure(content: &Content, bytes: &mut usize, media: &mut u64) {
    match content {
        Content::Text(text) | Content::Refusal(text) => *bytes += text.len(),
        Content::Reasoning(thought) => *bytes += thought.text.len(),
        Content::ToolCall(call) => *bytes += call.name.len() + call.arguments.len(),
        Content::Media(_) => *media += 1,
        Content::ToolResult(result) => {
            for inner in &result.content {
                measure(inner, bytes, media);
            }
        }
    }
}
