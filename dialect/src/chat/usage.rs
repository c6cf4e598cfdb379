//! Usage of chat completions.

use crate::answer::Usage;
use crate::openai::counted::{self, Places};
use crate::openai::said::{cost, value};
use crate::openai::write::Object;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

const PLACES: Places = Places {
    input: "/prompt_tokens",
    output: "/completion_tokens",
    cache_read: &[
        "/prompt_tokens_details/cached_tokens",
        "/prompt_cache_hit_tokens", // DeepSeek
        "/cached_tokens",           // Moonshot
    ],
    cache_write: &[
        "/prompt_tokens_details/cache_write_tokens",
        "/prompt_tokens_details/cache_creation_tokens", // LiteLLM
    ],
    reasoning: "/completion_tokens_details/reasoning_tokens",
};

#[derive(Deserialize)]
struct Priced<'a> {
    #[serde(borrow, default)]
    cost: Option<&'a RawValue>,
    /// The key at the vendor is the caller's own: then OpenRouter's cost is its fee alone, and the vendor bills the tokens.
    #[serde(default)]
    is_byok: Option<bool>,
}

/// Reads usage; `None` where a number is missing, negative or beyond belief. `tier` is what the answer says of the tier.
pub(crate) fn read(raw: Option<&RawValue>, tier: Option<String>) -> Option<Usage> {
    let said = value(raw)?;
    let mut usage = counted::read(&said, &PLACES)?;
    let priced: Option<Priced> = raw.and_then(|raw| serde_json::from_str(raw.get()).ok());
    let priced = priced.filter(|priced| priced.is_byok != Some(true));
    usage.cost = cost(priced.and_then(|priced| priced.cost));
    let inner = said.get("service_tier").and_then(Value::as_str); // Mistral's place
    usage.tier = tier.or(inner.map(str::to_owned));
    Some(usage)
}

/// Reads the `usage` of an answer that is otherwise passed on as it came; `None` as above.
#[must_use]
pub fn read_usage(raw: &RawValue) -> Option<Usage> {
    read(Some(raw), None)
}

/// OpenAI's usage object.
pub(crate) fn write(usage: &Usage) -> Object {
    let input = usage.all_input();
    let written = usage.cache_write.saturating_add(usage.cache_write_hour);
    let cached = Object::new().plain("cached_tokens", usage.cache_read);
    let cached = cached.maybe((written > 0).then_some(written), |object, written| {
        object.plain("cache_write_tokens", written)
    });
    let thought = Object::new().plain("reasoning_tokens", usage.reasoning);
    Object::new()
        .plain("prompt_tokens", input)
        .plain("completion_tokens", usage.output)
        .plain("total_tokens", input.saturating_add(usage.output))
        .object("prompt_tokens_details", cached)
        .object("completion_tokens_details", thought)
}

/// The tier, if OpenAI's types know it.
pub(crate) fn tier(usage: Option<&Usage>) -> Option<&str> {
    let tier = usage?.tier.as_deref()?;
    ["auto", "default", "flex", "scale", "priority", "fast"]
        .contains(&tier)
        .then_some(tier)
}

#[cfg(test)]
#[test]
fn what_openrouter_asks_for_the_callers_own_key_is_not_the_cost() {
    for (byok, cost) in [
        ("false", Some("0.01")),
        ("true", None),
        ("null", Some("0.01")),
    ] {
        let usage = format!(
            "{{\"prompt_tokens\": 1, \"completion_tokens\": 1, \"cost\": 0.01, \"is_byok\": {byok}}}"
        );
        let raw: Option<Box<RawValue>> = RawValue::from_string(usage).ok();
        let usage = raw.as_deref().and_then(read_usage);
        assert_eq!(
            usage.map(|usage| usage.cost),
            Some(cost.map(str::to_owned)),
            "{byok}"
        );
    }
}
