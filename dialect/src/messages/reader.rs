//! An upstream's stream.

use super::answer::{read_stop, signer};
use super::error::read_error;
use super::usage::Counted;
use crate::answer::Stop;
use crate::error::{Broken, NotAnAnswer, Said};
use crate::event::{Delta, Event};
use crate::object::Object;
use crate::ordered::Keyed;
use crate::signature::{Signature, Signer};
use std::collections::HashMap;

/// Reads the events of a streamed message.
///
/// Usage comes once, with the end of the message; of a stream that was cut before it, [`Self::end`] gives what the beginning said.
#[derive(Debug, Default)]
pub struct Reader {
    started: bool,
    /// Whose signatures the model makes, once it is named.
    signer: Option<Signer>,
    stopped: bool,
    told_usage: bool,
    called: bool,
    stop: Option<Stop>,
    counted: Counted,
    parts: Keyed<u64>,
    /// The blocks that are open, by Anthropic's number.
    blocks: HashMap<u64, Block>,
}

#[derive(Debug)]
enum Block {
    Text,
    Thinking,
    /// With the input that came with its beginning, until some came after it.
    Call(Option<String>),
    /// Of a kind that has no neutral form.
    Other,
}

impl Reader {
    /// Takes an event: its name, and its data.
    ///
    /// # Errors
    /// [`Broken`] for data that is no JSON object, and for an error that the provider sent.
    pub fn read(&mut self, name: &str, data: &str, out: &mut Vec<Event>) -> Result<(), Broken> {
        let Some(event) = Object::parse(data) else {
            if name == "ping" {
                return Ok(());
            }
            let not = NotAnAnswer::new("an event of the stream is not a JSON object");
            return Err(not.into());
        };
        let kind = event.text("type").unwrap_or_else(|| name.to_owned());
        if kind == "error" {
            let said = read_error(data).unwrap_or_else(|| Said {
                message: "the provider sent an error without a message".to_owned(),
                ..Said::default()
            });
            return Err(Broken::Said(said));
        }
        if self.stopped {
            return Ok(());
        }
        // Some servers leave out the number of the only block.
        let index = event.count("index").ok().flatten().unwrap_or(0);
        match kind.as_str() {
            "message_start" => self.start(&event, out),
            "content_block_start" => self.begin(index, &event, out),
            "content_block_delta" => self.more(index, &event, out),
            "content_block_stop" => self.finish(index, out),
            "message_delta" => self.close(&event, out),
            "message_stop" => self.stop(out),
            _ => {} // ping, and what is newer than this
        }
        Ok(())
    }

    /// The bytes have ended. What was held back comes out; a stop that was not sent does not.
    pub fn end(&mut self, out: &mut Vec<Event>) {
        if self.stopped {
            return;
        }
        self.parts.end_all(out);
        self.tell_usage(out);
    }

    fn start(&mut self, event: &Object<'_>, out: &mut Vec<Event>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let message = event.object("message");
        let field = |name| message.as_ref().and_then(|message| message.text(name));
        let model = field("model");
        self.signer = Some(signer(model.as_deref()));
        out.push(Event::Start {
            id: field("id"),
            model,
        });
        if let Some(usage) = message.and_then(|message| message.object("usage")) {
            self.counted.take(&usage);
        }
    }

    fn signer(&self) -> Signer {
        self.signer.unwrap_or(Signer::Anthropic)
    }

    fn signature(&self, value: String) -> Signature {
        Signature::new(self.signer(), value)
    }

