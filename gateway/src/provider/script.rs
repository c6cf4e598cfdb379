//! The Scripted provider: answers from the rules in its object, in OpenAI's chat completions. No network, no clock but the stated delays.

use crate::provider::Asked;
use crate::provider::answer::Answer;
use crate::provider::failure::{Class, Failure, ProviderError};
use crate::provider::whole::Whole;
use crate::provider::wire::Wire;
use bytes::Bytes;
use oarmaster_crds::kinds::script::{Script as Rules, ScriptReply, ScriptRule};
use oarmaster_dialect::Usage;
use oarmaster_dialect::chat::Flavour;
use oarmaster_dialect::converse::frames::Frame;
use oarmaster_dialect::json::Fields;
use oarmaster_protocol::text;
use oarmaster_store::Billing;
use regex::{Regex, RegexBuilder};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::Duration;

/// Largest compiled regular expression, in bytes.
const MAX_REGEX: usize = 1 << 20;
/// Characters of one chunk of a streamed answer.
const CHUNK: usize = 16;

/// A script that is ready to answer.
#[derive(Debug)]
pub struct Script {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    turn: Option<i64>,
    last: Option<Regex>,
    prompt: Option<Regex>,
    tool: Option<String>,
    delay: Duration,
    reply: ScriptReply,
}

/// What a script looks at.
#[derive(Debug, Default)]
struct Seen {
    turn: i64,
    last: String,
    prompt: String,
    tool: Option<String>,
}

impl Script {
    /// Compiles the rules.
    ///
    /// # Errors
    /// Which rule cannot be used, and why.
    pub fn compile(rules: &Rules) -> Result<Self, String> {
        let rules = rules
            .rules
            .iter()
            .enumerate()
            .map(|(index, rule)| {
                Rule::compile(rule).map_err(|problem| format!("script.rules[{index}]: {problem}"))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }

    /// What it speaks.
    pub const WIRE: Wire = Wire::Chat(Flavour::Compatible);

    /// A whole answer to a body.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn complete(&self, asked: &Asked<'_>, body: &[u8]) -> Result<Whole, Failure> {
        let answer = self.wait(asked, body).await?;
        let envelope = asked.envelope();
        let answer = answer.to_json(&format!("chatcmpl-{}", envelope.id), envelope.created);
        let bytes = Bytes::from(answer.to_string());
        Whole::read(asked, &text::json(&bytes), &bytes)
            .map_err(|not| Failure::unknown(not.message, true))
    }

    /// The events of a streamed answer to a body.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn stream(&self, asked: &Asked<'_>, body: &[u8]) -> Result<VecDeque<Frame>, Failure> {
        let answer = self.wait(asked, body).await?;
        let envelope = asked.envelope();
        let id = format!("chatcmpl-{}", envelope.id);
        let events = chunks(&answer, &id, envelope.created).into_iter();
        Ok(events
            .map(|data| Frame {
                payload: data.into_bytes(),
                ..Frame::default()
            })
            .collect())
    }

    async fn wait(&self, asked: &Asked<'_>, body: &[u8]) -> Result<Answer, Failure> {
        let fields = Fields::parse(body).map_err(|error| refuse(&error.to_string()))?;
        let messages = fields.get("messages").map_or("[]", RawValue::get);
        let messages = text::json(messages.as_bytes()).text;
        let (delay, answer) = self.reply(&messages, asked.model);
        tokio::time::sleep(delay).await;
        answer
    }

    /// The answer of the first rule that holds for messages in JSON, and how long to wait before it.
    pub fn reply(&self, messages: &str, model: &str) -> (Duration, Result<Answer, Failure>) {
        let size = messages.len();
        let messages: Vec<Value> = match serde_json::from_str(messages) {
            Ok(messages) => messages,
            Err(error) => return (Duration::ZERO, Err(refuse(&error.to_string()))),
        };
        let seen = Seen::of(&messages);
        let Some(rule) = self.rules.iter().find(|rule| rule.holds(&seen)) else {
            let text = format!(
                "no rule of the script holds for turn {}{}",
                seen.turn,
                seen.tool
                    .as_deref()
                    .map(|tool| format!(" after a result of tool {tool}"))
                    .unwrap_or_default()
            );
            return (Duration::ZERO, Err(refuse(&text)));
        };
        (rule.delay, rule.answer(&seen, size, model))
    }
}

fn refuse(text: &str) -> Failure {
    Failure {
        class: Class::CallerFault,
        message: format!("status 400: {text}"),
        billing: Billing::Unbilled,
        retry_after: None,
        used_up: None,
        answered: true,
    }
}

impl Rule {
    fn compile(rule: &ScriptRule) -> Result<Self, String> {
        let regex = |name: &str, text: &Option<String>| {
            text.as_deref()
                .map(|text| {
                    RegexBuilder::new(text)
                        .size_limit(MAX_REGEX)
                        .dfa_size_limit(MAX_REGEX)
                        .build()
                        .map_err(|error| {
                            format!("when.{name} is not a usable regular expression: {error}")
                        })
                })
                .transpose()
        };
        Ok(Self {
            turn: rule.when.turn,
            last: regex("last", &rule.when.last)?,
            prompt: regex("prompt", &rule.when.prompt)?,
            tool: rule.when.tool.clone(),
            delay: match &rule.reply.delay {
                Some(delay) => delay
                    .get()
                    .map_err(|error| format!("reply.delay: {error}"))?,
                None => Duration::ZERO,
            },
            reply: rule.reply.clone(),
        })
    }

