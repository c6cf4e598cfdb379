//! A scripted answer in OpenAI's words: as one body, and as the events of a stream.

use super::seen::Seen;
use oarmaster_crds::kinds::fault::ScriptFaultKind;
use oarmaster_crds::kinds::script::ScriptReply;
use oarmaster_dialect::Envelope;
use serde_json::{Value, json};

/// Characters of one chunk of a streamed answer.
const CHUNK: usize = 16;
/// What stands for the last message.
const LAST: &str = "${last}";
/// Most bytes of a text, with the last message in all its places: the caller chooses that one's length, the script its places.
const MOST: usize = 256 << 10;

/// What an answer says.
#[derive(Debug)]
pub struct Words<'a> {
    envelope: &'a Envelope,
    message: Value,
    finish: String,
    input: i64,
    output: i64,
}

impl<'a> Words<'a> {
    /// The answer of a reply to a body of `size` bytes.
    ///
    /// # Errors
    /// When it would be too long.
    pub fn new(
        reply: &ScriptReply,
        seen: &Seen,
        size: usize,
        envelope: &'a Envelope,
    ) -> Result<Self, String> {
        let text = reply.text.as_ref();
        let text = text.map(|text| said(text, &seen.last)).transpose()?;
        let calls: Vec<Value> = reply
            .tool_calls
            .iter()
            .enumerate()
            .map(|(index, call)| {
                let arguments = match (&call.arguments, &call.raw_arguments) {
                    (_, Some(raw)) => raw.clone(),
                    (Some(value), None) => value.to_string(),
                    (None, None) => "{}".to_owned(),
                };
                json!({
                    "id": format!("call_{}_{index}", seen.turn),
                    "type": "function",
                    "function": {"name": call.name, "arguments": arguments},
                })
            })
            .collect();
        let default = if calls.is_empty() {
            "stop"
        } else {
            "tool_calls"
        };
        let finish = reply.finish_reason.as_deref().unwrap_or(default).to_owned();
        let mut message = json!({"role": "assistant", "content": text});
        if let (false, Some(fields)) = (calls.is_empty(), message.as_object_mut()) {
            fields.insert("tool_calls".to_owned(), Value::Array(calls));
        }
        let quarter = |bytes: usize| i64::try_from(bytes.div_ceil(4)).unwrap_or(i64::MAX);
        let (input, output) = match reply.usage {
            Some(usage) => (usage.input_tokens, usage.output_tokens),
            None => (quarter(size), quarter(message.to_string().len())),
        };
        Ok(Self {
            envelope,
            message,
            finish,
            input,
            output,
        })
    }

    /// What is said to be counted, when this goes wrong with it.
    pub fn usage(&self, fault: Option<ScriptFaultKind>) -> Value {
        let (input, output) = match fault {
            Some(ScriptFaultKind::NegativeUsage) => (-self.input - 1, -self.output - 1),
            Some(ScriptFaultKind::HugeUsage) => (i64::MAX, i64::MAX),
            _ => (self.input, self.output),
        };
        json!({
            "prompt_tokens": input, "completion_tokens": output, "total_tokens": input.saturating_add(output),
        })
    }

    /// As one body.
    pub fn whole(&self, usage: Option<Value>) -> String {
        let choice = json!({"index": 0, "message": self.message, "logprobs": null, "finish_reason": self.finish});
        self.object("chat.completion", json!([choice]), usage)
    }

    /// As the data of events, without the end of the stream: role, pieces, the reason to stop, usage.
    pub fn events(&self, usage: Option<Value>) -> Vec<String> {
        let mut list = vec![self.chunk(json!({"role": "assistant", "content": ""}))];
        let text = self.message.get("content").and_then(Value::as_str);
        for piece in pieces(text.unwrap_or_default()) {
            list.push(self.chunk(json!({"content": piece})));
        }
        let calls = self.message.get("tool_calls").and_then(Value::as_array);
        for (index, call) in calls.into_iter().flatten().enumerate() {
            let name = call.pointer("/function/name");
            list.push(self.chunk(
                json!({"tool_calls": [{"index": index, "id": call.get("id"), "type": "function", "function": {"name": name, "arguments": ""}}]}),
            ));
            let arguments = call.pointer("/function/arguments").and_then(Value::as_str);
            for piece in pieces(arguments.unwrap_or_default()) {
                list.push(self.chunk(
                    json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}),
                ));
            }
        }
        let end = json!({"index": 0, "delta": {}, "finish_reason": self.finish});
        list.push(self.object("chat.completion.chunk", json!([end]), None));
        list.extend(usage.map(|usage| self.counted(usage)));
        list
    }

    /// The event that counts.
    pub fn counted(&self, usage: Value) -> String {
        self.object("chat.completion.chunk", json!([]), Some(usage))
    }

    fn chunk(&self, delta: Value) -> String {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": null});
        self.object("chat.completion.chunk", json!([choice]), None)
    }

    fn object(&self, kind: &str, choices: Value, usage: Option<Value>) -> String {
        let mut object = json!({
            "id": format!("chatcmpl-{}", self.envelope.id), "object": kind, "created": self.envelope.created,
            "model": self.envelope.model, "choices": choices,
        });
        if let (Some(usage), Some(fields)) = (usage, object.as_object_mut()) {
            fields.insert("usage".to_owned(), usage);
        }
        object.to_string()
    }
}

fn pieces(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let pieces = letters.chunks(CHUNK);
    pieces.map(|piece| piece.iter().collect()).collect()
}

/// A text with the last message in its places.
fn said(text: &str, last: &str) -> Result<String, String> {
    let places = text.matches(LAST).count();
    let size = places.saturating_mul(last.len()).saturating_add(text.len());
    if size > MOST {
        return Err(format!(
            "the script's answer is longer than {} KiB with the last message in it",
            MOST >> 10
        ));
    }
    Ok(text.replace(LAST, last))
}
