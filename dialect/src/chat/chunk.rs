//! What a provider's answer and the chunks of its stream are made of.

use crate::answer::{Stop, Usage};
use crate::chat::{finish, usage};
use crate::error::{NotAnAnswer, Said};
use crate::openai::said::{arguments, member, text, value};
use crate::openai::{call, error};
use crate::request::ToolCall;
use crate::signature::{Signature, Signer};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// An answer or a chunk: both have the same fields, each read by itself so that nonsense in one does not spoil the others.
#[derive(Default, Deserialize)]
pub(crate) struct Top<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
    #[serde(borrow, default)]
    choices: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    x_groq: Option<&'a RawValue>,
    #[serde(borrow, default)]
    service_tier: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// What Groq adds.
#[derive(Default, Deserialize)]
struct Groq<'a> {
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// The first of the answers.
#[derive(Default, Deserialize)]
pub(crate) struct Choice<'a> {
    #[serde(borrow, default)]
    index: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

impl<'a> Top<'a> {
    /// Splits an object into its fields.
    pub(crate) fn read(body: &'a str) -> Result<Self, NotAnAnswer> {
        // A struct is read from a list, too.
        if !body.trim_start().starts_with('{') {
            return Err(NotAnAnswer::new("the answer is not a chat completion"));
        }
        serde_json::from_str(body)
            .map_err(|_| NotAnAnswer::new("the answer is not a chat completion"))
    }

    pub(crate) fn id(&self) -> Option<String> {
        text(self.id)
    }

    pub(crate) fn model(&self) -> Option<String> {
        text(self.model)
    }

    fn groq(&self) -> Groq<'a> {
        self.x_groq
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or_default()
    }

    pub(crate) fn usage(&self) -> Option<Usage> {
        let raw = self.usage.or_else(|| self.groq().usage);
        usage::read(raw, text(self.service_tier))
    }

    /// An error in an answer's place.
    pub(crate) fn error(&self) -> Option<Said> {
        let said = value(self.error.or_else(|| self.groq().error))?;
        error::said(&said, None)
    }

    /// The answer with index 0, or without one. Others are not read.
    pub(crate) fn choice(&self) -> Option<Choice<'a>> {
        let list: Vec<&'a RawValue> = serde_json::from_str(self.choices?.get()).ok()?;
        let choices = list.into_iter().filter(|raw| raw.get().starts_with('{'));
        choices
            .filter_map(|raw| serde_json::from_str(raw.get()).ok())
            .find(|choice: &Choice| choice.index.is_none_or(|index| index.get() == "0"))
    }
}

impl Choice<'_> {
    pub(crate) fn message(&self) -> Option<Value> {
        value(self.message).filter(Value::is_object)
    }

    pub(crate) fn delta(&self) -> Option<Value> {
        value(self.delta.or(self.message)).filter(Value::is_object)
    }

    pub(crate) fn stop(&self) -> Option<Stop> {
        text(self.finish_reason).map(|reason| finish::read(&reason))
    }

    /// That the answer failed: OpenRouter's error of a choice, and Mistral's finish reason.
    pub(crate) fn failure(&self) -> Option<Said> {
        if let Some(said) = value(self.error).and_then(|said| error::said(&said, None)) {
            return Some(said);
        }
        (self.stop() == Some(Stop::Other("error".to_owned()))).then(|| Said {
            kind: Some("error".to_owned()),
            message: "the provider ended the answer with an error".to_owned(),
            ..Said::default()
        })
    }
}

/// A piece of content.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    Text(&'a str),
    Refusal(&'a str),
    Reasoning(&'a str),
    Signature(Signature),
}

/// The pieces of a text or of a list of parts; Mistral's models that reason send their thoughts in such a list.
pub(crate) fn pieces(content: Option<&Value>) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    match content {
        Some(Value::String(text)) => pieces.push(Piece::Text(text)),
        Some(Value::Array(parts)) => {
            for part in parts {
                part_pieces(part, &mut pieces);
            }
        }
        _ => {}
    }
    pieces.retain(|piece| match piece {
        Piece::Text(text) | Piece::Refusal(text) | Piece::Reasoning(text) => !text.is_empty(),
        Piece::Signature(_) => true,
    });
    pieces
}

fn part_pieces<'a>(part: &'a Value, pieces: &mut Vec<Piece<'a>>) {
    let text = |name| member(part, name);
    match text("type") {
        Some("thinking") => {
            match part.get("thinking") {
                Some(Value::String(text)) => pieces.push(Piece::Reasoning(text)),
                Some(Value::Array(inner)) => {
                    let texts = inner.iter().filter_map(|inner| member(inner, "text"));
                    pieces.extend(texts.map(Piece::Reasoning));
                }
                _ => {}
            }
            let signature = text("signature").map(|value| Signature::new(Signer::Mistral, value));
            pieces.extend(signature.map(Piece::Signature));
        }
        Some("refusal") => pieces.extend(text("refusal").map(Piece::Refusal)),
        _ => pieces.extend(text("text").or(part.as_str()).map(Piece::Text)),
    }
}

/// A tool call, or a piece of one, as far as it is said. The id is empty where there is none.
pub(crate) fn tool_call(call: &Value) -> ToolCall {
    let function = call.get("function").unwrap_or(call);
    let id = member(call, "id").filter(|id| *id != "null"); // Mistral's word for none
    ToolCall {
        id: id.unwrap_or_default().to_owned(),
        name: member(function, "name").unwrap_or_default().to_owned(),
        arguments: arguments(function.get("arguments").cloned()),
        signature: call::signature(call),
    }
}
