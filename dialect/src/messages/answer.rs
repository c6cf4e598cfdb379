//! Whole answers, and counts of tokens.

use super::OF_CALL;
use super::claude::Model;
use super::error::read_error;
use super::usage::{Counted, Written};
use crate::answer::{Answer, Envelope, Stop, Usage};
use crate::error::NotAnAnswer;
use crate::object::Object;
use crate::request::{Content, Part, Thought, ToolCall};
use crate::signature::{Signature, Signer};
use crate::writing::{Arguments, serialize};
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Why it ended, from Anthropic's word.
pub(super) fn read_stop(reason: &str, sequence: Option<String>) -> Stop {
    match reason {
        "end_turn" => Stop::End,
        "stop_sequence" => Stop::Sequence(sequence),
        "max_tokens" => Stop::Length,
        "model_context_window_exceeded" => Stop::Context,
        "tool_use" => Stop::ToolCalls,
        "refusal" => Stop::Refusal,
        "pause_turn" => Stop::Pause,
        other => Stop::Other(other.to_owned()),
    }
}

/// Anthropic's word for why it ended. One that it does not have is told as an end: SDKs refuse unknown ones.
pub(super) fn write_stop(stop: &Stop) -> &'static str {
    match stop {
        Stop::End | Stop::Other(_) => "end_turn",
        Stop::Sequence(_) => "stop_sequence",
        Stop::Length => "max_tokens",
        Stop::Context => "model_context_window_exceeded",
        Stop::ToolCalls => "tool_use",
        Stop::Filter | Stop::Refusal => "refusal",
        Stop::Pause => "pause_turn",
    }
}

/// The stop sequence, if that is why it ended.
pub(super) fn sequence(stop: &Stop) -> Option<&str> {
    match stop {
        Stop::Sequence(sequence) => sequence.as_deref(),
        _ => None,
    }
}

/// Reads the answer of `POST /v1/messages`.
///
/// # Errors
/// [`NotAnAnswer`] for what is none, with what was counted.
pub fn read_answer(body: &str) -> Result<Answer, NotAnAnswer> {
    let not = NotAnAnswer::new;
    let top = Object::parse(body).ok_or_else(|| not("the answer is not a JSON object"))?;
    let mut counted = Counted::default();
    if let Some(usage) = top.object("usage") {
        counted.take(&usage);
    }
    let usage = counted.usage();
    if top.text("type").as_deref() == Some("error") && read_error(body).is_some() {
        return Err(not("the answer is an error"));
    }
    let Some(content) = top.list("content") else {
        let message = "the answer has no list of content";
        return Err(NotAnAnswer { message, usage });
    };
    let model = top.text("model");
    let signer = signer(model.as_deref());
    let read = |block| read_block(block, signer);
    let parts: Vec<Part> = content.into_iter().filter_map(read).collect();
    let calls = |part: &Part| matches!(part.content, Content::ToolCall(_));
    let stop = match top.text("stop_reason") {
        Some(reason) => read_stop(&reason, top.text("stop_sequence")),
        None if parts.iter().any(calls) => Stop::ToolCalls,
        None => Stop::End,
    };
    Ok(Answer {
        id: top.text("id"),
        model,
        parts,
        stop,
        usage,
    })
}

/// Whose signatures an answer of this model has. Whoever says nothing of its model is taken for Anthropic.
pub(super) fn signer(model: Option<&str>) -> Signer {
    model.map_or(Signer::Anthropic, |model| Model::of(model).signer())
}

/// A block of an answer; `None` for those of the vendor's own tools, and for empty ones.
fn read_block(block: &RawValue, signer: Signer) -> Option<Part> {
    let block = Object::parse(block.get())?;
    let filled = |name: &str| block.text(name).filter(|text| !text.is_empty());
    let content = match block.text("type")?.as_str() {
        "text" => Content::Text(filled("text")?),
        "thinking" => {
            let thought = Thought {
                text: block.text("thinking").unwrap_or_default(),
                signature: filled("signature").map(|value| Signature::new(signer, value)),
                ..Thought::default()
            };
            if thought == Thought::default() {
                return None;
            }
            Content::Reasoning(thought)
        }
        "redacted_thinking" => Content::Reasoning(Thought {
            signature: Some(Signature::new(signer, filled("data")?)),
            redacted: true,
            ..Thought::default()
        }),
        "tool_use" => Content::ToolCall(ToolCall {
            id: block.text("id").unwrap_or_default(),
            name: block.text("name")?,
            arguments: block
                .get("input")
                .map_or("{}", |input| input.get())
                .to_owned(),
            signature: None,
        }),
        _ => return None,
    };
    Some(content.into())
}

