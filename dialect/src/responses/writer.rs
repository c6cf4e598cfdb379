//! A stream for a caller.

use crate::answer::{Envelope, Stop, Usage};
use crate::error::Refused;
use crate::event::{Delta, Event};
use crate::openai::write::Object;
use crate::request::{Content, Thought, ToolCall};
use crate::responses::answer::{Outcome, response};
use crate::responses::output::{self, Item};
use crate::signature::Signature;
use crate::sse;

/// Writes the events of a stream: the response begins, its items one after the other, the response ends. There is no `[DONE]`.
#[derive(Debug)]
pub struct Writer {
    envelope: Envelope,
    model: String,
    sequence: u64,
    begun: bool,
    /// The items that are complete, as JSON.
    done: Vec<String>,
    open: Option<Item>,
    /// The part of the last delta.
    part: Option<usize>,
    refused: bool,
    usage: Option<Usage>,
    stop: Stop,
}

impl Writer {
    /// A stream of this answer.
    #[must_use]
    pub fn new(envelope: Envelope) -> Self {
        Self {
            model: envelope.model.clone(),
            envelope,
            sequence: 0,
            begun: false,
            done: Vec::new(),
            open: None,
            part: None,
            refused: false,
            usage: None,
            stop: Stop::default(),
        }
    }

    /// Writes what a caller sees of an event. The response's end waits for [`Self::end`], since usage may come after the stop.
    pub fn write(&mut self, said: &Event, out: &mut Vec<u8>) {
        match said {
            Event::Start { model, .. } => {
                if let Some(model) = model {
                    self.model.clone_from(model);
                }
                self.begin(out);
            }
            Event::Delta { part, delta } => {
                self.begin(out);
                let begins = self.part.replace(*part) != Some(*part);
                if begins {
                    self.open(delta, out);
                }
                self.add(delta, out);
            }
            Event::Usage(usage) => self.usage = Some(usage.clone()),
            Event::Stop(stop) => {
                self.begin(out);
                self.close(out);
                self.stop = stop.clone();
            }
        }
    }

