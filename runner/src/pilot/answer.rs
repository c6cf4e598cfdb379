//! What a model answered, whatever it looks like. Reads OpenAI's chat completions leniently and never fails: an answer that makes no
//! sense is an empty one.

use oarmaster_protocol::text;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// An answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The text, all parts together.
    pub text: String,
    /// Tool calls in the model's order.
    pub calls: Vec<Call>,
    /// Why the model stopped, in OpenAI's words.
    pub finish_reason: String,
    /// What the model says instead of an answer.
    pub refusal: Option<String>,
}

/// A tool call as the model made it.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The model's id, or one of ours where it gave none or the same twice.
    pub id: String,
    /// Name of the tool.
    pub name: String,
    /// The arguments: the JSON value, or the raw text where it is not JSON.
    pub arguments: Value,
    /// Whether `arguments` is JSON.
    pub is_json: bool,
    /// How many U+FFFD in `arguments` stand for half a surrogate pair.
    pub replaced: u64,
}

impl Answer {
    /// Reads the first choice. `turn` makes our own ids unique.
    #[must_use]
    pub fn read(response: &Value, turn: u32) -> Self {
        let choice = response["choices"].get(0).unwrap_or(&Value::Null);
        let message = &choice["message"];
        let mut seen = BTreeSet::new();
        let calls = message["tool_calls"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
            .map(|(index, call)| Call::read(call, turn, index, &mut seen))
            .collect();
        Self {
            text: text_of(&message["content"]),
            calls,
            finish_reason: choice["finish_reason"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            refusal: message["refusal"]
                .as_str()
                .filter(|refusal| !refusal.is_empty())
                .map(str::to_owned),
        }
    }

    /// The message as later requests repeat it: only fields that every provider takes, and arguments that every provider can read.
    #[must_use]
    pub fn message(&self) -> Value {
        if self.calls.is_empty() {
            return json!({"role": "assistant", "content": self.text});
        }
        let content = if self.text.is_empty() {
            Value::Null
        } else {
            json!(self.text)
        };
        let calls: Vec<Value> = self.calls.iter().map(Call::message).collect();
        json!({"role": "assistant", "content": content, "tool_calls": calls})
    }
}

impl Call {
    fn read(call: &Value, turn: u32, index: usize, seen: &mut BTreeSet<String>) -> Self {
        let given = call["id"].as_str().unwrap_or_default();
        let mut id = if given.is_empty() || seen.contains(given) {
            format!("call-{turn}-{index}")
        } else {
            given.to_owned()
        };
        // The model may have made up an id that is like ours.
        while !seen.insert(id.clone()) {
            id.push('_');
        }
        let function = &call["function"];
        let (arguments, is_json, replaced) = match &function["arguments"] {
            // No argument at all is how some models call a tool that needs none.
            Value::Null => (json!({}), true, 0),
            Value::String(text) if text.trim().is_empty() => (json!({}), true, 0),
            Value::String(text) => {
                let read = text::json(text.as_bytes());
                match serde_json::from_str(&read.text) {
                    Ok(value) => (value, true, read.replaced),
                    Err(_) => (Value::String(text.clone()), false, 0),
                }
            }
            value => (value.clone(), true, 0),
        };
        Self {
            id,
            name: function["name"].as_str().unwrap_or_default().to_owned(),
            arguments,
            is_json,
            replaced,
        }
    }

    fn message(&self) -> Value {
        let usable = |name: &str| {
            (1..=64).contains(&name.len())
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        };
        let name = if usable(&self.name) {
            &*self.name
        } else {
            "unknown"
        };
        let arguments = if self.is_json && self.arguments.is_object() {
            self.arguments.to_string()
        } else {
            "{}".to_owned()
        };
        json!({"id": self.id, "type": "function", "function": {"name": name, "arguments": arguments}})
    }
}

/// Text, or the text parts of a list.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect(),
        _ => String::new(),
    }
}

