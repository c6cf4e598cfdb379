//! Messages between the Tasks of one tree: what an agent sends, and what it waits for. They are arguments of the tools
//! [`SendMessage`](crate::tool::GatewayTool::SendMessage) and [`ReceiveMessages`](crate::tool::GatewayTool::ReceiveMessages).
//!
//! A message is a record of its sender's journal ([`Sent`](crate::journal::Body::Sent)), and in the result of the call by which another Task read
//! it. It is nowhere else.

use serde::{Deserialize, Serialize};

/// Label of a Task of a step of a workflow: the step's name. The operator alone makes such a Task.
pub const STEP_LABEL: &str = "oarmaster.dev/step";
/// Label of a Task of an item of a step: which one, from 0.
pub const ITEM_LABEL: &str = "oarmaster.dev/item";
/// Longest text of a message in characters.
pub const MAX_MESSAGE_CHARS: usize = 4096;
/// Longest name of a Task that a message is for, in characters: as Kubernetes bounds it.
pub const MAX_TO_CHARS: usize = 253;
/// Longest topic in characters.
pub const MAX_TOPIC_CHARS: usize = 63;
/// Most messages of a tree, over all its Tasks and for all its life.
pub const MAX_TREE_MESSAGES: usize = 1024;
/// Most bytes of the messages of a tree, as they stand in the journals.
pub const MAX_TREE_BYTES: u64 = 1 << 20;
/// Most messages that one Task sends, so that it leaves room for the others of its tree.
pub const MAX_TASK_MESSAGES: usize = 128;
/// Most bytes of the messages that one Task sends.
pub const MAX_TASK_BYTES: u64 = 256 << 10;
/// Most messages that one call returns.
pub const MAX_READ: usize = 32;
/// Longest time in seconds that one call waits for a message.
pub const MAX_WAIT_SECONDS: u64 = 300;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Message {
    /// Whom it is for: a step of the workflow that the sender is a step of, or the name of a Task of the tree. Absent: all of the tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// What it is about, in a word, for who waits for that: a letter, then letters, digits, hyphens and underscores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// What it says.
    pub text: String,
}

/// What is waited for. Every message that was not read yet is returned, whatever it is: this says when the wait ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Awaited {
    /// For how long, in seconds, at most [`MAX_WAIT_SECONDS`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub wait: u64,
    /// From whom: a step or a Task, as in [`Message::to`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// About what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
}

/// Whether a text can be a topic.
#[must_use]
pub fn is_topic(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= MAX_TOPIC_CHARS
        && bytes
            .next()
            .is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// Whether a text can be the name of a step or of a Task.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    !text.is_empty() && text.len() <= MAX_TO_CHARS && text.bytes().all(plain)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
