//! Streams of Gemini.

use super::answer::{stop, usage};
use super::error::read_error;
use crate::answer::Stop;
use crate::error::{Broken, NotAnAnswer};
use crate::event::{Delta, Event};
use crate::names::call_id;
use crate::reading::{Json, filled};
use crate::signature::{Signature, Signer};

/// Reads a stream. The stop is held back to the end of the bytes: models have sent content after a reason to finish.
#[derive(Debug, Default)]
pub struct Reader {
    started: bool,
    id: String,
    /// The part that is being added to.
    open: Option<(usize, Kind)>,
    /// The next part.
    next: usize,
    answered: bool,
    calls: bool,
    stop: Option<Stop>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thought,
}

impl Reader {
    /// Reads one event; Gemini's have no type.
    ///
    /// # Errors
    /// [`Broken`] for what is no JSON object, and for an error in the middle of the stream.
    pub fn read(&mut self, _name: &str, data: &str, out: &mut Vec<Event>) -> Result<(), Broken> {
        if data.is_empty() || data == "[DONE]" {
            return Ok(());
        }
        let event = Json::parse(data).filter(|event| event.is_object());
        let Some(event) = event else {
            return Err(match read_error(data) {
                Some(said) => Broken::Said(said),
                None => NotAnAnswer::new("an event is not a JSON object").into(),
            });
        };
        let [error, candidates, feedback, metadata, id, model] = event.pick([
            "error",
            "candidates",
            "promptFeedback",
            "usageMetadata",
            "responseId",
            "modelVersion",
        ]);
        if error.is_some() {
            return Err(Broken::Said(read_error(data).unwrap_or_default()));
        }
        if !std::mem::replace(&mut self.started, true) {
            let id = filled(id);
            self.id = id.clone().unwrap_or_default();
            out.push(Event::Start {
                id,
                model: filled(model),
            });
        }
        match candidates.and_then(Json::first) {
            Some(candidate) => self.candidate(candidate, out),
            None => {
                let blocked = feedback.and_then(|feedback| feedback.get("blockReason"));
                self.stop = blocked.map(|_| Stop::Filter).or(self.stop.take());
            }
        }
        out.extend(metadata.and_then(usage).map(Event::Usage));
        Ok(())
    }

    /// Ends the stream: with the stop, if Gemini said why it finished.
    pub fn end(&mut self, out: &mut Vec<Event>) {
        out.extend(self.stop.take().map(Event::Stop));
    }

    /// Whether a candidate was there.
    pub(super) fn has_answered(&self) -> bool {
        self.answered
    }

    /// What a reason to finish means after what was read: Gemini has none for function calls.
    pub(super) fn stop_of(&self, reason: &str) -> Stop {
        match stop(reason) {
            Stop::End if self.calls => Stop::ToolCalls,
            stop => stop,
        }
    }

    fn candidate(&mut self, candidate: Json<'_>, out: &mut Vec<Event>) {
        self.answered = true;
        let [content, reason] = candidate.pick(["content", "finishReason"]);
        if let Some(parts) = content.and_then(|content| content.get("parts")) {
            parts.each(|part| {
                self.part(part, out);
                true
            });
        }
        if let Some(reason) = filled(reason) {
            self.stop = Some(self.stop_of(&reason));
        } else if self.calls && self.stop == Some(Stop::End) {
            self.stop = Some(Stop::ToolCalls);
        }
    }

    fn part(&mut self, part: Json<'_>, out: &mut Vec<Event>) {
        let [text, thought, call, signature] =
            part.pick(["text", "thought", "functionCall", "thoughtSignature"]);
        let signature = filled(signature).map(|value| Signature::new(Signer::Google, value));
        if let Some(call) = call {
            return self.call(call, signature, out);
        }
        if let Some(text) = filled(text) {
            let (kind, delta) = match thought.is_some_and(Json::is_true) {
                true => (Kind::Thought, Delta::Reasoning(text)),
                false => (Kind::Text, Delta::Text(text)),
            };
            let part = self.part_of(kind);
            out.push(Event::Delta { part, delta });
        }
        if let Some(signature) = signature {
            // That of a text stands in a thought of its own after it. It is whole, so what follows belongs to another part.
            let part = self.part_of(Kind::Thought);
            self.open = None;
            let delta = Delta::Signature(signature);
            out.push(Event::Delta { part, delta });
        }
    }

    fn call(&mut self, call: Json<'_>, signature: Option<Signature>, out: &mut Vec<Event>) {
        let [id, name, args] = call.pick(["id", "name", "args"]);
        let Some(name) = filled(name) else {
            return; // nobody could answer it
        };
        let arguments = args.map_or("{}", Json::text).to_owned();
        let part = self.begin();
        let id = filled(id).unwrap_or_else(|| call_id(&self.id, part, &name, &arguments));
        self.calls = true;
        let begun = Delta::ToolCall {
            id,
            name,
            signature,
        };
        out.extend([begun, Delta::Arguments(arguments)].map(|delta| Event::Delta { part, delta }));
    }

    /// The open part, if it is of this kind, or a new one.
    fn part_of(&mut self, kind: Kind) -> usize {
        match self.open {
            Some((part, open)) if open == kind => part,
            _ => {
                let part = self.begin();
                self.open = Some((part, kind));
                part
            }
        }
    }

    fn begin(&mut self) -> usize {
        let part = self.next;
        self.next += 1;
        self.open = None;
        part
    }
}