/// A message, as an answer or as the beginning of a stream.
#[derive(Serialize)]
pub(super) struct Message<'a> {
    id: String,
    r#type: &'static str,
    role: &'static str,
    model: &'a str,
    content: Vec<Block<'a>>,
    stop_reason: Option<&'static str>,
    stop_sequence: Option<&'a str>,
    usage: Written,
}

/// A block of an answer to write.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block<'a> {
    Text {
        text: &'a str,
    },
    Thinking {
        thinking: &'a str,
        signature: Cow<'a, str>,
    },
    RedactedThinking {
        data: Cow<'a, str>,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: Arguments<'a>,
    },
}

impl<'a> Message<'a> {
    /// A message that has only begun.
    pub(super) fn begun(envelope: &'a Envelope, model: Option<&'a str>) -> Self {
        Self {
            id: format!("msg_{}", envelope.id),
            r#type: "message",
            role: "assistant",
            model: model.unwrap_or(&envelope.model),
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: None,
            usage: Written::whole(&Usage::default()),
        }
    }
}

/// The id of a call whose provider gave it none.
pub(super) fn call_id(envelope: &Envelope, part: usize) -> String {
    format!("toolu_{}_{part}", envelope.id)
}

/// Writes the answer to `POST /v1/messages`.
#[must_use]
pub fn write_answer(answer: &Answer, envelope: &Envelope) -> String {
    let ids: Vec<String> = (0..answer.parts.len())
        .map(|part| call_id(envelope, part))
        .collect();
    let numbered = answer.parts.iter().zip(&ids);
    let usage = answer.usage.clone().unwrap_or_default();
    serialize(&Message {
        content: numbered
            .flat_map(|(part, id)| write_blocks(&part.content, id))
            .collect(),
        stop_reason: Some(write_stop(&answer.stop)),
        stop_sequence: sequence(&answer.stop),
        usage: Written::whole(&usage),
        ..Message::begun(envelope, answer.model.as_deref())
    })
}

/// The signature of a call as that of a thought before it.
pub(super) fn of_call(signature: &Signature) -> String {
    format!("{OF_CALL}{}", signature.marked(Signer::Anthropic))
}

fn write_blocks<'a>(content: &'a Content, id: &'a str) -> impl Iterator<Item = Block<'a>> {
    let signature = match content {
        Content::ToolCall(call) => call.signature.as_ref(),
        _ => None,
    };
    let thought = signature.map(|signature| Block::Thinking {
        thinking: "",
        signature: of_call(signature).into(),
    });
    thought.into_iter().chain(write_block(content, id))
}

/// `None` for what an answer of Anthropic's cannot hold: media, and empty text.
fn write_block<'a>(content: &'a Content, id: &'a str) -> Option<Block<'a>> {
    match content {
        Content::Text(text) | Content::Refusal(text) => {
            (!text.is_empty()).then_some(Block::Text { text })
        }
        Content::Reasoning(thought) if thought.redacted => {
            let data = thought.signature.as_ref()?.marked(Signer::Anthropic);
            Some(Block::RedactedThinking { data })
        }
        Content::Reasoning(thought) => Some(Block::Thinking {
            thinking: &thought.text,
            signature: thought
                .signature
                .as_ref()
                .map(|signature| signature.marked(Signer::Anthropic))
                .unwrap_or_default(),
        }),
        Content::ToolCall(call) => Some(Block::ToolUse {
            id: if call.id.is_empty() { id } else { &call.id },
            name: &call.name,
            input: Arguments::new(&call.arguments),
        }),
        Content::Media(_) | Content::ToolResult(_) => None,
    }
}

/// Writes the answer to `POST /v1/messages/count_tokens`.
#[must_use]
pub fn write_count(tokens: u64) -> String {
    format!("{{\"input_tokens\":{tokens}}}")
}

/// Reads the answer of `POST /v1/messages/count_tokens`: input tokens.
///
/// # Errors
/// [`NotAnAnswer`] where there is no number that can be believed.
pub fn read_count(body: &str) -> Result<u64, NotAnAnswer> {
    let count = Object::parse(body).map(|top| top.count("input_tokens"));
    match count {
        Some(Ok(Some(tokens))) if tokens <= crate::answer::MAX_TOKENS => Ok(tokens),
        _ => Err(NotAnAnswer::new("the answer has no count of input tokens")),
    }
}
