//! The class of an error, by the provider's code and message first, by the HTTP status second.

use super::{Class, ProviderError};
use crate::provider::aws::exception;

/// The class of an error.
#[must_use]
pub fn classify(status: u16, error: &ProviderError) -> Class {
    let code = format!("{} {}", error.code, error.kind).to_ascii_lowercase();
    let message = error.message.to_ascii_lowercase();
    // Who says that a request is wrong, or breaks over it, often repeats the part of it that is: only how the message begins is the provider's own
    // word. Else any caller could have a key taken out by a value that is called "invalid_api_key".
    let repeats = !matches!(status, 401 | 402 | 403 | 429);
    let has = |words: &[&str]| {
        words.iter().any(|word| {
            let said = if repeats {
                own(&message).starts_with(word)
            } else {
                message.contains(word)
            };
            code.contains(word) || said
        })
    };
    let mentions = |words: &[&str]| words.iter().any(|word| message.contains(word));

    if let Some(class) = exception::class(&error.kind, &error.message) {
        return class;
    }
    // The order matters: providers send "insufficient_quota" with 429, and an overlong prompt with 400 or 413.
    // A caller who provokes this one only spares its own call some members.
    let too_long = [
        "context_length_exceeded",
        "context_window",
        "maximum context length",
        "context window",
        "prompt is too long",
        "too many tokens in the prompt",
    ];
    if has(&too_long) || mentions(&too_long) {
        return Class::ContextLength;
    }
    if has(&[
        "insufficient_quota",
        "credit balance",
        "your credit balance", // Anthropic's begins so
        "billing_hard_limit",
        "billing_not_active",
        "quota exceeded for",
        "insufficient credits",
        "insufficient balance",
        "payment required",
    ]) || status == 402
    {
        return Class::Quota;
    }
    if has(&[
        "invalid_api_key",
        "incorrect api key",
        "invalid api key",
        "invalid x-api-key",
        "api key not valid",
        "authentication_error",
        "account_deactivated",
        "key has been revoked",
    ]) {
        return Class::Credential;
    }
    if has(&[
        "model_not_found",
        "model_decommissioned",
        "decommissioned",
        "deploymentnotfound",
        "operationnotsupported",
        "does not exist or you do not have access",
        "unknown model",
    ]) {
        return Class::ModelGone;
    }
    if has(&[
        "rate_limit_exceeded",
        "rate_limit_error",
        "rate limit reached",
        "too many requests",
    ]) {
        return Class::RateLimit;
    }
    // OpenRouter's filter: the request was refused, not the key.
    if status == 403 && mentions(&["input was flagged", "requires moderation"]) {
        return Class::CallerFault;
    }
    match status {
        401 | 403 => Class::Credential,
        429 => Class::RateLimit,
        404 | 410 => Class::ModelGone,
        408 | 409 | 425 => Class::Transient,
        400..=499 => Class::CallerFault,
        _ => Class::Transient,
    }
}

/// What the provider itself says: LiteLLM puts its own names before it, and hands on what it got as JSON.
fn own(message: &str) -> &str {
    let inner = message
        .strip_prefix("litellm.")
        .and_then(|named| named.split_once(" - "))
        .map_or(message, |(_, inner)| inner);
    let quoted = inner.trim_start_matches(['b', '\'']).starts_with('{');
    match inner.split_once("\"message\":") {
        Some((_, said)) if quoted => said.trim_start_matches([' ', '"']),
        _ => inner,
    }
}
