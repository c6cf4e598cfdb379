//! The model's window: how long the conversation is, and what gives way when it becomes too long.
//!
//! The oldest results of tools give way first, then the oldest arguments, which models fill with whole files. What the model said and was told
//! by people stays, as does everything since its last answer. Nothing goes silently: a marker stands in its place, and in the journal.

use super::{Machine, Next, Phase, failure};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::journal::{Body, Dropped, Outcome, Part};
use serde_json::{Value, json};

/// Bytes of a token, where nobody has counted: few enough for code and for most languages, so that the estimate is rather too large.
const BYTES: u64 = 3;
/// Tokens of a message beside its text.
const MESSAGE: u64 = 8;
/// A shorter text is not worth a marker.
const SHORT: usize = 400;
/// What is left of the window is filled up to this part of it, in percent: the next answers need room, and a provider's cache is lost each time.
const FILLED: u64 = 50;
/// Where a model says that the conversation is too long, it takes at most this part of what was estimated, in percent.
const REFUSED: u64 = 80;

/// The arguments of a tool call in a message.
const ARGUMENTS: &str = "/function/arguments";

/// What is known of the length.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Window {
    /// Most tokens of a call, input and output; absent where nobody knows.
    most: Option<u64>,
    /// Tokens that the provider counted, and the bytes of the messages that it counted.
    counted: Option<(u64, u64)>,
    /// Whether the model refused this turn's conversation already.
    refused: bool,
}

impl Machine {
    /// Most tokens of a model call, where the gateway knows it.
    pub const fn set_context(&mut self, tokens: Option<u64>) {
        self.window.most = tokens;
    }

    /// Takes over how long the provider says that the conversation was.
    pub(super) fn measure(&mut self, response: &Value) {
        let counted = response
            .pointer("/usage/prompt_tokens")
            .and_then(Value::as_u64);
        self.measured(counted.unwrap_or(0));
        self.window.refused = false;
    }

    pub(super) fn measured(&mut self, tokens: u64) {
        self.window.counted = (tokens > 0).then(|| (tokens, self.bytes()));
    }

    /// The end of an attempt that goes on from a conversation of more than so many bytes, which others' memory is not to be taken for.
    #[must_use]
    pub fn beyond(&self, most: usize) -> Option<Outcome> {
        let bytes = self.bytes();
        if bytes <= u64::try_from(most).unwrap_or(u64::MAX) {
            return None;
        }
        let failure = failure(
            FailureClass::LimitReached,
            &format!(
                "the conversation to go on from has {bytes} bytes, and in a shared pilot at most {most}: give the agent a SandboxClass with sharedPilots: false"
            ),
        );
        Some(Outcome {
            failure: Some(failure),
            ..Outcome::default()
        })
    }

    fn bytes(&self) -> u64 {
        self.messages.iter().map(length).sum()
    }

    /// Input tokens of the next call: as counted, and what has been added or taken away since.
    fn expected(&self) -> u64 {
        let bytes = self.bytes();
        match self.window.counted {
            Some((tokens, then)) if bytes >= then => tokens + (bytes - then) / BYTES,
            // As many tokens for a byte as there were.
            Some((tokens, then)) => tokens.saturating_mul(bytes) / then.max(1),
            None => {
                let tools = self.definitions();
                (bytes + tools.iter().map(length).sum::<u64>()) / BYTES
            }
        }
    }

    /// Makes the conversation short enough.
    ///
    /// # Errors
    /// What is to be said where it cannot be.
    pub(super) fn fit_the_window(&mut self) -> Result<(), String> {
        let output = self
            .agent()
            .map_or(0, |agent| u64::from(agent.max_output_tokens));
        let Some(most) = self.window.most else {
            return Ok(());
        };
        let room = most.saturating_sub(output);
        let expected = self.expected();
        if expected <= room {
            return Ok(());
        }
        self.shorten(room * FILLED / 100);
        let left = self.expected();
        if left <= room {
            return Ok(());
        }
        Err(format!(
            "the conversation has about {left} tokens after everything was left out that can be, and the answer up to {output} (maxOutputTokens), but the pool's models take {most} together; give the agent less at once, or a pool with a larger model"
        ))
    }

