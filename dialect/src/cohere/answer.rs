//! Whole answers of Cohere, and what it counts.

use crate::answer::{Answer, Stop, Usage};
use crate::error::NotAnAnswer;
use crate::names::call_id;
use crate::reading::{Json, filled, tokens};
use crate::request::{Content, Part, Thought, ToolCall};

/// Reads an answer. The plan for tools is what the model thought.
///
/// # Errors
/// [`NotAnAnswer`] for what has no message, and when the model failed.
pub fn read_answer(body: &str) -> Result<Answer, NotAnAnswer> {
    let body = Json::parse(body).ok_or_else(|| NotAnAnswer::new("the body is not JSON"))?;
    let [id, message, reason, counted] = body.pick(["id", "message", "finish_reason", "usage"]);
    let usage = counted.and_then(usage);
    let refuse = |message| NotAnAnswer {
        message,
        usage: usage.clone(),
    };
    let message = message.filter(|message| message.is_object());
    let message = message.ok_or_else(|| refuse("the body has no message"))?;
    let reason = filled(reason).unwrap_or_else(|| "COMPLETE".to_owned());
    if failed(&reason) {
        return Err(refuse("the model failed"));
    }
    let id = filled(id);
    let parts = parts(message, id.as_deref().unwrap_or_default());
    let calls = parts
        .iter()
        .any(|part| matches!(part.content, Content::ToolCall(_)));
    Ok(Answer {
        id,
        model: None,
        stop: match stop(&reason) {
            Stop::End if calls => Stop::ToolCalls,
            stop => stop,
        },
        parts,
        usage,
    })
}

fn parts(message: Json<'_>, answer: &str) -> Vec<Part> {
    let [plan, content, calls] = message.pick(["tool_plan", "content", "tool_calls"]);
    let thought = |text: String| Content::Reasoning(Thought::said(text));
    let mut parts: Vec<Part> = Vec::new();
    parts.extend(filled(plan).map(|text| thought(text).into()));
    if let Some(content) = content {
        parts.extend(filled(Some(content)).map(|text| Content::Text(text).into()));
        content.each(|block| {
            let [text, thinking] = block.pick(["text", "thinking"]);
            parts.extend(filled(thinking).map(|text| thought(text).into()));
            parts.extend(filled(text).map(|text| Content::Text(text).into()));
            true
        });
    }
    let mut position = 0;
    if let Some(calls) = calls {
        calls.each(|call| {
            let [id, function] = call.pick(["id", "function"]);
            let [name, arguments] =
                function.map_or([None; 2], |function| function.pick(["name", "arguments"]));
            if let Some(name) = filled(name) {
                let id = filled(id).unwrap_or_else(|| call_id(answer, position, &name, ""));
                position += 1;
                let call = ToolCall {
                    id,
                    name,
                    arguments: filled(arguments).unwrap_or_default(),
                    signature: None,
                };
                parts.push(Content::ToolCall(call).into());
            }
            true
        });
    }
    parts
}

/// Whether a reason to finish is a failure.
pub(super) fn failed(reason: &str) -> bool {
    matches!(reason, "ERROR" | "TIMEOUT")
}

/// What a reason to finish means.
pub(super) fn stop(reason: &str) -> Stop {
    match reason {
        "COMPLETE" => Stop::End,
        "STOP_SEQUENCE" => Stop::Sequence(None),
        "MAX_TOKENS" => Stop::Length,
        "TOOL_CALL" => Stop::ToolCalls,
        // Two of version 1.
        "ERROR_LIMIT" => Stop::Context,
        "ERROR_TOXIC" => Stop::Filter,
        other => Stop::Other(other.to_owned()),
    }
}

/// Reads `usage`. `billed_units` are what the invoice has: fewer than `tokens`, which count Cohere's own prompt around the request, too. Cohere states
/// no price of cached tokens and does not say whether they are among those billed, so what is billed is plain input. Where only `tokens`
/// are there, those that hit the cache are part of them.
pub(super) fn usage(usage: Json<'_>) -> Option<Usage> {
    let [billed, counted, cached] = usage.pick(["billed_units", "tokens", "cached_tokens"]);
    let usage = match (pair(billed), pair(counted)) {
        (Some((input, output)), _) => Usage {
            input: tokens(input)?,
            output: tokens(output)?,
            ..Usage::default()
        },
        (None, Some((input, output))) => {
            let input = tokens(input)?;
            let cache_read = tokens(cached)?.min(input);
            Usage {
                input: input - cache_read,
                cache_read,
                output: tokens(output)?,
                ..Usage::default()
            }
        }
        (None, None) => return None,
    };
    usage.is_credible().then_some(usage)
}

/// Input and output, where one of them is stated.
fn pair(counts: Option<Json<'_>>) -> Option<(Option<Json<'_>>, Option<Json<'_>>)> {
    let [input, output] = counts?.pick(["input_tokens", "output_tokens"]);
    (input.is_some() || output.is_some()).then_some((input, output))
}
