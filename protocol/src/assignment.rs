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

/// A request by which a workspace is handed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Handed {
    /// UID of the Task that made it.
    pub task: String,
    /// Its id.
    pub request: String,
}

/// What the workspace begins with of another Task, and whether it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workspace {
    /// The Task whose workspace, as it left it, this one begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<TaskRef>,
    /// Whether what it is at the end is kept, for other Tasks to begin with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
}

impl Workspace {
    /// Whether it begins empty and ends with the sandbox.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.from.is_none() && !self.keep
    }
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
    /// The request of another Task whose workspace this one begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed: Option<Handed>,
    /// How that Task is replayed, where this one does not follow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
    /// What the workspace begins with, and whether it is kept.
    #[serde(default, skip_serializing_if = "Workspace::is_plain")]
    pub workspace: Workspace,
    /// Artifacts of other Tasks to place in the workspace, after the repositories and before the files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub placed: Vec<Placed>,
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

impl Assignment {
    /// Whether code is run in its sandbox, if it has one: a replay that ends with the record runs none.
    #[must_use]
    pub fn runs_code(&self) -> bool {
        let recorded = self.replay.as_ref().is_some_and(|replay| !replay.live);
        self.sandbox.is_some() && !recorded
    }
}

/// How a Task goes through the journal of another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    /// Whether it asks the model where the record is left. Without it, it ends there.
    pub live: bool,
    /// Most answers of the model that are taken from the record; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u32>,
}

/// What an attempt runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// An agent: a loop of model calls and tool calls.
    Agent(Box<AgentTarget>),
    /// Code, which may call models by itself where the sandbox has a pool.
    Run(RunTarget),
    /// Steps, each of which is a Task of its own. Nothing of it runs in a pilot: the operator drives it ([`crate::admin::RunsIn::Operator`]), and the attempt is there for its budget and for the sums of what is below it.
    Workflow(WorkflowTarget),
}

/// A workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowTarget {
    /// `workflow@sha256:...`, as in the Task's `status.steps.revision`.
    pub pinned: String,
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
    /// The MCP servers whose tools it may call, through the gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mcp: Vec<McpServer>,
    /// The Agents that `Delegate` may name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delegates: Vec<String>,
    /// Tools whose calls need people's leave, each call of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<String>,
    /// Domains whose pages FetchPage may read, beside those that a search returned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pages: Vec<String>,
    /// JSON Schema of the answer; without one the output is `{"text": ...}`.
    #[serde(default)]
    pub output_schema: Option<Value>,
    /// Most model calls.
    pub max_turns: u32,
    /// Most tool calls.
    pub max_tool_calls: u32,
}

/// An MCP server, for the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct McpServer {
    /// What its tools' names begin with.
    pub name: String,
    /// Where it is, by streamable HTTP.
    pub url: String,
    /// Where its key is; without one, it is sent none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SecretKey>,
    /// The tools that may be called, by the server's names.
    pub allow: Vec<String>,
    /// Longest time of one call, in milliseconds.
    pub timeout_ms: u64,
}

/// A key in a Secret, which the gateway reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// Namespace of the Secret: the Agent's.
    pub namespace: String,
    /// Name of the Secret.
    pub name: String,
    /// The key in it.
    pub key: String,
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

/// An artifact of another Task, for the workspace. Its bytes are read at the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placed {
    /// Path relative to the workspace; of an archive the directory that it is unpacked in, `.` being the workspace itself.
    pub path: String,
    /// The Task that kept it.
    pub task: TaskRef,
    /// Its name there.
    pub name: String,
    /// Digest of its bytes.
    pub digest: String,
    /// How many they are.
    pub size: u64,
    /// Whether it is an archive, as in [`crate::journal::Artifact::archive`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub archive: bool,
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

/// What makes an outcome true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accept {
    /// argv of the check, run in the workspace after the answer. Empty: there is no check.
    pub command: Vec<String>,
    /// The exit code that accepts.
    pub exit_code: i32,
    /// The agent that judges what the check accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<Judge>,
    /// How often an answer may be given; what check or judge say to one that they do not accept (but the last) is the agent's next observation.
    pub rounds: u32,
    /// Whether the output with the best score is taken when no round is accepted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub best: bool,
}

/// The agent that judges, and the score that accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judge {
    /// Name of the Agent, in the Task's namespace.
    pub agent: String,
    /// The score that an output is compared with.
    pub score: Score,
    /// Whether that score itself accepts.
    pub inclusive: bool,
}

impl Judge {
    /// Whether this score accepts.
    #[must_use]
    pub fn accepts(&self, score: Score) -> bool {
        score > self.score || (self.inclusive && score == self.score)
    }
}

/// A score from 0 to 1, in ten-thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Score(u32);

impl Score {
    /// How many make 1.
    const ONE: u32 = 10_000;

    /// The score of a number; `None` for one that is not from 0 to 1. What is smaller than a ten-thousandth is left out.
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 10,000 by then"
    )]
    pub fn from_f64(number: f64) -> Option<Self> {
        // So that 0.57, which is 5699.999... ten-thousandths, is 5700.
        let parts = number * f64::from(Self::ONE) + 1e-6;
        (0.0..=1.0).contains(&number).then_some(Self(parts as u32))
    }

    /// The score of a decimal, like `0.8`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_f64(text.parse().ok()?)
    }
}

impl std::fmt::Display for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, parts) = (self.0 / Self::ONE, self.0 % Self::ONE);
        let digits = format!("{parts:04}");
        match digits.trim_end_matches('0') {
            "" => write!(f, "{whole}"),
            digits => write!(f, "{whole}.{digits}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_decimals_from_0_to_1() {
        for (number, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.57, "0.57"),
            (0.29, "0.29"),
            (0.8, "0.8"),
            (0.123_456, "0.1234"),
            (0.999_99, "0.9999"),
        ] {
            let score = Score::from_f64(number).unwrap();
            assert_eq!(score.to_string(), text);
            assert_eq!(Score::parse(text), Some(score));
        }
        for number in [-0.1, 1.01, f64::NAN, f64::INFINITY] {
            assert_eq!(Score::from_f64(number), None);
        }
        let judge = |inclusive| Judge {
            agent: "critic".into(),
            score: Score::parse("0.8").unwrap(),
            inclusive,
        };
        let at = Score::parse("0.8").unwrap();
        assert!(judge(true).accepts(at) && !judge(false).accepts(at));
        assert!(judge(false).accepts(Score::parse("0.8001").unwrap()));
    }
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
