//! A provider's stream.

use crate::answer::Stop;
use crate::error::{Broken, NotAnAnswer, Said};
use crate::event::{Delta, Event};
use crate::openai::call::with_id;
use crate::openai::error;
use crate::openai::said::{member, text, value};
use crate::ordered::{Late, Ordered};
use crate::request::{Content, Thought, ToolCall};
use crate::responses::answer::Response;
use crate::responses::{outgoing, output};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashMap;

/// Reads the events of a stream. Types that are new to us are passed over.
#[derive(Debug, Default)]
pub struct Reader {
    started: bool,
    id: String,
    model: String,
    parts: Ordered,
    /// By the provider's output index.
    items: HashMap<u64, Item>,
    /// The output index of the last item.
    last: u64,
    calls: usize,
    refused: bool,
    done: bool,
}

/// What has come of an item.
#[derive(Debug, Default)]
struct Item {
    /// The part that goes on, and the index of the text within the item.
    open: Option<(usize, u64, Kind)>,
    /// How many texts of a message are complete or open.
    texts: usize,
    /// Whether a call's arguments have come.
    has_arguments: bool,
    ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Refusal,
    Reasoning,
    Call,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
    #[serde(borrow, default)]
    item: Option<&'a RawValue>,
    #[serde(borrow, default)]
    output_index: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content_index: Option<&'a RawValue>,
    #[serde(borrow, default)]
    summary_index: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

impl Reader {
    /// Takes the next event. Its type stands in the data, or else in its name.
    ///
    /// # Errors
    /// [`Broken`], for an error in the stream and for what is no event.
    pub fn read(&mut self, name: &str, data: &str, out: &mut Vec<Event>) -> Result<(), Broken> {
        let data = data.trim();
        if data.is_empty() || data == "[DONE]" || self.done {
            return Ok(());
        }
        let wrong = || NotAnAnswer::new("the event is none of a response");
        if !data.starts_with('{') {
            return Err(wrong().into());
        }
        let event: Data = serde_json::from_str(data).map_err(|_| wrong())?;
        let kind = text(event.kind).unwrap_or_else(|| name.to_owned());
        let before = out.len();
        let late = |Late| NotAnAnswer::new("a part of the answer goes on after its end");
        match kind.as_str() {
            "response.created" | "response.queued" | "response.in_progress" => {
                if let Some(raw) = event.response {
                    self.start(&Response::read(raw.get())?, out);
                }
            }
            "response.completed" | "response.incomplete" => {
                let raw = event.response.ok_or_else(wrong)?;
                self.finish(&Response::read(raw.get())?, out)
                    .map_err(late)?;
            }
            "response.failed" => {
                let said = event
                    .response
                    .and_then(|raw| Response::read(raw.get()).ok());
                let said = said.and_then(|response| response.error());
                return Err(Broken::Said(said.unwrap_or_else(unsaid)));
            }
            "error" => {
                let said = error::read(data).unwrap_or_else(unsaid);
                return Err(Broken::Said(said));
            }
            _ => self.item_event(&kind, &event, out).map_err(late)?,
        }
        self.started |= out.len() > before; // nothing comes before the start
        Ok(())
    }

    /// The bytes have ended: passes on what was held back.
    pub fn end(&mut self, out: &mut Vec<Event>) {
        self.parts.end_all(out);
        self.done = true;
    }

    fn start(&mut self, response: &Response<'_>, out: &mut Vec<Event>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let id = response.id();
        self.id = id.clone().unwrap_or_default();
        let model = response.model();
        self.model = model.clone().unwrap_or_default();
        out.push(Event::Start { id, model });
    }

    fn finish(&mut self, response: &Response<'_>, out: &mut Vec<Event>) -> Result<(), Late> {
        self.start(response, out);
        // Items of which no event told: some servers send them at the end alone.
        for (index, item) in (0u64..).zip(response.output().unwrap_or_default()) {
            if !self.items.contains_key(&index) {
                self.item(index, &item, out)?;
            }
        }
        self.parts.end_all(out);
        out.extend(response.usage().map(Event::Usage));
        let stop = match response.stop() {
            Stop::End if self.calls > 0 => Stop::ToolCalls,
            Stop::End if self.refused => Stop::Refusal,
            stop => stop,
        };
        out.push(Event::Stop(stop));
        self.done = true;
        Ok(())
    }

    fn item_event(
        &mut self,
        kind: &str,
        event: &Data<'_>,
        out: &mut Vec<Event>,
    ) -> Result<(), Late> {
        let number = |raw| value(raw).and_then(|number| number.as_u64());
        let index = number(event.output_index).unwrap_or(self.last);
        let content = number(event.content_index.or(event.summary_index)).unwrap_or(0);
        let delta = || text(event.delta);
        match kind {
            "response.output_item.added" => {
                self.last = index;
                self.items.entry(index).or_default();
                let item = value(event.item).unwrap_or_default();
                if member(&item, "type") == Some("function_call") {
                    self.call(index, &item, out)?;
                }
                Ok(())
            }
            "response.output_text.delta" => self.text(index, content, Kind::Text, delta(), out),
            "response.refusal.delta" => self.text(index, content, Kind::Refusal, delta(), out),
            "response.reasoning_text.delta" | "response.reasoning_summary_text.delta" => {
                self.text(index, content, Kind::Reasoning, delta(), out)
            }
            "response.function_call_arguments.delta" => self.arguments(index, delta(), out),
            "response.function_call_arguments.done" => {
                let known = self.items.get(&index);
                let whole = text(event.arguments);
                let missed = whole.filter(|_| known.is_some_and(|item| !item.has_arguments));
                self.arguments(index, missed, out)
            }
            "response.output_item.done" => {
                let item = value(event.item).unwrap_or_default();
                self.item(index, &item, out)
            }
            _ => Ok(()),
        }
    }

