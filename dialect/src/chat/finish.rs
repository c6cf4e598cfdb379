//! Why an answer ended, in the words of chat completions.

use crate::answer::Stop;

/// Reads a `finish_reason`.
pub(crate) fn read(reason: &str) -> Stop {
    match reason {
        "stop" | "eos" | "end_turn" => Stop::End,
        "length" | "max_tokens" => Stop::Length,
        "model_length" => Stop::Context, // Mistral's
        "tool_calls" | "function_call" => Stop::ToolCalls,
        "content_filter" => Stop::Filter,
        other => Stop::Other(other.to_owned()),
    }
}

/// Writes a `finish_reason`: one of those that OpenAI's types know. `refused` is whether the answer holds a refusal.
pub(crate) const fn write(stop: &Stop, refused: bool) -> &'static str {
    match stop {
        Stop::End | Stop::Sequence(_) | Stop::Pause | Stop::Other(_) => "stop",
        Stop::Length | Stop::Context => "length",
        Stop::ToolCalls => "tool_calls",
        Stop::Refusal if refused => "stop",
        Stop::Filter | Stop::Refusal => "content_filter",
    }
}
