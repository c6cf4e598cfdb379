//! The journal of a Task: an append-only list of records, numbered from 0 without gaps, kept by the gateway. A transcript is this list.
//!
//! Order: `Open` is durable before the first byte leaves for a provider; `Answer` before the pilot sees the end of
//! the answer; `ToolIntent` before exec sees the call; a checkpoint's blobs before the `ToolResult` that names them; `ToolResult` before
//! the model sees the result.
//!
//! Whoever reads it from its beginning knows what a pilot knew: a later attempt goes on from there.

use crate::assignment::Score;
use crate::failure::FailureClass;
use crate::message::Message;
use crate::request::{Ask, Waits};
use crate::tool::Offer;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Largest serialised record in bytes; a larger tool result is cut by its writer before it is appended.
pub const MAX_RECORD_BYTES: usize = 4 << 20;

/// One record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Position in the Task's journal.
    pub seq: u64,
    /// The gateway's clock, milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The attempt that wrote it.
    pub attempt: u32,
    /// What happened.
    #[serde(flatten)]
    pub body: Body,
}

/// What a record says. Bodies marked (gateway) are written by the gateway only; a pilot that appends one is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Body {
    /// (gateway) The attempt was opened by the controller.
    Opened {
        /// Digest of the assignment.
        assignment: String,
    },
    /// (gateway) A pilot claimed the attempt.
    Claimed {
        /// The session that may write from here on.
        session: String,
        /// Name of the pod.
        pod: String,
    },
    /// (gateway) A model call leaves for a provider.
    Open {
        /// Number of the call in the Task.
        call: u64,
        /// Number of the hop in the call, from 0.
        hop: u32,
        /// `<namespace>/<provider>`.
        provider: String,
        /// Model id at the provider.
        model: String,
        /// Why that one was asked: the pool's strategy, `Failover`, or `Cache` where it was not, now: its answer to an equal request was kept.
        #[serde(default)]
        reason: String,
        /// Digest of the request body; empty for a program's call, which nobody asks for again.
        digest: String,
        /// Reserved worst case in pico-USD.
        reserved_pico: u64,
    },
    /// (gateway) The provider answered.
    Answer {
        /// Number of the call.
        call: u64,
        /// Number of the hop.
        hop: u32,
        /// Model id that the provider reported.
        model: String,
        /// The assistant message, in the form of OpenAI's chat completions; null for a program's call, of which nothing that was said is kept.
        message: Value,
        /// Why the model stopped, in OpenAI's words; empty where nobody has read it, in a program's stream.
        finish_reason: String,
        /// How often the provider sent what is no character (bytes that are not UTF-8, an escape of half a surrogate pair); each stands
        /// as U+FFFD.
        #[serde(default, skip_serializing_if = "is_zero")]
        replaced: u64,
        /// Tokens and money.
        usage: CallUsage,
    },
    /// (gateway) A hop ended without an answer.
    CallFailed {
        /// Number of the call.
        call: u64,
        /// Number of the hop.
        hop: u32,
        /// Class of the provider's error.
        class: String,
        /// What the provider said, without keys.
        message: String,
        /// What was booked for it.
        usage: CallUsage,
    },
    /// The sandbox's own proof of isolation.
    Isolation {
        /// Whether nothing that must be refused was reachable.
        proven: bool,
        /// What was found, one line per probe.
        findings: Vec<String>,
    },
    /// The tools of the agent's MCP servers, as they were found. The model is offered these from here on.
    Tools {
        /// What was found.
        offer: Offer,
    },
    /// The model asked for a tool call that is about to run.
    ToolIntent {
        /// The model's id of the call.
        id: String,
        /// Name of the tool.
        tool: String,
        /// The arguments as the model gave them, when they are JSON; else the raw text as a string.
        arguments: Value,
    },
    /// A tool call ended; `text` is what the model is shown.
    ToolResult {
        /// The model's id of the call.
        id: String,
        /// Name of the tool.
        tool: String,
        /// Whether the tool did what it was asked.
        ok: bool,
        /// What the model is shown.
        text: String,
        /// What became of the workspace that it left; absent where it changed nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint: Option<Checkpoint>,
        /// Number of the last message of the tree that stands in the text; absent where none does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        heard: Option<u64>,
    },
    /// (gateway) A message to other Tasks of the tree, durable before its sender is told that it was sent.
    Sent {
        /// Which of the tree's messages it is, from 1.
        number: u64,
        /// Which of the Task's tool calls sent it.
        call: u32,
        /// UID of the Task at the root of the tree.
        tree: String,
        /// The message.
        message: Message,
    },
    /// The pilot asks for what only the operator can bring about. It is open until it is `Answered`.
    Asked {
        /// [`Ask::id`].
        id: String,
        /// What is asked for.
        what: Ask,
        /// The workspace that is handed on, where it was not kept before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint: Option<Checkpoint>,
    },
    /// (gateway) The operator's answer to a request.
    Answered {
        /// Id of the request.
        id: String,
        /// Whether it was granted.
        ok: bool,
        /// What came of it.
        value: Value,
        /// UID of the Task that was handed files and did it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<String>,
        /// What became of the workspace that was handed on, where it was changed: the other Task's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        workspace: Option<Checkpoint>,
    },
    /// Text that the pilot adds to the conversation by itself.
    Observation {
        /// What it is about.
        #[serde(default)]
        about: About,
        /// The text, as the model is shown it.
        text: String,
    },
    /// The conversation would have been too long for the model: these texts stand in it from here on, in place of what was there.
    Dropped {
        /// In the order of the conversation.
        texts: Vec<Dropped>,
    },
    /// What the reader of the transcript must know and the model is not told (what an artifact lacks, what was replaced in the output).
    Note {
        /// The text.
        text: String,
    },
    /// The Task's check ran.
    Check {
        /// Round, from 1.
        round: u32,
        /// Whether it accepted.
        accepted: bool,
        /// Its exit code; absent after a signal, time-out or refusal to start.
        exit_code: Option<i32>,
        /// Head and tail of its output.
        text: String,
        /// What became of the workspace that it left, where it did not accept; absent where it changed nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint: Option<Checkpoint>,
    },
    /// The judge gave its judgement of an answer.
    Judged {
        /// Round, from 1.
        round: u32,
        /// The score.
        score: Score,
        /// Whether it accepts.
        accepted: bool,
        /// What would make the answer better.
        feedback: String,
    },
    /// The attempt's outcome. Nothing of this attempt follows.
    Result {
        /// The outcome.
        outcome: Outcome,
    },
    /// (gateway) The attempt was fenced: its session may not write any more.
    Fenced {
        /// Why.
        reason: String,
        /// That the Task ends with it ([`crate::admin::Fence`]).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ends: Option<FailureClass>,
    },
}