    /// The model took the conversation for too long: it is made shorter, once.
    pub(super) fn too_long(&mut self, message: &str) -> Next {
        let expected = self.expected();
        let shorter = !self.window.refused && self.shorten(expected * FILLED / 100);
        if !shorter {
            return self.fail(
                FailureClass::LimitReached,
                &format!("the conversation is too long for the model, and nothing is left that can be left out: {message}"),
            );
        }
        self.window.refused = true;
        let output = self
            .agent()
            .map_or(0, |agent| u64::from(agent.max_output_tokens));
        let learnt = expected * REFUSED / 100 + output;
        let most = self.window.most.map_or(learnt, |most| most.min(learnt));
        self.window.most = Some(most);
        self.phase = Phase::Asking { again: false };
        Next::Model(self.request())
    }

    /// Leaves out what is oldest, until about so many tokens are left. Whether anything was.
    fn shorten(&mut self, wanted: u64) -> bool {
        let last = self
            .messages
            .iter()
            .rposition(|message| message["role"] == "assistant");
        let old = self.messages.get(..last.unwrap_or(0)).unwrap_or_default();
        let old = (0_u32..).zip(old);
        let results = old.clone().filter_map(result);
        let arguments = old.flat_map(arguments);
        let candidates: Vec<Dropped> = results.chain(arguments).collect();
        let mut dropped = Vec::new();
        for candidate in candidates {
            if self.expected() <= wanted {
                break;
            }
            self.drop_texts(std::slice::from_ref(&candidate));
            dropped.push(candidate);
        }
        let any = !dropped.is_empty();
        if any {
            self.records.push(Body::Dropped { texts: dropped });
        }
        any
    }

    /// Puts markers where they belong.
    pub(super) fn drop_texts(&mut self, texts: &[Dropped]) {
        for Dropped {
            message,
            id,
            part,
            text,
        } in texts
        {
            let at = usize::try_from(*message).unwrap_or(usize::MAX);
            let Some(message) = self.messages.get_mut(at) else {
                continue;
            };
            match part {
                // A follow-up of a follow-up has fewer messages than the one whose record this is.
                Part::Result if message["tool_call_id"] == id.as_str() => {
                    message["content"] = json!(text);
                }
                Part::Result => {}
                Part::Arguments => {
                    let calls = message["tool_calls"].as_array_mut();
                    for call in calls.into_iter().flatten() {
                        if call["id"] == id.as_str()
                            && let Some(arguments) = call.pointer_mut(ARGUMENTS)
                        {
                            *arguments = json!(text);
                        }
                    }
                }
            }
        }
    }
}

/// Bytes of a message, which stand for its tokens.
fn length(message: &Value) -> u64 {
    let text = serde_json::to_vec(message).map_or(0, |text| text.len() as u64);
    text.saturating_add(MESSAGE * BYTES)
}

fn result((at, message): (u32, &Value)) -> Option<Dropped> {
    let id = message["tool_call_id"].as_str()?;
    let text = message["content"].as_str()?;
    (text.len() > SHORT).then(|| Dropped {
        message: at,
        id: id.to_owned(),
        part: Part::Result,
        text: format!(
            "[The result of this call, {} characters, was left out to make room. Make the call again if you need it.]",
            text.chars().count()
        ),
    })
}

fn arguments((at, message): (u32, &Value)) -> Vec<Dropped> {
    let calls = message["tool_calls"].as_array();
    let calls = calls.into_iter().flatten();
    let long = calls.filter_map(|call| {
        let text = call.pointer(ARGUMENTS)?.as_str()?;
        let left_out = format!("{} characters, left out to make room", text.chars().count());
        (text.len() > SHORT).then(|| Dropped {
            message: at,
            id: call["id"].as_str().unwrap_or_default().to_owned(),
            part: Part::Arguments,
            text: json!({ "arguments": left_out }).to_string(),
        })
    });
    long.collect()
}
