//! The read API of the gateway: for people and their tools, with the bearer token of their kubeconfig (own listener). Guarded by
//! SubjectAccessReview: `get` on `tasks/transcript`, `tasks/artifacts`, `tasks/usage` of the Task, and on `tasks/audit` in all namespaces;
//! `get` and `delete` on `agents/memory` of the Agent, or of all in the namespace where none is named.
//!
//! | call | answer |
//! |---|---|
//! | `GET /read/v1/namespaces/{ns}/tasks/{name}/transcript?uid=&from=&follow=` | lines of JSON, one [`crate::journal::Record`] each; with `follow=true` it stays open until the newest attempt has ended (a `Result` or `Fenced` record that no later attempt follows within the request) |
//! | `GET /read/v1/namespaces/{ns}/tasks/{name}/usage?uid=` | [`crate::admin::TaskUsage`] |
//! | `GET /read/v1/namespaces/{ns}/tasks/{name}/artifacts?uid=` | list of [`crate::journal::Artifact`] |
//! | `GET /read/v1/namespaces/{ns}/tasks/{name}/artifacts/{artifact}?uid=` | the bytes |
//! | `GET /read/v1/costs?by=&label=&from=&to=` | list of [`CostLine`]: over all namespaces; `get` on `tasks/usage` in all of them |
//! | `GET /read/v1/namespaces/{ns}/costs?by=&label=&from=&to=` | the same of what one namespace pays; `get` on its `tasks/usage` |
//! | `GET /read/v1/audit?from=&to=` | lines of JSON, one [`AuditRecord`] each, in order |
//! | `GET /read/v1/audit/verify?frame=` | [`AuditCheck`]; with the hash of that frame of the log |
//! | `GET /read/v1/namespaces/{ns}/memory?agent=&requester=` | list of [`NoteLine`], the newest first |
//! | `DELETE /read/v1/namespaces/{ns}/memory?agent=&requester=&id=` | [`Deleted`]: the notes that are meant, all of the namespace where nothing is named |
//!
//! `by` is a [`CostBy`], `label` the key that it needs for [`CostBy::Label`], `from` and `to` are milliseconds since the Unix epoch, the
//! latter excluded.
//!
//! Without `uid` the newest Task of that name is meant.

use crate::journal::CallUsage;
use serde::{Deserialize, Serialize};

/// What has a line of its own in a list of costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CostBy {
    /// Who pays.
    Namespace,
    /// `<namespace>/<agent>`; `(none)` for calls without one.
    Agent,
    /// The user who created the Task, or who called.
    Requester,
    /// `<namespace>/<provider> <model>`.
    Model,
    /// The day in UTC on which a call ended.
    Day,
    /// `<namespace>/<task>`; `(none)` for callers that are no Task.
    Task,
    /// The value of a label of the Task; `(none)` for Tasks without it and for callers that are no Task.
    Label,
    /// `<namespace>/<workflow>`: the value of [`WORKFLOW_LABEL`]; `(none)` for Tasks without it and for callers that are no Task.
    Workflow,
    /// `<day> <namespace>/<provider> <model>`, the model as the provider named it in its answer: what an invoice has a line for.
    Bill,
}

/// The label that Tasks of one workflow have, with its name: whatever runs them sets it.
pub const WORKFLOW_LABEL: &str = "oarmaster.dev/workflow";

/// A line of a list of costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CostLine {
    /// Whose it is.
    pub key: String,
    /// Hops that were answered.
    pub calls: u64,
    /// Tokens and money.
    #[serde(flatten)]
    pub usage: CallUsage,
    /// Of the money, what was booked without the provider's word.
    pub estimated_pico: u64,
    /// Of the money, what was billed beyond reservations.
    pub overrun_pico: u64,
}

/// The virtual resources that RBAC guards, as subresources of `tasks`.
pub const SUBRESOURCES: [&str; 4] = ["transcript", "artifacts", "usage", "audit"];