    /// More of a text. Parts of a thought become one, with an empty line between them.
    fn text(
        &mut self,
        index: u64,
        content: u64,
        kind: Kind,
        text: Option<String>,
        out: &mut Vec<Event>,
    ) -> Result<(), Late> {
        let Some(mut text) = text else {
            return Ok(());
        };
        self.refused |= kind == Kind::Refusal;
        let item = self.items.entry(index).or_default();
        if item.ended {
            return Err(Late);
        }
        let part = match item.open {
            Some((part, at, open)) if open == kind && at == content => part,
            Some((part, _, Kind::Reasoning)) if kind == Kind::Reasoning => {
                text.insert_str(0, "\n\n");
                part
            }
            before => {
                if let Some((part, _, _)) = before {
                    self.parts.end(part, out);
                }
                item.texts += 1;
                self.parts.open()
            }
        };
        item.open = Some((part, content, kind));
        let delta = match kind {
            Kind::Text => Delta::Text(text),
            Kind::Refusal => Delta::Refusal(text),
            Kind::Reasoning => Delta::Reasoning(text),
            Kind::Call => return Ok(()),
        };
        self.parts.push(part, delta, out)
    }

    fn call(&mut self, index: u64, item: &Value, out: &mut Vec<Event>) -> Result<(), Late> {
        let ToolCall {
            id,
            name,
            arguments,
            signature,
        } = with_id(output::call(item), &self.id, self.calls);
        self.calls += 1;
        let part = self.parts.open();
        self.items.entry(index).or_default().open = Some((part, 0, Kind::Call));
        let begins = Delta::ToolCall {
            id,
            name,
            signature,
        };
        self.parts.push(part, begins, out)?;
        self.arguments(index, Some(arguments), out)
    }

    fn arguments(
        &mut self,
        index: u64,
        arguments: Option<String>,
        out: &mut Vec<Event>,
    ) -> Result<(), Late> {
        let Some(item) = self.items.get_mut(&index) else {
            return Ok(());
        };
        let arguments = arguments.filter(|arguments| !arguments.is_empty());
        if let (Some(arguments), Some((part, _, Kind::Call))) = (arguments, item.open) {
            item.has_arguments = true;
            self.parts.push(part, Delta::Arguments(arguments), out)?;
        }
        Ok(())
    }

    /// A whole item: what no event told of it, and its end.
    fn item(&mut self, index: u64, item: &Value, out: &mut Vec<Event>) -> Result<(), Late> {
        let known = self.items.entry(index).or_default();
        if known.ended {
            return Ok(());
        }
        let (texts, open, has_arguments) = (known.texts, known.open, known.has_arguments);
        let signer = outgoing::signer(&self.model);
        let contents = output::read(item, signer, &self.id, self.calls);
        for (position, content) in contents.into_iter().enumerate() {
            match content {
                Content::Text(text) if position >= texts => {
                    self.text(index, position as u64, Kind::Text, Some(text), out)?;
                }
                Content::Refusal(text) if position >= texts => {
                    self.text(index, position as u64, Kind::Refusal, Some(text), out)?;
                }
                Content::Reasoning(thought) => self.thought(index, thought, texts > 0, out)?,
                Content::ToolCall(_) if open.is_none() => self.call(index, item, out)?,
                Content::ToolCall(call) if !has_arguments => {
                    self.arguments(index, Some(call.arguments), out)?;
                }
                _ => {}
            }
        }
        let known = self.items.entry(index).or_default();
        known.ended = true;
        if let Some((part, _, _)) = known.open {
            self.parts.end(part, out);
        }
        Ok(())
    }

    fn thought(
        &mut self,
        index: u64,
        thought: Thought,
        told: bool,
        out: &mut Vec<Event>,
    ) -> Result<(), Late> {
        if !told && !thought.text.is_empty() {
            self.text(index, 0, Kind::Reasoning, Some(thought.text), out)?;
        }
        let Some(signature) = thought.signature else {
            return Ok(());
        };
        let known = self.items.entry(index).or_default();
        let part = match known.open {
            Some((part, _, Kind::Reasoning)) => part,
            // Something else came under the same number.
            before => {
                if let Some((part, _, _)) = before {
                    self.parts.end(part, out);
                }
                self.parts.open()
            }
        };
        known.open = Some((part, 0, Kind::Reasoning));
        self.parts.push(part, Delta::Signature(signature), out)
    }
}

fn unsaid() -> Said {
    Said {
        message: "the provider says that the answer failed, and not why".to_owned(),
        ..Said::default()
    }
}
