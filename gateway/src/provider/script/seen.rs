//! What a script looks at in a conversation.

use serde_json::Value;
use std::fmt;

/// What a rule's conditions are about.
#[derive(Debug, Default)]
pub struct Seen {
    /// Number of assistant messages.
    pub turn: i64,
    /// The last message's text.
    pub last: String,
    /// The first user message's text.
    pub prompt: String,
    /// The tool that the last message is a result of.
    pub tool: Option<String>,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "turn {}", self.turn)?;
        match &self.tool {
            Some(tool) => write!(f, " after a result of tool {tool}"),
            None => Ok(()),
        }
    }
}

impl Seen {
    /// Looks at a conversation.
    pub fn of(messages: &[Value]) -> Self {
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