/// What stands in place of a part of the conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dropped {
    /// Which message of the conversation, from 0: the instructions.
    pub message: u32,
    /// The tool call.
    pub id: String,
    /// Which part of it.
    pub part: Part,
    /// What stands there now.
    pub text: String,
}

/// A part of a tool call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// Its result.
    Result,
    /// Its arguments.
    Arguments,
}

/// What an observation is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum About {
    /// An answer that cannot be used.
    #[default]
    Repair,
    /// A check that did not accept.
    Check,
    /// Another attempt goes on, in another sandbox.
    Seam,
    /// Tools that are not there.
    Tools,
}

/// The workspace after a tool call. The layers of the last one with `base` and of those after it, one over the other, are all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Checkpoint {
    /// What changed since the one before.
    Layer {
        /// Whether it is everything, and those before it are not needed any more.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        base: bool,
        /// A tar archive in pieces, in order. An entry of the type [`REMOVED`] says that a path is gone.
        blobs: Vec<Blob>,
    },
    /// It could not be kept, and what has changed since the one before is lost with the sandbox.
    Failed {
        /// Why.
        why: String,
    },
}

/// Type of the entry of a [`Checkpoint`]'s archive that says that a path, and all below it, is gone.
pub const REMOVED: u8 = b'R';

/// Bytes in the gateway's store, by what they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Blob {
    /// `sha256:` and the digest of the bytes.
    pub digest: String,
    /// How many they are.
    pub size: u64,
}

impl Body {
    /// What became of the workspace, where the record says it.
    #[must_use]
    pub const fn checkpoint(&self) -> Option<&Checkpoint> {
        match self {
            Self::ToolResult { checkpoint, .. }
            | Self::Check { checkpoint, .. }
            | Self::Asked { checkpoint, .. } => checkpoint.as_ref(),
            Self::Result { outcome } => outcome.workspace.as_ref(),
            _ => None,
        }
    }
}

/// Tokens and money of one hop, or the sum of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CallUsage {
    /// All input tokens, cached ones included.
    pub input_tokens: u64,
    /// All output tokens, reasoning included.
    pub output_tokens: u64,
    /// Input tokens that were read from a provider's cache.
    pub cached_tokens: u64,
    /// Cost in pico-USD (1e-12 USD).
    pub cost_pico: u64,
    /// Whether the provider did not say and the reservation was booked.
    pub estimated: bool,
}

/// How an attempt ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Absent when the attempt succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The Task's output: at most 16 KiB of JSON. Present after success; after a failure, what there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// The artifacts that were uploaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// What became of the workspace that the Task was handed, or keeps: all that is needed to have it. Absent where it keeps none, and was handed none or
    /// changed nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Checkpoint>,
}

/// Largest output of an [`Outcome`], serialised, in bytes.
pub const MAX_OUTPUT_BYTES: usize = 16 << 10;

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The class.
    pub class: FailureClass,
    /// One sentence for a person. Never a key; never more than 1,024 characters.
    pub message: String,
    /// The Task is not over, and waits for this without a pod. The class is what it fails with should that never come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<Waits>,
}

/// An artifact in the gateway's store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Name within the Task.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// Digest of the bytes.
    pub digest: String,
    /// Whether it is a tar archive of what a glob or a directory named, in place of one file as it was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub archive: bool,
}

/// The output of a `run`, as it stands in [`Outcome::output`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunOutput {
    /// Exit code; absent after a signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Signal number, when one ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// End of the standard output: at most 4 KiB of it, cut between two characters. What is not UTF-8 stands as U+FFFD.
    pub stdout_tail: String,
    /// Bytes of the standard output before `stdout_tail`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stdout_omitted: u64,
    /// The same of the standard error.
    pub stderr_tail: String,
    /// Bytes of the standard error before `stderr_tail`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stderr_omitted: u64,
    /// CPU seconds as a decimal string.
    pub cpu_seconds: String,
    /// Largest memory in bytes that was seen.
    pub peak_memory: u64,
    /// Wall-clock time as a duration string.
    pub duration: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