/// A note of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NoteLine {
    /// Its id.
    pub id: String,
    /// Name of the agent.
    pub agent: String,
    /// Who asked for the Task that kept it; who alone the agent recalls it for.
    pub requester: String,
    /// UID of that Task.
    pub task: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// What it says. A model wrote it.
    pub text: String,
}

/// How many notes were deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deleted {
    /// The number.
    pub notes: u64,
}

/// What of a person was erased, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErasedLine {
    /// Tasks whose transcripts, outputs and artifacts go.
    pub tasks: u64,
    /// Notes that agents kept for the person.
    pub notes: u64,
    /// `<namespace>/<name>` of Tasks that are not over, or are part of one that is not: nothing of them goes.
    pub stay: Vec<String>,
}

/// What somebody did, or was kept from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AuditAct {
    /// The gateway has begun.
    Start,
    /// The gateway has ended.
    Stop,
    /// The operator opened an attempt.
    OpenAttempt,
    /// The operator raised a Task's budget.
    RaiseBudget,
    /// An attempt was stopped.
    Fence,
    /// A pilot claimed an attempt.
    Claim,
    /// A request to a provider was let through, or a model call was refused.
    Call,
    /// A request to a provider ended.
    CallEnd,
    /// A transcript, artifacts, costs or this record were asked for.
    Read,
    /// Somebody showed a token.
    Identify,
    /// The gateway let go what is no longer kept.
    Retain,
    /// Code of a Task was connected to a domain, or was kept from it.
    Egress,
    /// Such a connection ended.
    EgressEnd,
    /// An agent kept a note.
    Remember,
    /// Notes were deleted, or gave way to newer ones.
    Forget,
    /// All that was kept of a person was to be erased.
    Erase,
    /// An agent is about to call a tool of an MCP server.
    Tool,
}

impl AuditAct {
    /// As it is written in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::OpenAttempt => "openAttempt",
            Self::RaiseBudget => "raiseBudget",
            Self::Fence => "fence",
            Self::Claim => "claim",
            Self::Call => "call",
            Self::CallEnd => "callEnd",
            Self::Read => "read",
            Self::Identify => "identify",
            Self::Retain => "retain",
            Self::Egress => "egress",
            Self::EgressEnd => "egressEnd",
            Self::Remember => "remember",
            Self::Forget => "forget",
            Self::Erase => "erase",
            Self::Tool => "tool",
        }
    }
}

/// A line of the audit: a view of the gateway's log. Never a prompt, an output, a key or a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// Number of the frame of the log that holds it.
    pub frame: u64,
    /// SHA-256 that the frame carries, in hex: of the frame before, and so of everything before it. Empty in frames from before there was
    /// one.
    pub before: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// What.
    pub act: AuditAct,
    /// Whether it was allowed.
    pub allowed: bool,
    /// The Kubernetes user; empty where nobody is known.
    pub who: String,
    /// The namespace that pays, or is asked for.
    pub namespace: String,
    /// UID of the Task.
    pub task: String,
    /// To what: a pool, a provider and its model, a subresource and its Task, a listener, a domain.
    pub object: String,
    /// Why it was refused or stopped, or how a call ended; empty after an answer.
    pub reason: String,
    /// How often; repetitions within a minute are one line.
    pub count: u64,
    /// Money in pico-USD: reserved for a call, booked at its end.
    pub pico: u64,
}

/// Whether the log is what was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditCheck {
    /// How many frames there are.
    pub frames: u64,
    /// Of them: those of which only the hash is kept.
    pub taken: u64,
    /// The first frame with a hash of what was before it; absent where there is none.
    pub first: Option<AuditHash>,
    /// The last one, with its own hash.
    pub last: Option<AuditHash>,
    /// The frame that was asked for, with its own hash.
    pub asked: Option<AuditHash>,
    /// The first thing that is not as it was written.
    pub broken: Option<String>,
}

/// A frame of the log and a SHA-256 in hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditHash {
    /// Its number.
    pub frame: u64,
    /// The hash.
    pub hash: String,
}