    fn begin(&mut self, index: u64, event: &Object<'_>, out: &mut Vec<Event>) {
        self.finish(index, out); // one that was not ended
        let Some(block) = event.object("content_block") else {
            return;
        };
        let filled = |name| block.text(name).filter(|text| !text.is_empty());
        let open = match block.text("type").as_deref() {
            Some("text") => {
                if let Some(text) = filled("text") {
                    self.parts.push(index, Delta::Text(text), out);
                }
                Block::Text
            }
            Some("thinking") => {
                if let Some(text) = filled("thinking") {
                    self.parts.push(index, Delta::Reasoning(text), out);
                }
                if let Some(signature) = filled("signature") {
                    self.parts
                        .push(index, Delta::Signature(self.signature(signature)), out);
                }
                Block::Thinking
            }
            Some("redacted_thinking") => {
                if let Some(data) = filled("data") {
                    self.parts
                        .push(index, Delta::Redacted(self.signature(data)), out);
                }
                Block::Other
            }
            Some("tool_use") => {
                self.called = true;
                let call = Delta::ToolCall {
                    id: block.text("id").unwrap_or_default(),
                    name: block.text("name").unwrap_or_default(),
                    signature: None,
                };
                self.parts.push(index, call, out);
                // Anthropic begins with `{}` and sends the input after it; some servers send it here.
                let whole = block
                    .object("input")
                    .filter(|input| !input.names().is_empty());
                let input = whole.and_then(|_| block.get("input"));
                Block::Call(input.map(|input| input.get().to_owned()))
            }
            _ => Block::Other,
        };
        self.blocks.insert(index, open);
    }

    fn more(&mut self, index: u64, event: &Object<'_>, out: &mut Vec<Event>) {
        let Some(delta) = event.object("delta") else {
            return;
        };
        let kind = delta.text("type").unwrap_or_default();
        let filled = |name| delta.text(name).filter(|text| !text.is_empty());
        let signer = self.signer();
        // Text needs no beginning to be understood.
        let block = self.blocks.entry(index).or_insert(match kind.as_str() {
            "text_delta" => Block::Text,
            "thinking_delta" | "signature_delta" => Block::Thinking,
            _ => Block::Other,
        });
        let delta = match (kind.as_str(), block) {
            ("text_delta", Block::Text) => filled("text").map(Delta::Text),
            ("thinking_delta", Block::Thinking) => filled("thinking").map(Delta::Reasoning),
            ("signature_delta", Block::Thinking) => {
                filled("signature").map(|value| Delta::Signature(Signature::new(signer, value)))
            }
            ("input_json_delta", Block::Call(input)) => {
                let more = filled("partial_json");
                if more.is_some() {
                    *input = None;
                }
                more.map(Delta::Arguments)
            }
            _ => None,
        };
        if let Some(delta) = delta {
            self.parts.push(index, delta, out);
        }
    }

    fn finish(&mut self, index: u64, out: &mut Vec<Event>) {
        if let Some(Block::Call(Some(input))) = self.blocks.remove(&index) {
            self.parts.push(index, Delta::Arguments(input), out);
        }
        self.parts.end(&index, out);
    }

    fn close(&mut self, event: &Object<'_>, out: &mut Vec<Event>) {
        let mut open: Vec<u64> = self.blocks.keys().copied().collect();
        open.sort_unstable();
        for index in open {
            self.finish(index, out);
        }
        if let Some(delta) = event.object("delta")
            && let Some(reason) = delta.text("stop_reason")
        {
            self.stop = Some(read_stop(&reason, delta.text("stop_sequence")));
        }
        if let Some(usage) = event.object("usage") {
            self.counted.take(&usage);
        }
    }

    fn tell_usage(&mut self, out: &mut Vec<Event>) {
        if let Some(usage) = self.counted.usage()
            && !std::mem::replace(&mut self.told_usage, true)
        {
            out.push(Event::Usage(usage));
        }
    }

    fn stop(&mut self, out: &mut Vec<Event>) {
        self.stopped = true;
        self.parts.end_all(out);
        self.tell_usage(out);
        let unsaid = if self.called {
            Stop::ToolCalls
        } else {
            Stop::End
        };
        out.push(Event::Stop(self.stop.take().unwrap_or(unsaid)));
    }
}
