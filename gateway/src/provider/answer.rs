//! What is read of an answer: what is booked, and its message in the form of OpenAI's chat completions, which a Task's journal keeps.

use oarmaster_dialect::{NotAnAnswer, Usage, chat};
use oarmaster_protocol::text::Repaired;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::fmt;

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Model id that the provider reported.
    pub model: String,
    /// The assistant message of the first choice; `null` for callers that speak something else, since no Task does.
    pub message: Value,
    /// Why the model stopped; empty where there is no message.
    pub finish_reason: String,
    /// How often the provider sent what is no character; each stands as U+FFFD.
    pub replaced: u64,
    /// What the provider counted, if it said.
    pub usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Completion {
    #[serde(default)]
    model: Option<String>,
    #[serde(default, rename = "choices", deserialize_with = "first")]
    choice: Option<Choice>,
    #[serde(default)]
    usage: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    message: Option<Value>,
    #[serde(default)]
    finish_reason: Option<String>,
}

/// The first choice. Others are for callers, who take them from the provider's bytes.
fn first<'de, D: Deserializer<'de>>(choices: D) -> Result<Option<Choice>, D::Error> {
    struct First;
    impl<'de> Visitor<'de> for First {
        type Value = Option<Choice>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of choices")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let choice = list.next_element()?;
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(choice)
        }
    }
    choices.deserialize_seq(First)
}

impl Answer {
    /// Reads the body of an answer that is not streamed.
    ///
    /// # Errors
    /// When it has no assistant message.
    pub fn read(body: &Repaired<'_>, asked: &str) -> Result<Self, NotAnAnswer> {
        let wrong = |message, usage: &Option<Usage>| NotAnAnswer {
            message,
            usage: usage.clone(),
        };
        let completion: Completion = serde_json::from_str(&body.text)
            .map_err(|_| wrong("the answer is not a chat completion", &None))?;
        let usage = completion.usage.as_deref().and_then(chat::read_usage);
        let choice = completion
            .choice
            .ok_or_else(|| wrong("the answer has no choice", &usage))?;
        let message = choice
            .message
            .filter(Value::is_object)
            .ok_or_else(|| wrong("the answer has no message", &usage))?;
        Ok(Self {
            model: completion.model.unwrap_or_else(|| asked.to_owned()),
            message,
            finish_reason: choice.finish_reason.unwrap_or_else(|| "stop".to_owned()),
            replaced: body.replaced,
            usage,
        })
    }

    /// Whether the model said all that it would, and did not refuse.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let refused = self
            .message
            .get("refusal")
            .is_some_and(|why| !why.is_null());
        !refused
            && matches!(
                self.finish_reason.as_str(),
                "stop" | "tool_calls" | "function_call"
            )
    }

    /// What is booked of an answer whose message nobody keeps.
    #[must_use]
    pub fn booked(model: Option<String>, asked: &str, usage: Option<Usage>) -> Self {
        Self {
            model: model.unwrap_or_else(|| asked.to_owned()),
            usage,
            ..Self::default()
        }
    }

    /// The answer as a chat completion.
    #[must_use]
    pub fn to_json(&self, id: &str, created: i64) -> Value {
        let mut body = json!({
            "id": id,
            "object": "chat.completion",
            "created": created,
            "model": self.model,
            "choices": [{"index": 0, "message": self.message, "logprobs": null, "finish_reason": self.finish_reason}],
        });
        if let (Some(usage), Some(fields)) = (&self.usage, body.as_object_mut()) {
            fields.insert("usage".to_owned(), usage_json(usage));
        }
        body
    }
}

/// OpenAI's usage object.
#[must_use]
pub fn usage_json(usage: &Usage) -> Value {
    let input = usage.all_input();
    json!({
        "prompt_tokens": input,
        "completion_tokens": usage.output,
        "total_tokens": input.saturating_add(usage.output),
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
    })
}
