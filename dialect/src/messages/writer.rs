//! A surface's stream.

use super::answer::{Block, Message, call_id, of_call, sequence, write_stop};
use super::error::write_error;
use super::usage::Written;
use crate::answer::{Envelope, Stop, Usage};
use crate::error::Refused;
use crate::event::{Delta, Event};
use crate::signature::{Signature, Signer};
use crate::sse;
use crate::writing::{Arguments, serialize};
use serde::Serialize;
use std::borrow::Cow;

/// Writes a streamed message as server-sent events.
#[derive(Debug)]
pub struct Writer {
    envelope: Envelope,
    started: bool,
    open: Option<Open>,
    /// How many blocks have begun.
    begun: usize,
    usage: Usage,
    stop: Option<Stop>,
}

/// The block that is open.
#[derive(Debug, PartialEq, Eq)]
struct Open {
    part: usize,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
    Redacted,
    Call,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Step<'a> {
    MessageStart {
        message: Message<'a>,
    },
    ContentBlockStart {
        index: usize,
        content_block: Block<'a>,
    },
    ContentBlockDelta {
        index: usize,
        delta: More<'a>,
    },
    ContentBlockStop {
        index: usize,
    },
    MessageDelta {
        delta: End<'a>,
        usage: Written,
    },
    MessageStop,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum More<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: Cow<'a, str> },
    #[serde(rename = "input_json_delta")]
    Input { partial_json: &'a str },
}

#[derive(Serialize)]
struct End<'a> {
    stop_reason: &'static str,
    stop_sequence: Option<&'a str>,
}

impl Writer {
    /// Begins an answer. Nothing is written yet.
    #[must_use]
    pub fn new(envelope: Envelope) -> Self {
        Self {
            envelope,
            started: false,
            open: None,
            begun: 0,
            usage: Usage::default(),
            stop: None,
        }
    }

    /// Writes a step of the answer. Usage and the stop are kept for the end, since usage may follow the stop.
    pub fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { model, .. } => self.start(model.as_deref(), out),
            Event::Delta { part, delta } => {
                self.start(None, out);
                self.delta(*part, delta, out);
            }
            Event::Usage(usage) => self.usage.clone_from(usage),
            Event::Stop(stop) => self.stop = Some(stop.clone()),
        }
    }

    /// Ends the answer. One that had no stop was cut, and ends with an error.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        let Some(stop) = self.stop.take() else {
            let cut = Refused {
                status: 500,
                code: "answer_cut".to_owned(),
                message: "the answer was cut before its end".to_owned(),
                field: None,
                request: None,
            };
            return self.fail(&cut, out);
        };
        self.start(None, out);
        self.close(out);
        let delta = End {
            stop_reason: write_stop(&stop),
            stop_sequence: sequence(&stop),
        };
        let usage = Written::delta(&self.usage);
        step("message_delta", &Step::MessageDelta { delta, usage }, out);
        step("message_stop", &Step::MessageStop, out);
    }

    /// Ends the answer with an error.
    pub fn fail(&mut self, refused: &Refused, out: &mut Vec<u8>) {
        sse::write(Some("error"), &write_error(refused), out);
    }

    fn start(&mut self, model: Option<&str>, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let message = Message::begun(&self.envelope, model);
        step("message_start", &Step::MessageStart { message }, out);
    }

    fn delta(&mut self, part: usize, delta: &Delta, out: &mut Vec<u8>) {
        let kind = match delta {
            Delta::Text(_) | Delta::Refusal(_) => Kind::Text,
            Delta::Reasoning(_) | Delta::Signature(_) => Kind::Thinking,
            Delta::Redacted(_) => Kind::Redacted,
            Delta::ToolCall { .. } | Delta::Arguments(_) => Kind::Call,
        };
        let is = Open { part, kind };
        if self.open.as_ref() != Some(&is) {
            self.close(out);
            let id = call_id(&self.envelope, part);
            if let Delta::ToolCall {
                signature: Some(signature),
                ..
            } = delta
            {
                self.sign(signature, out);
            }
            let content_block = match delta {
                Delta::Text(_) | Delta::Refusal(_) => Block::Text { text: "" },
                Delta::Reasoning(_) | Delta::Signature(_) => Block::Thinking {
                    thinking: "",
                    signature: "".into(),
                },
                Delta::Redacted(signature) => Block::RedactedThinking {
                    data: signature.marked(Signer::Anthropic),
                },
                Delta::ToolCall {
                    id: given, name, ..
                } => Block::ToolUse {
                    id: if given.is_empty() { &id } else { given },
                    name,
                    input: Arguments::new(""),
                },
                Delta::Arguments(_) => return, // of no call
            };
            let index = self.begun;
            self.begun += 1;
            self.open = Some(is);
            let begin = Step::ContentBlockStart {
                index,
                content_block,
            };
            step("content_block_start", &begin, out);
        }
        let more = match delta {
            Delta::Text(text) | Delta::Refusal(text) => More::Text { text },
            Delta::Reasoning(thinking) => More::Thinking { thinking },
            Delta::Signature(signature) => More::Signature {
                signature: signature.marked(Signer::Anthropic),
            },
            Delta::Arguments(partial_json) => More::Input { partial_json },
            Delta::Redacted(_) | Delta::ToolCall { .. } => return, // whole in the beginning
        };
        let index = self.begun.saturating_sub(1);
        let delta = Step::ContentBlockDelta { index, delta: more };
        step("content_block_delta", &delta, out);
    }

    /// A call's signature, as a thought before it.
    fn sign(&mut self, signature: &Signature, out: &mut Vec<u8>) {
        let index = self.begun;
        self.begun += 1;
        let content_block = Block::Thinking {
            thinking: "",
            signature: "".into(),
        };
        let begin = Step::ContentBlockStart {
            index,
            content_block,
        };
        step("content_block_start", &begin, out);
        let delta = More::Signature {
            signature: of_call(signature).into(),
        };
        let more = Step::ContentBlockDelta { index, delta };
        step("content_block_delta", &more, out);
        step("content_block_stop", &Step::ContentBlockStop { index }, out);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.open.take().is_some() {
            let index = self.begun.saturating_sub(1);
            step("content_block_stop", &Step::ContentBlockStop { index }, out);
        }
    }
}

fn step(name: &str, step: &Step<'_>, out: &mut Vec<u8>) {
    sse::write(Some(name), &serialize(step), out);
}
