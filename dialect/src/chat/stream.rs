//! A provider's stream.

use crate::answer::Stop;
use crate::chat::brackets::Brackets;
use crate::chat::chunk::{Choice, Piece, Top, pieces, tool_call};
use crate::chat::thoughts;
use crate::error::{Broken, NotAnAnswer};
use crate::event::{Delta, Event};
use crate::openai::call::with_id;
use crate::openai::said::member;
use crate::ordered::{Late, Ordered};
use crate::request::{Thought, ToolCall};
use serde_json::Value;

/// No model calls more tools in one answer.
const MAX_CALLS: usize = 1024;

/// Reads the chunks of a stream. Only the choice with index 0 is read. The stop is passed on when the stream ends, so that what comes after a
/// finish reason is not lost.
#[derive(Debug, Default)]
pub struct Reader {
    started: bool,
    id: String,
    parts: Ordered,
    open: Option<Open>,
    calls: Vec<Call>,
    stop: Option<Stop>,
    refused: bool,
    done: bool,
}

/// The part that goes on, if it is no call.
#[derive(Debug)]
struct Open {
    kind: Kind,
    part: usize,
    signed: bool,
    /// The words of a thought.
    thought: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Refusal,
    Reasoning,
}

#[derive(Debug)]
struct Call {
    /// The provider's number. It may be missing, or the same for all.
    index: Option<u64>,
    id: String,
    part: usize,
    brackets: Brackets,
    /// Whether its name was passed on; until then the rest waits.
    begun: bool,
    waiting: ToolCall,
}

impl Reader {
    /// Takes the next event. Its name says nothing in this dialect.
    ///
    /// # Errors
    /// [`Broken`], for an error in the stream and for what is no chunk.
    pub fn read(&mut self, _name: &str, data: &str, out: &mut Vec<Event>) -> Result<(), Broken> {
        let data = data.trim();
        if data == "[DONE]" {
            self.end(out);
            return Ok(());
        }
        if data.is_empty() || self.done {
            return Ok(());
        }
        let before = out.len();
        let top = Top::read(data)?;
        if let Some(said) = top.error() {
            return Err(Broken::Said(said));
        }
        if !self.started && (top.id().is_some() || top.model().is_some()) {
            self.start(top.id(), top.model(), out); // Azure's first chunk has neither
        }
        if let Some(choice) = top.choice() {
            self.choice(&choice, out)?;
        }
        if let Some(usage) = top.usage() {
            out.push(Event::Usage(usage));
        }
        self.started |= out.len() > before; // nothing comes before the start
        Ok(())
    }

