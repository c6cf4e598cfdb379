//! Usage of responses.

use crate::answer::Usage;
use crate::openai::counted::{self, Places};
use crate::openai::said::value;
use crate::openai::write::Object;
use serde_json::value::RawValue;

const PLACES: Places = Places {
    input: "/input_tokens",
    output: "/output_tokens",
    cache_read: &["/input_tokens_details/cached_tokens"],
    cache_write: &["/input_tokens_details/cache_write_tokens"],
    reasoning: "/output_tokens_details/reasoning_tokens",
};

/// Reads usage; `None` where a number is missing, negative or beyond belief.
pub(crate) fn read(raw: Option<&RawValue>, tier: Option<String>) -> Option<Usage> {
    let mut usage = counted::read(&value(raw)?, &PLACES)?;
    usage.tier = tier;
    Some(usage)
}

/// OpenAI's usage object.
pub(crate) fn write(usage: &Usage) -> Object {
    let input = usage.all_input();
    let written = usage.cache_write.saturating_add(usage.cache_write_hour);
    let cached = Object::new()
        .plain("cached_tokens", usage.cache_read)
        .plain("cache_write_tokens", written);
    let thought = Object::new().plain("reasoning_tokens", usage.reasoning);
    Object::new()
        .plain("input_tokens", input)
        .object("input_tokens_details", cached)
        .plain("output_tokens", usage.output)
        .object("output_tokens_details", thought)
        .plain("total_tokens", input.saturating_add(usage.output))
}