    /// Ends a stream that is complete.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        self.begin(out);
        self.close(out);
        let outcome = Outcome::of(&self.stop, self.refused);
        let kind = match outcome {
            Outcome::Incomplete(_) => "response.incomplete",
            _ => "response.completed",
        };
        self.response(kind, &outcome, out);
    }

    /// Ends a stream that broke.
    pub fn fail(&mut self, refused: &Refused, out: &mut Vec<u8>) {
        self.begin(out);
        // OpenAI's types know few codes, ours are not among them.
        let code = match refused.status {
            429 => "rate_limit_exceeded",
            _ => "server_error",
        };
        let error = Object::new()
            .text("code", code)
            .text("message", &format!("{}: {}", refused.code, refused.message));
        self.response("response.failed", &Outcome::Failed(error.end()), out);
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        self.response("response.created", &Outcome::InProgress, out);
        self.response("response.in_progress", &Outcome::InProgress, out);
    }

    fn response(&mut self, kind: &str, outcome: &Outcome, out: &mut Vec<u8>) {
        let output = self.done.clone();
        let usage = self.usage.as_ref();
        let response = response(&self.envelope, &self.model, outcome, output, usage);
        self.send(kind, Object::new().object("response", response), out);
    }

    /// Sends an event with these fields.
    fn send(&mut self, kind: &str, fields: Object, out: &mut Vec<u8>) {
        let data = fields
            .text("type", kind)
            .plain("sequence_number", self.sequence);
        self.sequence += 1;
        sse::write(Some(kind), &data.end(), out);
    }

    /// The place of what is open: its item, and its position in it.
    fn place(&self) -> Object {
        let object = Object::new()
            .text("item_id", &self.item_id())
            .plain("output_index", self.done.len());
        match &self.open {
            Some(Item::Message(parts)) => {
                object.plain("content_index", parts.len().saturating_sub(1))
            }
            Some(Item::Reasoning(_)) => object.plain("summary_index", 0),
            Some(Item::Call(_)) | None => object,
        }
    }

    fn item_id(&self) -> String {
        let position = self.done.len();
        let open = self.open.as_ref();
        open.map(|item| item.id(&self.envelope.id, position))
            .unwrap_or_default()
    }

    /// Begins the part that a delta is the first of.
    fn open(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        let content = match delta {
            Delta::Text(_) => Content::Text(String::new()),
            Delta::Refusal(_) => Content::Refusal(String::new()),
            Delta::Reasoning(_) | Delta::Signature(_) | Delta::Redacted(_) => {
                return self.open_item(Item::Reasoning(Thought::default()), out);
            }
            Delta::ToolCall {
                id,
                name,
                signature,
            } => {
                let call = ToolCall {
                    id: id.clone(),
                    name: name.clone(),
                    arguments: String::new(),
                    signature: signature.clone(),
                };
                return self.open_item(Item::Call(call), out);
            }
            // Arguments of a call that never began: the reader's order forbids it.
            Delta::Arguments(_) => return,
        };
        if matches!(self.open, Some(Item::Message(_))) {
            self.close_part(out);
        } else {
            self.open_item(Item::Message(Vec::new()), out);
        }
        let json = output::part(&content).unwrap_or_default();
        if let Some(Item::Message(parts)) = &mut self.open {
            parts.push(content);
        }
        let place = self.place().raw("part", &json);
        self.send("response.content_part.added", place, out);
    }

    fn open_item(&mut self, item: Item, out: &mut Vec<u8>) {
        self.close(out);
        self.open = Some(item);
        self.item("response.output_item.added", "in_progress", out);
    }

    /// Sends the open item as it stands; returns its JSON.
    fn item(&mut self, kind: &str, status: &str, out: &mut Vec<u8>) -> Option<String> {
        let id = self.item_id();
        let json = self.open.as_ref()?.write(&id, status);
        let fields = Object::new()
            .plain("output_index", self.done.len())
            .raw("item", &json);
        self.send(kind, fields, out);
        Some(json)
    }

    fn add(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        let (kind, more) = match (delta, &mut self.open) {
            (Delta::Text(more), Some(Item::Message(parts))) => {
                if let Some(Content::Text(text)) = parts.last_mut() {
                    text.push_str(more);
                }
                ("response.output_text.delta", more)
            }
            (Delta::Refusal(more), Some(Item::Message(parts))) => {
                self.refused = true;
                if let Some(Content::Refusal(text)) = parts.last_mut() {
                    text.push_str(more);
                }
                ("response.refusal.delta", more)
            }
            (Delta::Reasoning(more), Some(Item::Reasoning(thought))) => {
                let first = thought.text.is_empty() && !more.is_empty();
                thought.text.push_str(more);
                if first {
                    let place = self.place().raw("part", &output::summary(""));
                    self.send("response.reasoning_summary_part.added", place, out);
                }
                ("response.reasoning_summary_text.delta", more)
            }
            (Delta::Arguments(more), Some(Item::Call(call))) => {
                call.arguments.push_str(more);
                ("response.function_call_arguments.delta", more)
            }
            (Delta::Signature(signature), Some(Item::Reasoning(thought))) => {
                thought.signature = Some(unnamed(signature));
                return;
            }
            (Delta::Redacted(data), Some(Item::Reasoning(thought))) => {
                thought.signature = Some(unnamed(data));
                thought.redacted = true;
                return;
            }
            _ => return, // a call's beginning stands in its item
        };
        if more.is_empty() {
            return;
        }
        let place = self.place().text("delta", more);
        let place = match delta {
            Delta::Text(_) => place.raw("logprobs", "[]"),
            _ => place,
        };
        self.send(kind, place, out);
    }

    /// Ends the part that is open.
    fn close_part(&mut self, out: &mut Vec<u8>) {
        let place = self.place();
        match &self.open {
            Some(Item::Message(parts)) => {
                let Some(last) = parts.last() else { return };
                let json = output::part(last).unwrap_or_default();
                let (kind, place) = match last {
                    Content::Refusal(text) => {
                        ("response.refusal.done", place.text("refusal", text))
                    }
                    Content::Text(text) => (
                        "response.output_text.done",
                        place.text("text", text).raw("logprobs", "[]"),
                    ),
                    _ => return,
                };
                self.send(kind, place, out);
                let place = self.place().raw("part", &json);
                self.send("response.content_part.done", place, out);
            }
            Some(Item::Reasoning(thought)) if !thought.text.is_empty() => {
                let json = output::summary(&thought.text);
                let place = place.text("text", &thought.text);
                self.send("response.reasoning_summary_text.done", place, out);
                let place = self.place().raw("part", &json);
                self.send("response.reasoning_summary_part.done", place, out);
            }
            Some(Item::Call(call)) => {
                let place = place
                    .text("name", &call.name)
                    .text("arguments", &call.arguments);
                self.send("response.function_call_arguments.done", place, out);
            }
            Some(Item::Reasoning(_)) | None => {}
        }
    }

    /// Ends the item that is open.
    fn close(&mut self, out: &mut Vec<u8>) {
        self.close_part(out);
        if let Some(json) = self.item("response.output_item.done", "completed", out) {
            self.done.push(json);
        }
        self.open = None;
    }
}

/// Ends a stream that was passed on as it came, after so many events, with an error.
pub fn write_failure(refused: &Refused, events: u64, out: &mut Vec<u8>) {
    let event = Object::of_type("error")
        .text("code", &refused.code)
        .text("message", &refused.message)
        .raw("param", "null")
        .plain("sequence_number", events);
    sse::write(Some("error"), &event.end(), out);
}

/// A signature without the vendor's name for its thought: the item has told the name that it has.
fn unnamed(signature: &Signature) -> Signature {
    Signature::new(signature.by, signature.value.clone())
}
