//! Tests of chat completions. The fixtures are checked against the `openai`, `mistralai` and `groq` packages by `sdk/chat.py`.

mod answer;
mod outgoing;
mod properties;
mod request;
mod stream;

use crate::event::{Delta, Event};
use crate::request::{Thought, ToolCall};
use crate::signature::{Signature, Signer};
use crate::{Answer, Content, Stop, Usage};

/// Usage with every number.
fn usage() -> Usage {
    Usage {
        input: 20,
        cache_read: 64,
        cache_write: 10,
        cache_write_hour: 6,
        output: 50,
        reasoning: 30,
        cost: None,
        tier: Some("priority".to_owned()),
    }
}

/// An answer with every part.
fn full_answer() -> Answer {
    let parts = [
        Content::Reasoning(Thought {
            text: "I look it up.".to_owned(),
            signature: Some(Signature::new(Signer::Anthropic, "c2ln")),
            ..Thought::default()
        }),
        Content::Reasoning(Thought {
            signature: Some(Signature::new(Signer::Anthropic, "cmVk")),
            redacted: true,
            ..Thought::default()
        }),
        Content::Text("One moment. \u{1f600}".to_owned()),
        Content::ToolCall(ToolCall {
            id: "call_1".to_owned(),
            name: "weather".to_owned(),
            arguments: r#"{"city": "Paris"}"#.to_owned(),
            signature: Some(Signature::new(Signer::Google, "Z29v")),
        }),
        Content::ToolCall(ToolCall {
            id: "call_2".to_owned(),
            name: "now".to_owned(),
            arguments: "{}".to_owned(),
            signature: None,
        }),
    ];
    Answer {
        id: Some("msg_1".to_owned()),
        model: Some("claude".to_owned()),
        parts: parts.map(Into::into).into(),
        stop: Stop::ToolCalls,
        usage: Some(usage()),
    }
}

/// The same answer, streamed.
fn full_stream() -> Vec<Event> {
    let delta = |part, delta| Event::Delta { part, delta };
    vec![
        Event::Start {
            id: Some("msg_1".to_owned()),
            model: Some("claude".to_owned()),
        },
        delta(0, Delta::Reasoning("I look ".to_owned())),
        delta(0, Delta::Reasoning("it up.".to_owned())),
        delta(
            0,
            Delta::Signature(Signature::new(Signer::Anthropic, "c2ln")),
        ),
        delta(
            1,
            Delta::Redacted(Signature::new(Signer::Anthropic, "cmVk")),
        ),
        delta(2, Delta::Text("One moment. ".to_owned())),
        delta(2, Delta::Text("\u{1f600}".to_owned())),
        delta(
            3,
            Delta::ToolCall {
                id: "call_1".to_owned(),
                name: "weather".to_owned(),
                signature: Some(Signature::new(Signer::Google, "Z29v")),
            },
        ),
        delta(3, Delta::Arguments(r#"{"city": "#.to_owned())),
        delta(3, Delta::Arguments(r#""Paris"}"#.to_owned())),
        delta(
            4,
            Delta::ToolCall {
                id: "call_2".to_owned(),
                name: "now".to_owned(),
                signature: None,
            },
        ),
        delta(4, Delta::Arguments("{}".to_owned())),
        Event::Stop(Stop::ToolCalls),
        Event::Usage(usage()),
    ]
}
