//! OpenAI's chat completions.

use super::bounded::Bounded;
use super::fields::{Peek, count, limit, some, stream, typed};
use crate::error::ApiFailure;
use oarmaster_dialect::json::{BadJson, Fields, raw};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Most answers of one call.
const MAX_CHOICES: u64 = 128;

/// What a budget can bound.
pub const BOUNDED: Bounded = Bounded {
    fields: &[
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "min_p",
        "model",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "prompt_cache_key",
        "reasoning_effort",
        "repetition_penalty",
        "response_format",
        "safety_identifier",
        "seed",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_k",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
    ],
    with_value: is_default_tier,
    tools: &["function", "custom"],
    said: &["messages"],
    items: &["", "message"],
    told: &[],
    parts: &["text", "refusal"],
};

/// OpenAI's tier at the ordinary price.
pub(super) fn is_default_tier(name: &str, value: &RawValue) -> bool {
    name == "service_tier" && value.get() == "\"default\""
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

/// Reads what the gateway must know.
pub(super) fn peek(fields: &Fields) -> Result<Peek, ApiFailure> {
    let items = some(fields, "messages", "a list of messages")?;
    let tools = count(fields, "tools", "a list of tools")?;
    let functions = count(fields, "functions", "a list of functions")?;
    let options: Option<StreamOptions> = typed(fields, "stream_options", "an object")?;
    let limits = [
        limit(fields, "max_tokens", 1)?,
        limit(fields, "max_completion_tokens", 1)?,
    ];
    let choices = limit(fields, "n", 1)?.unwrap_or(1);
    if choices > MAX_CHOICES {
        return Err(ApiFailure::invalid(format!(
            "field n is over {MAX_CHOICES}"
        )));
    }
    Ok(Peek {
        items,
        tools: tools + functions,
        stream: stream(fields)?,
        include_usage: options.is_some_and(|options| options.include_usage),
        // Which of the two a provider obeys is not ours to know: the larger one bounds.
        max_output: limits.into_iter().flatten().max(),
        choices,
    })
}

/// Asks for usage in a stream, whatever the caller does: it is what is booked.
pub(crate) fn ask_for_usage(fields: &mut Fields) -> Result<(), BadJson> {
    let options = fields.get("stream_options").map_or("{}", RawValue::get);
    let mut options = Fields::parse(options.as_bytes())?;
    options.set("include_usage", raw("true".to_owned())?);
    fields.set("stream_options", raw(options.to_json())?);
    Ok(())
}
