//! What OpenAI's two dialects share: reading a caller's JSON with paths, writing JSON in a fixed order, media, errors and numbers of tokens.

pub(crate) mod body;
pub(crate) mod call;
pub(crate) mod counted;
pub(crate) mod error;
pub(crate) mod media;
pub(crate) mod node;
pub(crate) mod parts;
pub(crate) mod said;
pub(crate) mod tools;
pub(crate) mod write;

use crate::answer::Stop;
use crate::request::Effort;
use crate::request::{Content, Part, Reasoning};
use crate::writing::Dropped;

/// The stop of an answer whose provider says only that it is done: what it holds says more.
pub(crate) fn stop_of(said: Stop, parts: &[Part]) -> Stop {
    let has = |wanted: fn(&Content) -> bool| parts.iter().any(|part| wanted(&part.content));
    match said {
        Stop::End if has(|content| matches!(content, Content::ToolCall(_))) => Stop::ToolCalls,
        Stop::End if has(|content| matches!(content, Content::Refusal(_))) => Stop::Refusal,
        other => other,
    }
}

/// The word for an effort.
pub(crate) const fn effort_word(effort: Effort) -> &'static str {
    match effort {
        Effort::None => "none",
        Effort::Minimal => "minimal",
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::ExtraHigh => "xhigh",
    }
}

/// The effort of a word; `None` for one that is new to us.
pub(crate) fn effort(word: &str) -> Option<Effort> {
    Some(match word {
        "none" => Effort::None,
        "minimal" => Effort::Minimal,
        "low" => Effort::Low,
        "medium" | "default" => Effort::Medium,
        "high" => Effort::High,
        "xhigh" | "max" => Effort::ExtraHigh,
        _ => return None,
    })
}

/// The effort that a request asks for, in words: a budget becomes the nearest one.
pub(crate) fn effort_of(reasoning: &Reasoning, dropped: &mut Dropped) -> Option<Effort> {
    if let Some(effort) = reasoning.effort {
        return Some(effort);
    }
    let budget = reasoning.budget?;
    dropped.add("thinking.budget_tokens");
    Some(match budget {
        0 => Effort::None,
        1..=2048 => Effort::Low,
        2049..=8192 => Effort::Medium,
        _ => Effort::High,
    })
}