    fn holds(&self, seen: &Seen) -> bool {
        self.turn.is_none_or(|turn| turn == seen.turn)
            && self
                .last
                .as_ref()
                .is_none_or(|regex| regex.is_match(&seen.last))
            && self
                .prompt
                .as_ref()
                .is_none_or(|regex| regex.is_match(&seen.prompt))
            && self
                .tool
                .as_ref()
                .is_none_or(|tool| Some(tool) == seen.tool.as_ref())
    }

    fn answer(&self, seen: &Seen, size: usize, model: &str) -> Result<Answer, Failure> {
        if let Some(fault) = &self.reply.fault {
            let status = u16::try_from(fault.status).unwrap_or(500);
            let body = json!({"error": {"message": fault.message.as_deref().unwrap_or("a scripted fault")}});
            let error = ProviderError::read(body.to_string().as_bytes());
            let failure = Failure::from_answer(status, None, &error, None);
            // Nobody bills a script.
            return Err(Failure {
                billing: Billing::Unbilled,
                ..failure
            });
        }
        let text = self
            .reply
            .text
            .as_ref()
            .map(|text| text.replace("${last}", &seen.last));
        let calls: Vec<Value> = self
            .reply
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
        let mut message = json!({"role": "assistant", "content": text});
        if let (false, Some(fields)) = (calls.is_empty(), message.as_object_mut()) {
            fields.insert("tool_calls".to_owned(), Value::Array(calls));
        }
        let has_calls = !self.reply.tool_calls.is_empty();
        let finish = self
            .reply
            .finish_reason
            .clone()
            .unwrap_or_else(|| if has_calls { "tool_calls" } else { "stop" }.to_owned());
        let quarter = |bytes: usize| u64::try_from(bytes.div_ceil(4)).unwrap_or(u64::MAX);
        let (input, output) = match self.reply.usage {
            Some(usage) => (
                u64::try_from(usage.input_tokens).unwrap_or(0),
                u64::try_from(usage.output_tokens).unwrap_or(0),
            ),
            None => (quarter(size), quarter(message.to_string().len())),
        };
        Ok(Answer {
            model: model.to_owned(),
            message,
            finish_reason: finish,
            replaced: 0,
            usage: Some(Usage {
                input,
                output,
                ..Usage::default()
            }),
        })
    }
}

impl Seen {
    fn of(messages: &[Value]) -> Self {
        let role = |message: &Value| {
            message
                .get("role")
                .and_then(Value::as_str)
                .unwrap_or("")
                .to_owned()
        };
        let Some(last) = messages.last() else {
            return Self::default();
        };
        Self {
            turn: i64::try_from(
                messages
                    .iter()
                    .filter(|message| role(message) == "assistant")
                    .count(),
            )
            .unwrap_or(i64::MAX),
            last: text_of(last),
            prompt: messages
                .iter()
                .find(|message| role(message) == "user")
                .map(text_of)
                .unwrap_or_default(),
            tool: (role(last) == "tool").then(|| tool_of(last, messages)),
        }
    }
}

/// The text of a message: its content, or its text parts joined.
fn text_of(message: &Value) -> String {
    match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts
            .iter()
            .filter_map(|part| part.get("text").and_then(Value::as_str))
            .collect(),
        _ => String::new(),
    }
}

/// The tool that a result belongs to: by the call's id, else by the message's name.
fn tool_of(result: &Value, messages: &[Value]) -> String {
    let id = result.get("tool_call_id").and_then(Value::as_str);
    messages
        .iter()
        .rev()
        .filter_map(|message| message.get("tool_calls").and_then(Value::as_array))
        .flatten()
        .find(|call| id.is_some() && call.get("id").and_then(Value::as_str) == id)
        .and_then(|call| call.pointer("/function/name"))
        .or_else(|| result.get("name"))
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// An answer as the data of the events of a stream: role, pieces, the end, usage, `[DONE]`.
#[must_use]
pub fn chunks(answer: &Answer, id: &str, created: i64) -> Vec<String> {
    let chunk = |delta: Value, finish: Value| {
        json!({
            "id": id, "object": "chat.completion.chunk", "created": created, "model": answer.model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        })
        .to_string()
    };
    let mut list = vec![chunk(
        json!({"role": "assistant", "content": ""}),
        Value::Null,
    )];
    let pieces = |text: &str| -> Vec<String> {
        let letters: Vec<char> = text.chars().collect();
        letters
            .chunks(CHUNK)
            .map(|piece| piece.iter().collect())
            .collect()
    };
    for piece in answer
        .message
        .get("content")
        .and_then(Value::as_str)
        .map(pieces)
        .unwrap_or_default()
    {
        list.push(chunk(json!({"content": piece}), Value::Null));
    }
    let calls = answer.message.get("tool_calls").and_then(Value::as_array);
    for (index, call) in calls.into_iter().flatten().enumerate() {
        let name = call.pointer("/function/name");
        list.push(chunk(
            json!({"tool_calls": [{"index": index, "id": call.get("id"), "type": "function", "function": {"name": name, "arguments": ""}}]}),
            Value::Null,
        ));
        let arguments = call
            .pointer("/function/arguments")
            .and_then(Value::as_str)
            .unwrap_or("");
        for piece in pieces(arguments) {
            list.push(chunk(
                json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}),
                Value::Null,
            ));
        }
    }
    list.push(chunk(json!({}), json!(answer.finish_reason)));
    if let Some(usage) = &answer.usage {
        list.push(
            json!({
                "id": id, "object": "chat.completion.chunk", "created": created, "model": answer.model, "choices": [],
                "usage": crate::provider::answer::usage_json(usage),
            })
            .to_string(),
        );
    }
    list.push("[DONE]".to_owned());
    list
}
