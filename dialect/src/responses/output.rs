//! The items of an answer: those of a provider, and those that callers get.

use crate::openai::call::{self as openai_call, signed, with_id};
use crate::openai::said::{arguments, member};
use crate::openai::write::{Object, list};
use crate::request::{Content, Thought, ToolCall};
use crate::responses::{MADE_UP, REDACTED};
use crate::signature::{Signature, Signer};
use serde_json::Value;

/// Reads an item into its parts. What the vendor's own tools did is left out. `position` names a call that has no id.
pub(crate) fn read(item: &Value, signer: Signer, answer: &str, position: usize) -> Vec<Content> {
    let list = |name: &str| item.get(name).and_then(Value::as_array).map(Vec::as_slice);
    match member(item, "type") {
        Some("message") => {
            let parts = list("content").unwrap_or_default().iter();
            let parts = parts.filter_map(|part| match member(part, "type") {
                Some("refusal") => Some(Content::Refusal(member(part, "refusal")?.to_owned())),
                _ => Some(Content::Text(member(part, "text")?.to_owned())),
            });
            parts.collect()
        }
        Some("reasoning") => {
            let texts = |name| {
                let parts = list(name).unwrap_or_default().iter();
                let texts: Vec<&str> = parts.filter_map(|part| member(part, "text")).collect();
                texts.join("\n\n")
            };
            let content = texts("content");
            let text = |name| member(item, name).map(str::to_owned);
            let signature = text("encrypted_content").map(|value| Signature {
                by: signer,
                value,
                id: text("id").filter(|id| !id.starts_with(MADE_UP)),
            });
            let thought = Thought {
                text: if content.is_empty() {
                    texts("summary")
                } else {
                    content
                },
                signature,
                redacted: false,
            };
            let said = !thought.is_empty();
            said.then_some(Content::Reasoning(thought))
                .into_iter()
                .collect()
        }
        Some("function_call") => vec![Content::ToolCall(with_id(call(item), answer, position))],
        _ => Vec::new(),
    }
}

/// Reads a call, as far as it is said.
pub(crate) fn call(item: &Value) -> ToolCall {
    ToolCall {
        id: member(item, "call_id")
            .or_else(|| member(item, "id"))
            .unwrap_or_default()
            .to_owned(),
        name: member(item, "name").unwrap_or_default().to_owned(),
        arguments: arguments(item.get("arguments").cloned()),
        signature: openai_call::signature(item),
    }
}

/// An item for a caller.
#[derive(Debug)]
pub(crate) enum Item {
    /// Text and refusals.
    Message(Vec<Content>),
    Reasoning(Thought),
    Call(ToolCall),
}

/// The items that parts make: text and refusals that follow each other are one message.
pub(crate) fn items<'a>(parts: impl Iterator<Item = &'a Content>) -> Vec<Item> {
    let mut items = Vec::new();
    for content in parts {
        match (content, items.last_mut()) {
            (Content::Text(_) | Content::Refusal(_), Some(Item::Message(parts))) => {
                parts.push(content.clone());
            }
            (Content::Text(_) | Content::Refusal(_), _) => {
                items.push(Item::Message(vec![content.clone()]));
            }
            (Content::Reasoning(thought), _) => items.push(Item::Reasoning(thought.clone())),
            (Content::ToolCall(call), _) => items.push(Item::Call(call.clone())),
            (Content::Media(_) | Content::ToolResult(_), _) => {}
        }
    }
    items
}

impl Item {
    /// The item's name: the provider's for a thought, which wants it back, otherwise made of the answer's and the position.
    pub(crate) fn id(&self, answer: &str, position: usize) -> String {
        match self {
            Self::Message(_) => format!("msg_{answer}_{position}"),
            Self::Reasoning(thought) => {
                let own = thought.signed_by(Signer::OpenAi);
                let given = own.and_then(|signature| signature.id.clone());
                given.unwrap_or_else(|| format!("{MADE_UP}{answer}_{position}"))
            }
            Self::Call(_) => format!("fc_{answer}_{position}"),
        }
    }

    /// The item's JSON, as far as it has come.
    pub(crate) fn write(&self, id: &str, status: &str) -> String {
        match self {
            Self::Message(parts) => Object::of_type("message")
                .text("id", id)
                .text("status", status)
                .text("role", "assistant")
                .list("content", parts.iter().filter_map(part)),
            Self::Reasoning(thought) => {
                let summary = (!thought.text.is_empty()).then(|| summary(&thought.text));
                let encrypted = thought.signature.as_ref().map(|signature| {
                    let kind = if thought.redacted { REDACTED } else { "" };
                    format!("{kind}{}", signature.marked(Signer::OpenAi))
                });
                Object::of_type("reasoning")
                    .text("id", id)
                    .list("summary", summary)
                    .maybe_text("encrypted_content", encrypted.as_deref())
                    .text("status", status)
            }
            Self::Call(call) => {
                let object = Object::of_type("function_call")
                    .text("id", id)
                    .text("call_id", &call.id)
                    .text("name", &call.name)
                    .text("arguments", &call.arguments)
                    .text("status", status);
                signed(object, call.signature.as_ref())
            }
        }
        .end()
    }
}

/// A part of a message.
pub(crate) fn part(content: &Content) -> Option<String> {
    match content {
        Content::Text(text) => Some(
            Object::of_type("output_text")
                .text("text", text)
                .raw("annotations", &list([]))
                .raw("logprobs", &list([]))
                .end(),
        ),
        Content::Refusal(text) => Some(Object::of_type("refusal").text("refusal", text).end()),
        _ => None,
    }
}

/// A part of a summary.
pub(crate) fn summary(text: &str) -> String {
    Object::of_type("summary_text").text("text", text).end()
}
