//! Tests of responses. The fixtures are checked against the `openai` package by `sdk/responses.py`.

mod answer;
mod kept;
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
        cache_write: 16,
        cache_write_hour: 0,
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
            signature: Some(Signature {
                id: Some("rs_68af".to_owned()),
                ..Signature::new(Signer::OpenAi, "gAAAAAB")
            }),
            redacted: false,
        }),
        Content::Reasoning(Thought {
            signature: Some(Signature::new(Signer::Anthropic, "cmVk")),
            redacted: true,
            ..Thought::default()
        }),
        Content::Text("One moment. \u{1f600}".to_owned()),
        Content::Refusal("Not that.".to_owned()),
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
        id: Some("resp_abc123".to_owned()),
        model: Some("claude".to_owned()),
        parts: parts.map(Into::into).into(),
        stop: Stop::ToolCalls,
        usage: Some(usage()),
    }
}

/// The same answer, streamed.
fn full_stream() -> Vec<Event> {
    let delta = |part, delta| Event::Delta { part, delta };
    let call = |id: &str, name: &str, signature: Option<&str>| Delta::ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        signature: signature.map(|value| Signature::new(Signer::Google, value)),
    };
    vec![
        Event::Start {
            id: Some("resp_abc123".to_owned()),
            model: Some("claude".to_owned()),
        },
        delta(0, Delta::Reasoning("I look ".to_owned())),
        delta(0, Delta::Reasoning("it up.".to_owned())),
        delta(
            0,
            Delta::Signature(Signature::new(Signer::OpenAi, "gAAAAAB")),
        ),
        delta(
            1,
            Delta::Redacted(Signature::new(Signer::Anthropic, "cmVk")),
        ),
        delta(2, Delta::Text("One moment. ".to_owned())),
        delta(2, Delta::Text("\u{1f600}".to_owned())),
        delta(3, Delta::Refusal("Not that.".to_owned())),
        delta(4, call("call_1", "weather", Some("Z29v"))),
        delta(4, Delta::Arguments(r#"{"city": "#.to_owned())),
        delta(4, Delta::Arguments(r#""Paris"}"#.to_owned())),
        delta(5, call("call_2", "now", None)),
        delta(5, Delta::Arguments("{}".to_owned())),
        Event::Usage(usage()),
        Event::Stop(Stop::ToolCalls),
    ]
}
