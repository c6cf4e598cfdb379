//! A stream for a caller.

use crate::answer::{Envelope, Stop, Usage};
use crate::chat::{answer, finish, thoughts, usage};
use crate::error::Refused;
use crate::event::{Delta, Event};
use crate::openai::call::signed;
use crate::openai::error;
use crate::openai::write::Object;
use crate::request::Thought;
use crate::signature::Signature;
use crate::sse;

/// Writes the chunks of a stream: the role, what is added, the finish reason, usage if it was asked for, `[DONE]`.
#[derive(Debug)]
pub struct Writer {
    envelope: Envelope,
    with_usage: bool,
    model: String,
    begun: bool,
    calls: usize,
    thoughts: usize,
    /// The words of the thought that goes on.
    thought: String,
    refused: bool,
    /// The part of the last delta.
    part: Option<usize>,
    usage: Option<Usage>,
}

impl Writer {
    /// A stream of this answer. `with_usage`: whether the caller asked for usage ([`crate::Request::stream_usage`]).
    #[must_use]
    pub fn new(envelope: Envelope, with_usage: bool) -> Self {
        Self {
            model: envelope.model.clone(),
            envelope,
            with_usage,
            begun: false,
            calls: 0,
            thoughts: 0,
            thought: String::new(),
            refused: false,
            part: None,
            usage: None,
        }
    }

    /// Writes what a caller sees of an event.
    pub fn write(&mut self, said: &Event, out: &mut Vec<u8>) {
        match said {
            Event::Start { model, .. } => {
                if let Some(model) = model {
                    self.model.clone_from(model);
                }
            }
            Event::Delta { part, delta } => {
                let begins = self.part.replace(*part) != Some(*part);
                if begins {
                    self.thought.clear();
                }
                self.delta(delta, begins, out);
            }
            Event::Usage(usage) => self.usage = Some(usage.clone()),
            Event::Stop(stop) => self.stop(stop, out),
        }
    }

    /// Ends a stream that is complete.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if self.with_usage
            && let Some(usage) = &self.usage
        {
            let chunk = self
                .chunk(Vec::new())
                .object("usage", usage::write(usage))
                .maybe_text("service_tier", usage::tier(Some(usage)));
            sse::write(None, &chunk.end(), out);
        }
        sse::write(None, "[DONE]", out);
    }

    /// Ends a stream that broke: an error, and no `[DONE]`.
    pub fn fail(&mut self, refused: &Refused, out: &mut Vec<u8>) {
        sse::write(None, &error::write(refused), out);
    }

    fn delta(&mut self, delta: &Delta, begins: bool, out: &mut Vec<u8>) {
        let object = self.role();
        let object = match delta {
            Delta::Text(text) => object.text("content", text),
            Delta::Refusal(text) => {
                self.refused = true;
                object.text("refusal", text)
            }
            Delta::Reasoning(text) => {
                self.thoughts += usize::from(begins);
                self.thought.push_str(text);
                object.text("reasoning_content", text)
            }
            Delta::Signature(signature) => {
                self.thoughts += usize::from(begins);
                object.list("reasoning_details", self.detail(signature, false))
            }
            Delta::Redacted(data) => {
                self.thoughts += 1;
                object.list("reasoning_details", self.detail(data, true))
            }
            Delta::ToolCall {
                id,
                name,
                signature,
            } => {
                self.calls += 1;
                let function = Object::new().text("name", name).text("arguments", "");
                let call = Object::new()
                    .plain("index", self.calls - 1)
                    .text("id", id)
                    .text("type", "function")
                    .object("function", function);
                let call = signed(call, signature.as_ref());
                object.list("tool_calls", [call.end()])
            }
            Delta::Arguments(arguments) => {
                let function = Object::new().text("arguments", arguments);
                let call = Object::new()
                    .plain("index", self.calls.saturating_sub(1))
                    .object("function", function);
                object.list("tool_calls", [call.end()])
            }
        };
        self.send(object, None, out);
    }

    /// What a vendor signed, with the words that it signed: callers send both back together.
    fn detail(&mut self, signature: &Signature, redacted: bool) -> Vec<String> {
        let thought = Thought {
            text: std::mem::take(&mut self.thought),
            signature: Some(signature.clone()),
            redacted,
        };
        thoughts::write(&thought, self.thoughts.saturating_sub(1))
    }

    fn stop(&mut self, stop: &Stop, out: &mut Vec<u8>) {
        let object = self.role();
        self.send(object, Some(finish::write(stop, self.refused)), out);
    }

    /// A delta; the first one says the role.
    fn role(&mut self) -> Object {
        if std::mem::replace(&mut self.begun, true) {
            return Object::new();
        }
        Object::new().text("role", "assistant")
    }

    fn send(&self, delta: Object, finish: Option<&str>, out: &mut Vec<u8>) {
        let choice = Object::new()
            .plain("index", 0)
            .object("delta", delta)
            .raw("logprobs", "null");
        let choice = match finish {
            Some(reason) => choice.text("finish_reason", reason),
            None => choice.raw("finish_reason", "null"),
        };
        sse::write(None, &self.chunk(vec![choice.end()]).end(), out);
    }

    fn chunk(&self, choices: Vec<String>) -> Object {
        Object::new()
            .text("id", &answer::id(&self.envelope))
            .text("object", "chat.completion.chunk")
            .plain("created", self.envelope.created)
            .text("model", &self.model)
            .list("choices", choices)
    }
}
