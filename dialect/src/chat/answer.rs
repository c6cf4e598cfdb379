//! Whole answers.

use crate::answer::{Answer, Envelope};
use crate::chat::chunk::{Piece, Top, pieces, tool_call};
use crate::chat::{finish, thoughts, usage};
use crate::error::NotAnAnswer;
use crate::openai::call::{signed, with_id};
use crate::openai::said::member;
use crate::openai::stop_of;
use crate::openai::write::Object;
use crate::request::{Content, Part, Thought, ToolCall};
use serde_json::Value;

/// Reads a provider's answer. Of several choices the first is read.
///
/// # Errors
/// When it has no assistant's message, or the provider says that it failed.
pub fn read_answer(body: &str) -> Result<Answer, NotAnAnswer> {
    let top = Top::read(body)?;
    let usage = top.usage();
    let wrong = |message| NotAnAnswer {
        message,
        usage: usage.clone(),
    };
    if top.error().is_some() {
        return Err(wrong("the answer is an error"));
    }
    let choice = top
        .choice()
        .ok_or_else(|| wrong("the answer has no choice"))?;
    if choice.failure().is_some() {
        return Err(wrong("the provider ended the answer with an error"));
    }
    let message = choice
        .message()
        .ok_or_else(|| wrong("the answer has no message"))?;
    let id = top.id();
    let parts = parts(&message, id.as_deref().unwrap_or_default());
    Ok(Answer {
        id,
        model: top.model(),
        stop: stop_of(choice.stop().unwrap_or_default(), &parts),
        parts,
        usage,
    })
}

fn parts(message: &Value, answer: &str) -> Vec<Part> {
    let plain = member(message, "reasoning_content").or_else(|| member(message, "reasoning"));
    let thoughts = thoughts::read(message.get("reasoning_details"), plain);
    let mut contents: Vec<Content> = thoughts.into_iter().map(Content::Reasoning).collect();
    for piece in pieces(message.get("content")) {
        add(&mut contents, piece);
    }
    for piece in pieces(message.get("refusal")) {
        if let Piece::Text(text) = piece {
            add(&mut contents, Piece::Refusal(text));
        }
    }
    let calls = message.get("tool_calls").and_then(Value::as_array);
    let legacy = message.get("function_call").filter(|call| call.is_object());
    let calls = calls.into_iter().flatten().chain(legacy);
    for (position, call) in calls.map(tool_call).enumerate() {
        if !call.name.is_empty() {
            contents.push(Content::ToolCall(with_id(call, answer, position)));
        }
    }
    contents.into_iter().map(Part::from).collect()
}

/// Adds a piece to the part that it goes on, or as a part of its own.
fn add(contents: &mut Vec<Content>, piece: Piece<'_>) {
    match (contents.last_mut(), piece) {
        (Some(Content::Text(text)), Piece::Text(more))
        | (Some(Content::Refusal(text)), Piece::Refusal(more)) => text.push_str(more),
        (Some(Content::Reasoning(thought)), Piece::Reasoning(more))
            if thought.signature.is_none() =>
        {
            thought.text.push_str(more);
        }
        (Some(Content::Reasoning(thought)), Piece::Signature(signature))
            if thought.signature.is_none() =>
        {
            thought.signature = Some(signature);
        }
        (_, Piece::Text(text)) => contents.push(Content::Text(text.to_owned())),
        (_, Piece::Refusal(text)) => contents.push(Content::Refusal(text.to_owned())),
        (_, Piece::Reasoning(text)) => contents.push(Content::Reasoning(Thought::said(text))),
        (_, Piece::Signature(signature)) => contents.push(Content::Reasoning(Thought {
            signature: Some(signature),
            ..Thought::default()
        })),
    }
}

/// Writes an answer for a caller.
#[must_use]
pub fn write_answer(answer: &Answer, envelope: &Envelope) -> String {
    let model = answer.model.as_deref().unwrap_or(&envelope.model);
    let refused = answer
        .parts
        .iter()
        .any(|part| matches!(part.content, Content::Refusal(_)));
    let choice = Object::new()
        .plain("index", 0)
        .object("message", message(&answer.parts))
        .raw("logprobs", "null")
        .text("finish_reason", finish::write(&answer.stop, refused));
    let usage = answer.usage.as_ref();
    Object::new()
        .text("id", &id(envelope))
        .text("object", "chat.completion")
        .plain("created", envelope.created)
        .text("model", model)
        .list("choices", [choice.end()])
        .maybe(usage, |object, usage| {
            object.object("usage", usage::write(usage))
        })
        .maybe_text("service_tier", usage::tier(usage))
        .end()
}

/// The answer's name as OpenAI's begin.
pub(crate) fn id(envelope: &Envelope) -> String {
    format!("chatcmpl-{}", envelope.id)
}

fn message(parts: &[Part]) -> Object {
    let mut text: Option<String> = None;
    let mut refusal: Option<String> = None;
    let mut thoughts = Vec::new();
    let mut calls = Vec::new();
    for part in parts {
        match &part.content {
            Content::Text(more) => text.get_or_insert_default().push_str(more),
            Content::Refusal(more) => refusal.get_or_insert_default().push_str(more),
            Content::Reasoning(thought) => thoughts.push(thought),
            Content::ToolCall(call) => calls.push(tool_call_json(call)),
            Content::Media(_) | Content::ToolResult(_) => {}
        }
    }
    let words = thoughts::words(&thoughts);
    let details = thoughts::details(&thoughts);
    let nullable = |object: Object, name: &str, text: Option<String>| match text {
        Some(text) => object.text(name, &text),
        None => object.raw(name, "null"),
    };
    let object = Object::new().text("role", "assistant");
    let object = nullable(object, "content", text);
    let object = nullable(object, "refusal", refusal)
        .maybe_text("reasoning_content", words.as_deref())
        .maybe(details, |object, details| {
            object.list("reasoning_details", details)
        });
    let calls = (!calls.is_empty()).then_some(calls);
    object.maybe(calls, |object, calls| object.list("tool_calls", calls))
}

fn tool_call_json(call: &ToolCall) -> String {
    let function = Object::new()
        .text("name", &call.name)
        .text("arguments", &call.arguments);
    let object = Object::new()
        .text("id", &call.id)
        .text("type", "function")
        .object("function", function);
    signed(object, call.signature.as_ref()).end()
}
