//! Streams of Cohere.

use super::answer::{failed, stop, usage};
use super::error::read_error;
use crate::answer::Stop;
use crate::error::{Broken, NotAnAnswer, Said};
use crate::event::{Delta, Event};
use crate::names::call_id;
use crate::ordered::Keyed;
use crate::reading::{Json, filled};

/// Reads a stream.
#[derive(Debug, Default)]
pub struct Reader {
    /// Whether it is too late for a start.
    started: bool,
    id: String,
    parts: Keyed<Key>,
    calls: usize,
    stopped: bool,
}

/// What a part is for Cohere. Content and tool calls are numbered apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Content {
        index: u64,
        /// What the model thought, or text. One that turns from one to the other is two parts.
        thought: bool,
    },
    /// It has neither a number nor an end: it ends when something else begins.
    Plan,
    Call(u64),
}

impl Reader {
    /// Reads one event. Its type stands in the data; `name` counts where it does not.
    ///
    /// # Errors
    /// [`Broken`] for what is no JSON object, and when Cohere says that it failed.
    pub fn read(&mut self, name: &str, data: &str, out: &mut Vec<Event>) -> Result<(), Broken> {
        if self.stopped || data.is_empty() || data == "[DONE]" {
            return Ok(());
        }
        let event = Json::parse(data).filter(|event| event.is_object());
        let event = event.ok_or_else(|| NotAnAnswer::new("an event is not a JSON object"))?;
        let [kind, id, index, delta] = event.pick(["type", "id", "index", "delta"]);
        let kind = filled(kind).unwrap_or_else(|| name.to_owned());
        let index = index.and_then(Json::count).unwrap_or_default();
        let message = delta.and_then(|delta| delta.get("message"));
        let field = |name| message.and_then(|message| message.get(name));
        match kind.as_str() {
            "message-start" => self.start(id, out),
            "content-start" | "content-delta" => self.content(index, field("content"), out),
            "content-end" => {
                self.end_content(index, out);
            }
            "tool-plan-delta" => {
                let text = filled(field("tool_plan"));
                self.text(Key::Plan, text.map(Delta::Reasoning), out);
            }
            "tool-call-start" => self.call(index, field("tool_calls"), out),
            "tool-call-delta" => self.arguments(index, field("tool_calls"), out),
            "tool-call-end" => self.parts.end(&Key::Call(index), out),
            "message-end" => return self.finish(delta, out),
            _ => {
                if let (None, Some(said)) = (event.get("type"), read_error(data)) {
                    return Err(Broken::Said(said));
                }
            }
        }
        Ok(())
    }

    /// Ends the stream.
    pub fn end(&mut self, out: &mut Vec<Event>) {
        self.parts.end_all(out);
    }

    fn start(&mut self, id: Option<Json<'_>>, out: &mut Vec<Event>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let id = filled(id);
        self.id = id.clone().unwrap_or_default();
        out.push(Event::Start { id, model: None });
    }

    fn content(&mut self, index: u64, content: Option<Json<'_>>, out: &mut Vec<Event>) {
        let Some(content) = content else { return };
        let [text, thinking] = content.pick(["text", "thinking"]);
        let key = |thought| Key::Content { index, thought };
        self.text(key(true), filled(thinking).map(Delta::Reasoning), out);
        self.text(key(false), filled(text).map(Delta::Text), out);
    }

    fn text(&mut self, key: Key, delta: Option<Delta>, out: &mut Vec<Event>) {
        let Some(delta) = delta else { return };
        self.started = true;
        if !self.parts.is_open(&key) {
            self.parts.end(&Key::Plan, out);
            if let Key::Content { index, .. } = key {
                self.end_content(index, out);
            }
        }
        self.parts.push(key, delta, out);
    }

    fn end_content(&mut self, index: u64, out: &mut Vec<Event>) {
        for thought in [true, false] {
            self.parts.end(&Key::Content { index, thought }, out);
        }
    }

    fn call(&mut self, index: u64, call: Option<Json<'_>>, out: &mut Vec<Event>) {
        let Some([id, function]) = one(call).map(|call| call.pick(["id", "function"])) else {
            return;
        };
        let Some([name, arguments]) = function.map(|function| function.pick(["name", "arguments"]))
        else {
            return;
        };
        let Some(name) = filled(name) else {
            return; // nobody could answer it
        };
        let id = filled(id).unwrap_or_else(|| call_id(&self.id, self.calls, &name, ""));
        self.started = true;
        self.calls += 1;
        let key = Key::Call(index);
        self.parts.end(&Key::Plan, out);
        self.parts.end(&key, out);
        let begun = Delta::ToolCall {
            id,
            name,
            signature: None,
        };
        self.parts.push(key, begun, out);
        if let Some(arguments) = filled(arguments) {
            self.parts.push(key, Delta::Arguments(arguments), out);
        }
    }

    fn arguments(&mut self, index: u64, call: Option<Json<'_>>, out: &mut Vec<Event>) {
        let function = one(call).and_then(|call| call.get("function"));
        let more = filled(function.and_then(|function| function.get("arguments")));
        let key = Key::Call(index);
        if let Some(more) = more.filter(|_| self.parts.is_open(&key)) {
            self.parts.push(key, Delta::Arguments(more), out);
        }
    }

    fn finish(&mut self, delta: Option<Json<'_>>, out: &mut Vec<Event>) -> Result<(), Broken> {
        let [reason, counted, error] = delta.map_or([None; 3], |delta| {
            delta.pick(["finish_reason", "usage", "error"])
        });
        let error = filled(error);
        self.parts.end_all(out);
        out.extend(counted.and_then(usage).map(Event::Usage));
        self.started = true;
        self.stopped = true;
        let reason = filled(reason).unwrap_or_else(|| "COMPLETE".to_owned());
        if error.is_some() || failed(&reason) {
            return Err(Broken::Said(Said {
                message: error.unwrap_or_default(),
                kind: Some(reason),
                ..Said::default()
            }));
        }
        out.push(Event::Stop(match stop(&reason) {
            Stop::End if self.calls > 0 => Stop::ToolCalls,
            stop => stop,
        }));
        Ok(())
    }
}

/// The call of an event. It is one, in a field whose name is in the plural.
fn one(call: Option<Json<'_>>) -> Option<Json<'_>> {
    call.and_then(|call| {
        if call.is_object() {
            Some(call)
        } else {
            call.first()
        }
    })
}
