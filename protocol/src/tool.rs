//! Tools of an agent that the gateway carries out, so that no sandbox is needed for them and none has the network or a secret: what a pilot
//! asks, and what the gateway answers.
//!
//! | call | request | answer |
//! |---|---|---|
//! | `GET /task/v1/tools` | - | [`Offer`]: the tools of the agent's MCP servers |
//! | `POST /task/v1/tools/{name}` | [`ToolCall`] | [`ToolAnswer`] |
//!
//! Whatever comes of a call that the gateway could begin is a [`ToolAnswer`], which the model is shown. The errors of the task API are for
//! calls that are not this pilot's to make.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// Largest arguments of a call, serialised, in bytes.
pub const MAX_TOOL_ARGUMENTS: usize = 256 << 10;
/// Longest text of an answer in bytes. The gateway cuts a longer one, and says so in it.
pub const MAX_TOOL_TEXT: usize = 64 << 10;
/// Longest time that a call takes; the gateway gives it up then.
pub const TOOL_WAIT: Duration = Duration::from_secs(10 * 60);
/// How long an answer is there for a pilot that lost it.
pub const ANSWER_KEPT: Duration = Duration::from_secs(15 * 60);
/// Most tools of an agent's MCP servers together.
pub const MAX_OFFERED: usize = 128;

/// What the model is told of a call of which nobody knows whether it was carried out.
pub const OUTCOME_UNKNOWN: &str = "The outcome of this call is unknown: the agent was interrupted while it ran, and it may or may not have had its effect. It was not made again. Find out what is there before you go on.";

/// The tools that come with Oarmaster and are carried out by the gateway. The pilot has their definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GatewayTool {
    /// Keeps a note.
    Remember,
    /// Finds notes.
    Recall,
    /// Searches the web.
    WebSearch,
    /// Reads a page.
    FetchPage,
    /// Sends a message to other Tasks of the tree.
    SendMessage,
    /// Reads messages of other Tasks of the tree, and waits for them.
    ReceiveMessages,
}

impl GatewayTool {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::Remember,
        Self::Recall,
        Self::WebSearch,
        Self::FetchPage,
        Self::SendMessage,
        Self::ReceiveMessages,
    ];

    /// The tool's name in the Agent kind, and for the model.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Remember => "Remember",
            Self::Recall => "Recall",
            Self::WebSearch => "WebSearch",
            Self::FetchPage => "FetchPage",
            Self::SendMessage => "SendMessage",
            Self::ReceiveMessages => "ReceiveMessages",
        }
    }

    /// The tool of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }
}

/// One call of a tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolCall {
    /// Which of the Task's tool calls it is, from 1. A call with this number, tool and arguments is the same call: it is made once, and
    /// whoever asks again while it runs, or within [`ANSWER_KEPT`], is given its answer.
    pub number: u32,
    /// The arguments, as the model gave them.
    pub arguments: Value,
    /// The call may have been made, and must not be made twice: where its answer is no longer there, it is [`OUTCOME_UNKNOWN`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// Number of the last message of its tree that the Task was shown: later ones are new to it. Only [`GatewayTool::ReceiveMessages`] reads it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub heard: u64,
}

/// How a call ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolAnswer {
    /// Whether the tool did what it was asked.
    pub ok: bool,
    /// What the model is shown, at most [`MAX_TOOL_TEXT`] bytes.
    pub text: String,
    /// Number of the last message of the tree that stands in the text; absent where none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<u64>,
}

impl ToolAnswer {
    /// A call that did not do what it was asked.
    #[must_use]
    pub fn failed(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }
}

/// The tools of the agent's MCP servers, as the gateway found and checked them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offer {
    /// The tools, at most [`MAX_OFFERED`].
    #[serde(default)]
    pub tools: Vec<Offered>,
    /// What of them is not there, and why: a sentence each, for the model and for whoever reads the transcript.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// A tool of an MCP server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offered {
    /// Name for the model: `<server>__<tool>`, in the characters that every model's API takes.
    pub name: String,
    /// What the server says that it does.
    pub description: String,
    /// JSON Schema of its arguments: an object.
    pub parameters: Value,
    /// The server says that it changes nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// The server says that another call with the same arguments changes nothing more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idempotent: bool,
}

impl Offered {
    /// Whether a call of which nobody knows whether it was carried out may be made again.
    #[must_use]
    pub const fn may_repeat(&self) -> bool {
        self.read_only || self.idempotent
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
