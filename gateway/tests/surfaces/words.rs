//! The dialects: what a provider of each says, and what a caller reads of it.

use oarmaster_dialect::sse::Parser;
use oarmaster_dialect::{
    Answer, Content, Delta, Event, Stop, chat, cohere, gemini, messages, responses,
};
use serde_json::{Value, json};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../dialect/fixtures/", $name))
    };
}

/// A dialect as a provider of it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    Chat,
    Responses,
    Messages,
    Gemini,
    Cohere,
}

/// A surface: its path, and the dialect.
pub const SURFACES: [(&str, Words); 3] = [
    ("/v1/chat/completions", Words::Chat),
    ("/v1/responses", Words::Responses),
    ("/v1/messages", Words::Messages),
];

pub const KINDS: [&str; 9] = [
    "OpenAI",
    "AzureOpenAI",
    "Mistral",
    "Groq",
    "OpenRouter",
    "OpenAICompatible",
    "Anthropic",
    "Gemini",
    "Cohere",
];

/// What a type of provider speaks to callers of a surface.
pub fn words_of(kind: &str, surface: Words) -> Words {
    match kind {
        "Anthropic" => Words::Messages,
        "Gemini" => Words::Gemini,
        "Cohere" => Words::Cohere,
        "OpenAI" if surface == Words::Responses => Words::Responses,
        _ => Words::Chat,
    }
}

impl Words {
    /// Whole answers and streams, with text, calls and usage.
    pub fn fixtures(self) -> (Vec<&'static str>, Vec<&'static str>) {
        match self {
            Self::Chat => (
                vec![
                    fixture!("chat/provider-openai.json"),
                    fixture!("chat/provider-groq.json"),
                ],
                vec![
                    fixture!("chat/provider-openai.sse"),
                    fixture!("chat/stream.sse"),
                ],
            ),
            Self::Responses => (
                vec![
                    fixture!("responses/provider-openai.json"),
                    fixture!("responses/answer.json"),
                ],
                vec![
                    fixture!("responses/provider-openai.sse"),
                    fixture!("responses/stream.sse"),
                ],
            ),
            Self::Messages => (
                vec![
                    fixture!("messages/provider-answer.json"),
                    fixture!("messages/answer-foreign.json"),
                ],
                vec![
                    fixture!("messages/provider-stream.sse"),
                    fixture!("messages/stream-rich.sse"),
                ],
            ),
            Self::Gemini => (
                vec![
                    fixture!("gemini/answer-tools.json"),
                    fixture!("gemini/answer-text.json"),
                ],
                vec![
                    fixture!("gemini/stream-tools.sse"),
                    fixture!("gemini/stream-text.sse"),
                ],
            ),
            Self::Cohere => (
                vec![
                    fixture!("cohere/answer-tools.json"),
                    fixture!("cohere/answer-text.json"),
                ],
                vec![
                    fixture!("cohere/stream-tools.sse"),
                    fixture!("cohere/stream-text.sse"),
                ],
            ),
        }
    }

    pub fn read(self, body: &str) -> Told {
        let answer = match self {
            Self::Chat => chat::read_answer(body),
            Self::Responses => responses::read_answer(body),
            Self::Messages => messages::read_answer(body),
            Self::Gemini => gemini::read_answer(body),
            Self::Cohere => cohere::read_answer(body),
        };
        Told::whole(&answer.unwrap_or_else(|error| panic!("{error}: {body}")))
    }

    /// Reads a stream, or what broke it.
    pub fn read_stream(self, text: &str) -> Result<Told, String> {
        macro_rules! with {
            ($reader:ty) => {{
                let mut reader = <$reader>::default();
                let mut events = Vec::new();
                for frame in Parser::default().push(text.as_bytes()).unwrap() {
                    let data = String::from_utf8(frame.data).unwrap();
                    reader
                        .read(&frame.name, &data, &mut events)
                        .map_err(|broken| format!("{broken:?}"))?;
                }
                reader.end(&mut events);
                events
            }};
        }
        let events = match self {
            Self::Chat => with!(chat::Reader),
            Self::Responses => with!(responses::Reader),
            Self::Messages => with!(messages::Reader),
            Self::Gemini => with!(gemini::Reader),
            Self::Cohere => with!(cohere::Reader),
        };
        Told::streamed(&events).ok_or_else(|| "no stop".to_owned())
    }
}

/// What an answer says, as far as every dialect can.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub text: String,
    /// Names and arguments.
    pub calls: Vec<(String, String)>,
    pub stop: &'static str,
    /// All input tokens, and output tokens.
    pub usage: Option<(u64, u64)>,
}

impl Told {
    pub fn whole(answer: &Answer) -> Self {
        let mut told = Self {
            stop: stop(&answer.stop),
            usage: answer
                .usage
                .as_ref()
                .map(|usage| (usage.all_input(), usage.output)),
            ..Self::default()
        };
        for part in &answer.parts {
            match &part.content {
                Content::Text(text) => told.text.push_str(text),
                Content::ToolCall(call) => {
                    told.calls.push((call.name.clone(), call.arguments.clone()));
                }
                _ => {}
            }
        }
        told.arranged()
    }

    pub fn streamed(events: &[Event]) -> Option<Self> {
        let mut told = Self::default();
        for event in events {
            match event {
                Event::Usage(usage) => told.usage = Some((usage.all_input(), usage.output)),
                Event::Stop(why) => told.stop = stop(why),
                Event::Delta { delta, .. } => match delta {
                    Delta::Text(text) => told.text.push_str(text),
                    Delta::ToolCall { name, .. } => told.calls.push((name.clone(), String::new())),
                    Delta::Arguments(more) => told.calls.last_mut().unwrap().1.push_str(more),
                    _ => {}
                },
                Event::Start { .. } => {}
            }
        }
        (!told.stop.is_empty()).then(|| told.arranged())
    }

    /// Arguments as JSON with sorted fields: no arguments are an empty object in some dialects, and spaces are nobody's.
    pub fn arranged(mut self) -> Self {
        for (_, arguments) in &mut self.calls {
            let read: Value = serde_json::from_str(arguments).unwrap_or(json!({}));
            *arguments = read.to_string();
        }
        self
    }
}

/// Why an answer ended, as far as every dialect can tell.
pub fn stop(stop: &Stop) -> &'static str {
    match stop {
        Stop::Length | Stop::Context => "length",
        Stop::ToolCalls => "calls",
        Stop::Filter | Stop::Refusal => "refused",
        Stop::End | Stop::Sequence(_) | Stop::Pause | Stop::Other(_) => "end",
    }
}

/// A request of a surface that offers tools.
pub fn ask(surface: Words, stream: bool) -> Value {
    let parameters = json!({"type": "object", "properties": {}});
    match surface {
        Words::Responses => json!({
            "model": "fast", "input": "say it", "stream": stream,
            "tools": [{"type": "function", "name": "weather", "parameters": parameters}],
        }),
        Words::Messages => json!({
            "model": "fast", "messages": [{"role": "user", "content": "say it"}], "max_tokens": 50, "stream": stream,
            "tools": [{"name": "weather", "input_schema": parameters}],
        }),
        _ => json!({
            "model": "fast", "messages": [{"role": "user", "content": "say it"}], "stream": stream,
            "stream_options": {"include_usage": true},
            "tools": [{"type": "function", "function": {"name": "weather", "parameters": parameters}}],
        }),
    }
}