    /// The bytes have ended: passes on what was held back, and the stop if one was sent.
    pub fn end(&mut self, out: &mut Vec<Event>) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        for call in &mut self.calls {
            // A call whose name never came has none. Its part is open until here, so this cannot be late.
            begin(call, &mut self.parts, out).unwrap_or_default();
        }
        self.parts.end_all(out);
        match self.stop.take() {
            Some(Stop::End) if !self.calls.is_empty() => out.push(Event::Stop(Stop::ToolCalls)),
            Some(Stop::End) if self.refused => out.push(Event::Stop(Stop::Refusal)),
            Some(stop) => out.push(Event::Stop(stop)),
            None => {}
        }
    }

    fn start(&mut self, id: Option<String>, model: Option<String>, out: &mut Vec<Event>) {
        self.started = true;
        self.id = id.clone().unwrap_or_default();
        out.push(Event::Start { id, model });
    }

    fn choice(&mut self, choice: &Choice<'_>, out: &mut Vec<Event>) -> Result<(), Broken> {
        if let Some(said) = choice.failure() {
            return Err(Broken::Said(said));
        }
        if let Some(delta) = choice.delta() {
            self.delta(&delta, out)
                .map_err(|Late| NotAnAnswer::new("a part of the answer goes on after its end"))?;
        }
        if self.calls.len() > MAX_CALLS {
            return Err(NotAnAnswer::new("the answer calls more tools than are believed").into());
        }
        if let Some(stop) = choice.stop() {
            self.stop = Some(stop);
        }
        Ok(())
    }

    fn delta(&mut self, delta: &Value, out: &mut Vec<Event>) -> Result<(), Late> {
        let details = thoughts::details_of(delta.get("reasoning_details"));
        let told = details.iter().any(|thought| !thought.text.is_empty());
        let plain = member(delta, "reasoning_content").or_else(|| member(delta, "reasoning"));
        if let Some(text) = plain.filter(|_| !told) {
            self.piece(Piece::Reasoning(text), out)?;
        }
        for thought in details {
            self.thought(thought, out)?;
        }
        for piece in pieces(delta.get("content")) {
            self.piece(piece, out)?;
        }
        if let Some(text) = member(delta, "refusal") {
            self.piece(Piece::Refusal(text), out)?;
        }
        let calls = delta.get("tool_calls").and_then(Value::as_array);
        for call in calls.into_iter().flatten().take(MAX_CALLS + 1) {
            self.call(
                call.get("index").and_then(Value::as_u64),
                tool_call(call),
                out,
            )?;
        }
        if let Some(call) = delta.get("function_call").filter(|call| call.is_object()) {
            self.call(Some(0), tool_call(call), out)?;
        }
        Ok(())
    }

    fn thought(&mut self, thought: Thought, out: &mut Vec<Event>) -> Result<(), Late> {
        if thought.redacted {
            let Some(data) = thought.signature else {
                return Ok(());
            };
            let part = self.next(out);
            self.parts.push(part, Delta::Redacted(data), out)?;
            self.parts.end(part, out);
            return Ok(());
        }
        // Some send the words once more beside the signature.
        let open = self.open.as_ref().filter(|open| !open.signed);
        let again =
            thought.signature.is_some() && open.is_some_and(|open| open.thought == thought.text);
        if !thought.text.is_empty() && !again {
            self.piece(Piece::Reasoning(&thought.text), out)?;
        }
        match thought.signature {
            Some(signature) => self.piece(Piece::Signature(signature), out),
            None => Ok(()),
        }
    }

    fn piece(&mut self, piece: Piece<'_>, out: &mut Vec<Event>) -> Result<(), Late> {
        let (kind, delta) = match piece {
            Piece::Text(text) => (Kind::Text, Delta::Text(text.to_owned())),
            Piece::Refusal(text) => (Kind::Refusal, Delta::Refusal(text.to_owned())),
            Piece::Reasoning(text) => (Kind::Reasoning, Delta::Reasoning(text.to_owned())),
            Piece::Signature(text) => (Kind::Reasoning, Delta::Signature(text)),
        };
        self.refused |= kind == Kind::Refusal;
        let signed = matches!(delta, Delta::Signature(_));
        match &mut self.open {
            Some(open) if open.kind == kind && !open.signed => open.signed = signed,
            _ => {
                let part = self.next(out);
                self.open = Some(Open {
                    kind,
                    part,
                    signed,
                    thought: String::new(),
                });
            }
        }
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        if let Delta::Reasoning(text) = &delta {
            open.thought.push_str(text);
        }
        self.parts.push(open.part, delta, out)
    }

    /// Begins a part. The one before it has ended, calls only where their arguments are complete: a provider may go on with several in turn.
    fn next(&mut self, out: &mut Vec<Event>) -> usize {
        let part = self.parts.open();
        if let Some(open) = self.open.take() {
            self.parts.end(open.part, out);
        }
        for call in &self.calls {
            if call.begun && call.brackets.is_complete() {
                self.parts.end(call.part, out);
            }
        }
        part
    }

    fn call(
        &mut self,
        index: Option<u64>,
        piece: ToolCall,
        out: &mut Vec<Event>,
    ) -> Result<(), Late> {
        let position = match self.find(index, &piece) {
            Some(position) => position,
            None => {
                let part = self.next(out);
                self.calls.push(Call {
                    index,
                    id: piece.id.clone(),
                    part,
                    brackets: Brackets::default(),
                    begun: false,
                    waiting: ToolCall::default(),
                });
                self.calls.len() - 1
            }
        };
        let is_last = position + 1 == self.calls.len() && self.open.is_none();
        let answer = self.id.clone();
        let Some(call) = self.calls.get_mut(position) else {
            return Ok(());
        };
        call.brackets.push(&piece.arguments);
        if call.begun {
            if !piece.arguments.trim().is_empty() || !call.brackets.is_complete() {
                let more = Delta::Arguments(piece.arguments);
                push_unless_empty(&mut self.parts, call.part, more, out)?;
            }
        } else {
            let waiting = &mut call.waiting;
            waiting.arguments.push_str(&piece.arguments);
            take(&mut waiting.id, piece.id);
            take(&mut waiting.name, piece.name);
            waiting.signature = waiting.signature.take().or(piece.signature);
            if !waiting.name.is_empty() {
                call.waiting = with_id(std::mem::take(waiting), &answer, position);
                begin(call, &mut self.parts, out)?;
            }
        }
        if !is_last && call.begun && call.brackets.is_complete() {
            self.parts.end(call.part, out);
        }
        Ok(())
    }

    /// The call that a piece goes on. Some servers number all calls 0, or none: a new id with a name begins a new call.
    fn find(&self, index: Option<u64>, piece: &ToolCall) -> Option<usize> {
        let is_other = |call: &Call| {
            let known = [&call.id, &call.waiting.id];
            !piece.id.is_empty()
                && !piece.name.is_empty()
                && known.iter().any(|id| !id.is_empty())
                && !known.contains(&&piece.id)
        };
        match index {
            Some(_) => self.calls.iter().rposition(|call| call.index == index),
            None if !piece.id.is_empty() => {
                return self.calls.iter().rposition(|call| call.id == piece.id);
            }
            // Without number and id a name begins a call, and arguments go on with the last.
            None if !piece.name.is_empty() => None,
            None => self.calls.len().checked_sub(1),
        }
        .filter(|position| !self.calls.get(*position).is_some_and(is_other))
    }
}

fn take(known: &mut String, more: String) {
    if known.is_empty() {
        *known = more;
    }
}

/// Passes a call's beginning on, with the arguments that waited for it.
fn begin(call: &mut Call, parts: &mut Ordered, out: &mut Vec<Event>) -> Result<(), Late> {
    if std::mem::replace(&mut call.begun, true) {
        return Ok(());
    }
    let ToolCall {
        id,
        name,
        arguments,
        signature,
    } = std::mem::take(&mut call.waiting);
    call.id.clone_from(&id);
    let begins = Delta::ToolCall {
        id,
        name,
        signature,
    };
    parts.push(call.part, begins, out)?;
    push_unless_empty(parts, call.part, Delta::Arguments(arguments), out)
}

fn push_unless_empty(
    parts: &mut Ordered,
    part: usize,
    delta: Delta,
    out: &mut Vec<Event>,
) -> Result<(), Late> {
    if matches!(&delta, Delta::Arguments(text) if text.is_empty()) {
        return Ok(());
    }
    parts.push(part, delta, out)
}
