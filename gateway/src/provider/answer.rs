//! Answers in the form of OpenAI's chat completions: what is read of them, and how one is written.

use crate::price::Tokens;
use oarmaster_protocol::text::Repaired;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::{Value, json};
use std::fmt;

/// More tokens than this in one answer are not believed.
const MAX_TOKENS: u64 = 1_000_000_000_000;

/// A whole answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Model id that the provider reported.
    pub model: String,
    /// The assistant message of the first choice.
    pub message: Value,
    /// Why the model stopped.
    pub finish_reason: String,
    /// How often the provider sent what is no character; each stands as U+FFFD.
    pub replaced: u64,
    /// What the provider counted, if it said.
    pub tokens: Option<Tokens>,
}

#[derive(Deserialize)]
struct Completion {
    #[serde(default)]
    model: Option<String>,
    #[serde(default, rename = "choices", deserialize_with = "first")]
    choice: Option<Choice>,
    #[serde(default)]
    usage: Option<Value>,
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

/// Why a body is not an answer, and the tokens that it reports all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAnAnswer {
    /// What is wrong.
    pub message: &'static str,
    /// What the provider counted, if it said.
    pub tokens: Option<Tokens>,
}

impl Answer {
    /// Reads the body of an answer that is not streamed.
    ///
    /// # Errors
    /// When it has no assistant message.
    pub fn read(body: &Repaired<'_>, asked: &str) -> Result<Self, NotAnAnswer> {
        let wrong = |message, tokens| NotAnAnswer { message, tokens };
        let completion: Completion = serde_json::from_str(&body.text)
            .map_err(|_| wrong("the answer is not a chat completion", None))?;
        let tokens = completion.usage.as_ref().and_then(tokens);
        let choice = completion
            .choice
            .ok_or_else(|| wrong("the answer has no choice", tokens))?;
        let message = choice
            .message
            .filter(Value::is_object)
            .ok_or_else(|| wrong("the answer has no message", tokens))?;
        Ok(Self {
            model: completion.model.unwrap_or_else(|| asked.to_owned()),
            message,
            finish_reason: choice.finish_reason.unwrap_or_else(|| "stop".to_owned()),
            replaced: body.replaced,
            tokens,
        })
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
        if let (Some(tokens), Some(fields)) = (self.tokens, body.as_object_mut()) {
            fields.insert("usage".to_owned(), usage_json(tokens));
        }
        body
    }
}

/// Reads OpenAI's usage object; `None` where a number is missing, negative or beyond belief.
#[must_use]
pub fn tokens(usage: &Value) -> Option<Tokens> {
    let number = |pointer: &str| match usage.pointer(pointer) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .filter(|number| *number <= MAX_TOKENS)
            .map(Some)
            .ok_or(()),
    };
    let input = number("/prompt_tokens").ok()??;
    let output = number("/completion_tokens").ok()??;
    let total = number("/total_tokens").ok()?.unwrap_or(0);
    let cached = number("/prompt_tokens_details/cached_tokens")
        .ok()?
        .unwrap_or(0);
    Some(Tokens {
        input,
        // Some providers count reasoning in the total only.
        output: output.max(total.saturating_sub(input)),
        cached: cached.min(input),
    })
}

/// OpenAI's usage object.
#[must_use]
pub fn usage_json(tokens: Tokens) -> Value {
    json!({
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.input.saturating_add(tokens.output),
        "prompt_tokens_details": {"cached_tokens": tokens.cached},
    })
}
