//! A whole answer from its events, for dialects whose whole answers are read like streams.

use crate::answer::{Answer, Stop};
use crate::event::{Delta, Event};
use crate::request::{Content, Thought, ToolCall};

/// Puts the events of one answer together; what an answer cannot hold, such as a signature within a text, is left out.
pub(crate) fn gather(events: Vec<Event>) -> (Answer, Option<Stop>) {
    let mut answer = Answer::default();
    let mut stop = None;
    let mut contents: Vec<Content> = Vec::new();
    for event in events {
        match event {
            Event::Start { id, model } => (answer.id, answer.model) = (id, model),
            Event::Usage(usage) => answer.usage = Some(usage),
            Event::Stop(reason) => stop = Some(reason),
            Event::Delta { part, delta } => match contents.get_mut(part) {
                Some(content) => add(content, delta),
                None => contents.push(begin(delta)),
            },
        }
    }
    answer.parts = contents.into_iter().map(Into::into).collect();
    answer.stop = stop.clone().unwrap_or_default();
    (answer, stop)
}

fn begin(delta: Delta) -> Content {
    match delta {
        Delta::Text(text) => Content::Text(text),
        Delta::Refusal(text) => Content::Refusal(text),
        Delta::Reasoning(text) => Content::Reasoning(Thought::said(text)),
        Delta::Signature(signature) => Content::Reasoning(Thought {
            signature: Some(signature),
            ..Thought::default()
        }),
        Delta::Redacted(data) => Content::Reasoning(Thought {
            signature: Some(data),
            redacted: true,
            ..Thought::default()
        }),
        Delta::ToolCall {
            id,
            name,
            signature,
        } => Content::ToolCall(ToolCall {
            id,
            name,
            arguments: String::new(),
            signature,
        }),
        Delta::Arguments(arguments) => Content::ToolCall(ToolCall {
            arguments,
            ..ToolCall::default()
        }),
    }
}

fn add(content: &mut Content, delta: Delta) {
    match (content, delta) {
        (Content::Text(text), Delta::Text(more))
        | (Content::Refusal(text), Delta::Refusal(more)) => text.push_str(&more),
        (Content::Reasoning(thought), Delta::Reasoning(more)) => thought.text.push_str(&more),
        (Content::Reasoning(thought), Delta::Signature(signature)) => {
            thought.signature = Some(signature);
        }
        (Content::ToolCall(call), Delta::Arguments(more)) => call.arguments.push_str(&more),
        _ => {}
    }
}