/// The JSON that an answer consists of, and how many U+FFFD in it stand for half a surrogate pair. One fence of Markdown around it is
/// taken off, since models put it there unasked.
///
/// # Errors
/// The parser's message about the bare text.
pub fn json_of(text: &str) -> Result<(Value, u64), serde_json::Error> {
    let read = text::json(text.trim().as_bytes());
    let trimmed = &*read.text;
    let value = serde_json::from_str(trimmed).or_else(|error| {
        let inner = trimmed
            .strip_prefix("```")
            .and_then(|rest| rest.strip_suffix("```"))
            .and_then(|rest| rest.split_once('\n'))
            .map(|(_language, body)| body);
        inner
            .and_then(|body| serde_json::from_str(body).ok())
            .ok_or(error)
    })?;
    Ok((value, read.replaced))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn response(message: Value, finish: &str) -> Value {
        json!({"choices": [{"message": message, "finish_reason": finish}]})
    }

    #[test]
    fn nonsense_is_an_empty_answer() {
        for nonsense in [
            json!(null),
            json!([]),
            json!({"choices": []}),
            json!({"choices": [{"message": 7}]}),
        ] {
            assert_eq!(Answer::read(&nonsense, 1), Answer::default());
        }
    }

    #[test]
    fn text_comes_whole_or_in_parts() {
        let answer = Answer::read(&response(json!({"content": "a\u{0}b"}), "stop"), 1);
        assert_eq!(
            (answer.text.as_str(), answer.finish_reason.as_str()),
            ("a\u{0}b", "stop")
        );
        let parts =
            json!({"content": [{"type": "text", "text": "a"}, {"type": "image"}, {"text": "b"}]});
        assert_eq!(Answer::read(&response(parts, "stop"), 1).text, "ab");
    }

    #[test]
    fn calls_get_ids_and_readable_arguments() {
        let call = |id: &str, name: &str, arguments: Value| json!({"id": id, "function": {"name": name, "arguments": arguments}});
        let message = json!({"content": null, "tool_calls": [
            call("a", "Shell", json!("{\"command\": \"ls\"}")),
            call("a", "Shell", json!("{\"command\": ")),
            call("", "no name!", json!("")),
            call("b", "Shell", json!({"command": "ls"})),
            json!({}),
        ]});
        let answer = Answer::read(&response(message, "tool_calls"), 4);
        let ids: Vec<_> = answer.calls.iter().map(|call| call.id.as_str()).collect();
        assert_eq!(ids, ["a", "call-4-1", "call-4-2", "b", "call-4-4"]);
        assert_eq!(answer.calls[1].arguments, json!("{\"command\": "));
        assert!(!answer.calls[1].is_json && answer.calls[2].is_json);
        let echo = answer.message();
        assert_eq!(
            echo["tool_calls"][0]["function"]["arguments"],
            json!("{\"command\":\"ls\"}")
        );
        assert_eq!(echo["tool_calls"][1]["function"]["arguments"], json!("{}"));
        assert_eq!(echo["tool_calls"][2]["function"]["name"], json!("unknown"));
        assert_eq!(echo["content"], Value::Null);
    }

    #[test]
    fn half_a_surrogate_pair_in_arguments_is_replaced() {
        let arguments = r#"{"code": "print('\ud83d \ud83d\ude00 \\ud800')"}"#;
        let call = json!({"tool_calls": [{"id": "a", "function": {"name": "RunCode", "arguments": arguments}}]});
        let answer = Answer::read(&response(call, "tool_calls"), 1);
        let call = &answer.calls[0];
        assert!(call.is_json && call.replaced == 1);
        assert_eq!(
            call.arguments,
            json!({"code": "print('\u{fffd} 😀 \\ud800')"})
        );
        let echo = answer.message();
        let told = echo["tool_calls"][0]["function"]["arguments"]
            .as_str()
            .unwrap();
        assert_eq!(serde_json::from_str::<Value>(told).unwrap(), call.arguments);
    }

    #[test]
    fn json_with_and_without_a_fence() {
        assert_eq!(json_of(" {\"a\": 1}\n").unwrap(), (json!({"a": 1}), 0));
        assert_eq!(
            json_of("```json\n{\"a\": \"\\ud800\"}\n```").unwrap(),
            (json!({"a": "\u{fffd}"}), 1)
        );
        assert!(json_of("Here: {\"a\": 1}").is_err());
        assert!(json_of("```").is_err());
        assert!(json_of("").is_err());
    }

    proptest! {
        /// An answer to a call is known by the id alone, and each call needs one.
        #[test]
        fn ids_are_never_twice_in_an_answer(ids in prop::collection::vec("(call-4-[0-9]_?)?|a", 0..20)) {
            let calls: Vec<Value> = ids.iter().map(|id| json!({"id": id})).collect();
            let answer = Answer::read(&response(json!({"tool_calls": calls}), "tool_calls"), 4);
            let found: BTreeSet<_> = answer.calls.iter().map(|call| call.id.clone()).collect();
            prop_assert_eq!(found.len(), ids.len());
            prop_assert!(!found.contains(""));
        }

        #[test]
        fn any_text_survives(text in any::<String>()) {
            let answer = Answer::read(&response(json!({"content": text}), "stop"), 1);
            prop_assert_eq!(&answer.text, &text);
            prop_assert_eq!(&answer.message()["content"], &json!(text));
            let arguments = json!({"code": text});
            let call = json!({"tool_calls": [{"id": "a", "function": {"name": "RunCode", "arguments": arguments.to_string()}}]});
            let answer = Answer::read(&response(call, "tool_calls"), 1);
            prop_assert_eq!((&answer.calls[0].arguments, answer.calls[0].replaced), (&arguments, 0));
        }
    }
}
