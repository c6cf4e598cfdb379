//! What one attempt has to do: written by the controller when it opens the attempt at the gateway, read by the pilot. Never changed.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Largest serialised assignment in bytes (1 MiB). The gateway refuses a larger one.
pub const MAX_ASSIGNMENT_BYTES: usize = 1 << 20;

/// A Task, by name and by the UID that tells it from a later one of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskRef {
    /// Namespace of the Task.
    pub namespace: String,
    /// Name of the Task.
    pub name: String,
    /// UID of the Task.
    pub uid: String,
}

/// Everything a pilot needs to know about its attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// The Task.
    pub task: TaskRef,
    /// What is to be done.
    pub target: Target,
    /// The Task whose conversation, and workspace, this one begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<TaskRef>,
    /// Repositories to fetch into the workspace, before the files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<Repository>,
    /// Files to place in the workspace before anything runs.
    #[serde(default)]
    pub files: Vec<File>,
    /// What to keep from the workspace afterwards.
    #[serde(default)]
    pub artifacts: Vec<ArtifactRule>,
    /// The check that makes the outcome true.
    #[serde(default)]
    pub accept: Option<Accept>,
    /// The sandbox beside the pilot; absent when the attempt needs none.
    #[serde(default)]
    pub sandbox: Option<Sandbox>,
}

/// What an attempt runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// An agent: a loop of model calls and tool calls.
    Agent(AgentTarget),
    /// Code, which may call models by itself where the sandbox has a pool.
    Run(RunTarget),
}

/// The snapshot of an Agent, with the Task's prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentTarget {
    /// `agent@sha256:...`, as in the Task's `status.pinned.agent`.
    pub pinned: String,
    /// System prompt.
    pub instructions: String,
    /// What the Task asks for.
    pub prompt: String,
    /// The `model` of every call: `<namespace>/<pool>`.
    pub model: String,
    /// Sampling temperature as a decimal string, or the provider's default.
    #[serde(default)]
    pub temperature: Option<String>,
    /// Output bound of one call, in tokens.
    pub max_output_tokens: u32,
    /// Whether no answer is to be one that the gateway kept, and none kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_cache: bool,
    /// Tools, by the names of the Agent kind (`RunCode`, `Shell`, ...).
    #[serde(default)]
    pub tools: Vec<String>,
    /// JSON Schema of the answer; without one the output is `{"text": ...}`.
    #[serde(default)]
    pub output_schema: Option<Value>,
    /// Most model calls.
    pub max_turns: u32,
    /// Most tool calls.
    pub max_tool_calls: u32,
}

/// Code to run once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunTarget {
    /// The program: exactly one of argv, or source text with its language.
    pub program: Program,
    /// Environment of the program beside the sandbox's own.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// What `run` starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Program {
    /// argv, looked up on the PATH of the image; no shell.
    Command(Vec<String>),
    /// Source text, written to a file in the workspace and run by the language's interpreter.
    Code {
        /// `python`, `javascript`, `typescript`, `java` or `shell`.
        language: String,
        /// The source.
        code: String,
    },
}

/// A repository for the workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Repository {
    /// Its directory, relative to the workspace; `.` is the workspace itself.
    pub path: String,
    /// Where it is, by https.
    pub url: String,
    /// Branch, tag or commit.
    pub reference: String,
}

/// A file for the workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// Path relative to the workspace.
    pub path: String,
    /// UTF-8 content.
    pub content: String,
}

/// One artifact to keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactRule {
    /// Name of the artifact.
    pub name: String,
    /// Glob relative to the workspace. One plain file is stored as it is, anything else as a tar archive.
    pub path: String,
}

/// The check of an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accept {
    /// argv of the check, run in the workspace after the answer.
    pub command: Vec<String>,
    /// The exit code that accepts.
    pub exit_code: i32,
    /// How often the check may run; after a red one (but the last) its output is the agent's next observation.
    pub rounds: u32,
}

/// Bounds of the sandbox, enforced by exec; the pod has the same ones as a backstop. The default has room for nothing, and demands nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sandbox {
    /// Memory of one call's processes together, in bytes.
    pub memory_bytes: u64,
    /// Size of the workspace and /tmp together, in bytes.
    pub disk_bytes: u64,
    /// Most processes and threads of one call.
    pub max_processes: u32,
    /// Longest call, in milliseconds.
    pub call_timeout_ms: u64,
    /// Whether Landlock is demanded (`minimumIsolation: Landlock`).
    pub require_landlock: bool,
    /// Whether a user namespace of the pod's own is demanded (`hostUsers: false`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_user_namespace: bool,
    /// Where the class demands that the pod's NetworkPolicy is enforced before code runs: how long that may take, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy_within_ms: Option<u64>,
    /// Domains that code may reach through the gateway, as patterns; the gateway decides by them. Empty: no network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<String>,
    /// `<namespace>/<pool>`: where model calls of programs go, through the same port. Without it they can make none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
}

impl Sandbox {
    /// Whether programs have a port of loopback.
    #[must_use]
    pub const fn has_port(&self) -> bool {
        !self.egress.is_empty() || self.pool.is_some()
    }
}
