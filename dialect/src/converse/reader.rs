//! ConverseStream's events.

use super::answer::{read_model, read_stop, read_usage};
use super::error::read_exception;
use super::frames::Frame;
use crate::error::{Broken, NotAnAnswer};
use crate::event::{Delta, Event};
use crate::object::Object;
use crate::ordered::Keyed;
use crate::signature::{Signature, Signer};
use oarmaster_protocol::text;
use std::collections::HashMap;

/// Reads the events of ConverseStream. Usage follows the stop.
#[derive(Debug, Default)]
pub struct Reader {
    started: bool,
    stopped: bool,
    parts: Keyed<u64>,
    /// The blocks that are open and were begun, by Bedrock's number: whether it is a call of a tool that the caller runs.
    calls: HashMap<u64, bool>,
}

impl Reader {
    /// Takes a frame.
    ///
    /// # Errors
    /// As [`Self::read`], and for every exception.
    pub fn read_frame(&mut self, frame: &Frame, out: &mut Vec<Event>) -> Result<(), Broken> {
        let payload = text::json(&frame.payload).text;
        if frame.exception {
            return Err(Broken::Said(read_exception(&frame.name, &payload)));
        }
        self.read(&frame.name, &payload, out)
    }

    /// Takes an event: its type, and its payload.
    ///
    /// # Errors
    /// [`Broken`] for a payload that is no JSON object, and for a type that is an exception's.
    pub fn read(&mut self, name: &str, data: &str, out: &mut Vec<Event>) -> Result<(), Broken> {
        if name.ends_with("Exception") {
            return Err(Broken::Said(read_exception(name, data)));
        }
        let Some(event) = Object::parse(data) else {
            let not = NotAnAnswer::new("an event of the stream is not a JSON object");
            return Err(not.into());
        };
        if name == "metadata" {
            self.metadata(&event, out);
            return Ok(());
        }
        if self.stopped {
            return Ok(());
        }
        let index = event.count("contentBlockIndex").ok().flatten().unwrap_or(0);
        match name {
            "messageStart" => self.start(None, out),
            "contentBlockStart" => self.begin(index, &event, out),
            "contentBlockDelta" => self.more(index, &event, out),
            "contentBlockStop" => {
                self.calls.remove(&index);
                self.parts.end(&index, out);
            }
            "messageStop" => self.stop(&event, out),
            _ => {} // what is newer than this
        }
        Ok(())
    }

    /// The bytes have ended. What was held back comes out; a stop that was not sent does not.
    pub fn end(&mut self, out: &mut Vec<Event>) {
        self.parts.end_all(out);
    }

    fn start(&mut self, model: Option<String>, out: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.started, true) {
            out.push(Event::Start { id: None, model });
        }
    }

    fn begin(&mut self, index: u64, event: &Object<'_>, out: &mut Vec<Event>) {
        self.start(None, out);
        let start = event.object("start");
        let call = start.and_then(|start| start.object("toolUse"));
        let Some(call) = call else {
            // A tool's result, a picture.
            self.calls.insert(index, false);
            return;
        };
        let ours = call.text("type").as_deref() != Some("server_tool_use");
        self.calls.insert(index, ours);
        if ours {
            let call = Delta::ToolCall {
                id: call.text("toolUseId").unwrap_or_default(),
                name: call.text("name").unwrap_or_default(),
                signature: None,
            };
            self.parts.push(index, call, out);
        }
    }

    fn more(&mut self, index: u64, event: &Object<'_>, out: &mut Vec<Event>) {
        self.start(None, out);
        let Some(delta) = event.object("delta") else {
            return;
        };
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let reasoning = delta.object("reasoningContent");
        let thought = |name| filled(reasoning.as_ref().and_then(|thought| thought.text(name)));
        let mut deltas = Vec::new();
        deltas.extend(filled(delta.text("text")).map(Delta::Text));
        deltas.extend(thought("text").map(Delta::Reasoning));
        let signature = |name| thought(name).map(|value| Signature::new(Signer::Anthropic, value));
        deltas.extend(signature("signature").map(Delta::Signature));
        deltas.extend(signature("redactedContent").map(Delta::Redacted));
        if self.calls.get(&index) == Some(&true) {
            let input = delta.object("toolUse").and_then(|call| call.text("input"));
            deltas.extend(filled(input).map(Delta::Arguments));
        }
        for delta in deltas {
            self.parts.push(index, delta, out);
        }
    }

    fn stop(&mut self, event: &Object<'_>, out: &mut Vec<Event>) {
        self.start(None, out);
        self.stopped = true;
        self.parts.end_all(out);
        let more = event.object("additionalModelResponseFields");
        let reason = event.text("stopReason").unwrap_or_default();
        out.push(Event::Stop(read_stop(&reason, more.as_ref())));
    }

    fn metadata(&mut self, event: &Object<'_>, out: &mut Vec<Event>) {
        // A start that comes this late can still name the model, if nothing came before it.
        self.start(read_model(event), out);
        out.extend(read_usage(event).map(Event::Usage));
    }
}
