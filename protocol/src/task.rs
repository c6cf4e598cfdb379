//! The task API: what a pilot says to the gateway's data listener, beside `/v1/chat/completions`.
//!
//! All paths but `work` need a bearer token of [`crate::AUDIENCE`] bound to the attempt's pod, or a [`Capability`]; the gateway finds the
//! Task from it, never from the request. `work` needs a token of the shared pilots. Errors are [`ApiError`].
//!
//! | call | request | answer |
//! |---|---|---|
//! | `POST /task/v1/claim` | [`ClaimRequest`] | [`Claim`] |
//! | `POST /task/v1/work` | - | [`Work`], or 204 where there was none within [`WORK_WAIT`] |
//! | `POST /task/v1/renew` | - | 204: the capability lasts for another [`CLAIM_LASTS`] |
//! | `POST /task/v1/release` | [`Release`] | 204: the capability is worth nothing any more, and another pilot may have the attempt |
//! | `GET /task/v1/assignment` | - | [`crate::assignment::Assignment`] |
//! | `POST /task/v1/journal` | [`Append`] | [`Appended`] |
//! | `GET /task/v1/journal/{from}` | - | [`Journal`]: records from this number on; empty at the end |
//! | `GET /task/v1/continued` | - | the assignment of the Task that this one continues |
//! | `GET /task/v1/continued/{from}` | - | [`Journal`] of that Task |
//! | `GET /task/v1/handed` | - | the [`crate::journal::Blob`]s of the workspace that this Task was handed, or begins with: these it has from then on |
//! | `PUT /task/v1/blobs` | the bytes of a part of a checkpoint, at most [`MAX_BLOB_BYTES`] | [`crate::journal::Blob`] |
//! | `GET /task/v1/blobs/{digest}` | - | the bytes of a part of a checkpoint, or of an artifact that the assignment names |
//! | `PUT /task/v1/artifacts/{name}` | the bytes, at most [`MAX_ARTIFACT_BYTES`]; an archive with the type [`ARCHIVE_TYPE`] | [`crate::journal::Artifact`] |
//! | `POST /task/v1/result` | [`Append`] with one `Result` record | [`Appended`] |
//! | `GET /task/v1/requests/{id}` | held open until there is an answer, at most [`crate::request::POLL`] | [`crate::request::RequestState`] |
//! | `GET /task/v1/tools` | - | [`crate::tool::Offer`] |
//! | `POST /task/v1/tools/{name}` | [`crate::tool::ToolCall`] | [`crate::tool::ToolAnswer`], when the call has ended |
//! | `GET /task/v1/egress` | upgraded to [`EGRESS_PROTOCOL`], with [`SESSION_HEADER`] | what one program of the sandbox and an HTTP proxy say to each other, or one call of a model |
//! | `POST /v1/chat/completions` | OpenAI's, not streamed, with the headers below | OpenAI's, with [`NEXT_HEADER`] |

use crate::journal::{Body, Record};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Header: the session of the claim. On every call but the claim.
pub const SESSION_HEADER: &str = "oarmaster-session";
/// Header: the number of the model call in the Task. A repeated number attaches to the running call or returns the recorded answer.
pub const CALL_HEADER: &str = "oarmaster-call";
/// Header: the expected next sequence number; in answers, the new one.
pub const NEXT_HEADER: &str = "oarmaster-next";

/// Name of the protocol that `/task/v1/egress` is upgraded to.
pub const EGRESS_PROTOCOL: &str = "oarmaster-egress";

/// Largest artifact in bytes.
pub const MAX_ARTIFACT_BYTES: u64 = 32 << 20;

/// `Content-Type` of an artifact that is an archive.
pub const ARCHIVE_TYPE: &str = "application/x-tar";

/// Largest part of a checkpoint in bytes. All parts of one but the last have as many.
pub const MAX_BLOB_BYTES: u64 = 8 << 20;

/// Asks for the attempt that the token belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimRequest {
    /// Digest of the assignment that the Job names; another one is refused.
    pub assignment: String,
    /// Random, made by the pilot process, so that a repeated claim of the same process is the same claim.
    pub nonce: String,
}

/// The newest claim wins; the session before it gets 409 from then on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// The session.
    pub session: String,
    /// The sequence number of the next record.
    pub next: u64,
    /// The number of the next model call.
    pub next_call: u64,
    /// Most tokens of a model call, as far as the gateway knows: those of the member of the pool that takes the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u64>,
}

/// How long a claim of a shared pilot lasts that is not renewed.
pub const CLAIM_LASTS: Duration = Duration::from_secs(30);
/// How long the gateway looks for work before it says that there is none.
pub const WORK_WAIT: Duration = Duration::from_secs(20);

/// An attempt for a shared pilot, which is claimed already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Work {
    /// The bearer token of this attempt's calls.
    pub capability: Capability,
    /// UID of the Task.
    pub task_uid: String,
    /// The attempt.
    pub attempt: u32,
    /// Digest of its assignment.
    pub assignment: String,
    /// The claim.
    pub claim: Claim,
}

/// Gives an attempt back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// The session of the claim.
    pub session: String,
    /// Why the pilot cannot run it at all: then it has failed, and no other pilot gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// A secret that stands for one claim of one attempt, for as long as it is renewed. It is not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Capability(pub String);

impl Capability {
    /// What every capability begins with, and no token of Kubernetes.
    pub const PREFIX: &str = "oarmaster-claim-";
}

impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Capability(..)")
    }
}

/// Appends records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Append {
    /// The expected sequence number of the first record. Repeating an append whose answer was lost is safe: equal records are accepted.
    pub next: u64,
    /// The records.
    pub records: Vec<Body>,
}

/// A part of the Task's journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Journal {
    /// Durable records, in order and without gaps.
    pub records: Vec<Record>,
}

/// The append is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Appended {
    /// The sequence number of the next record.
    pub next: u64,
}

/// The body of every error of the gateway, in the form that OpenAI's SDKs understand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// The error.
    pub error: ApiErrorBody,
}

/// The error itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiErrorBody {
    /// What happened and what to do.
    pub message: String,
    /// OpenAI's type (`invalid_request_error`, `authentication_error`, `permission_error`, `rate_limit_error`, `api_error`).
    pub r#type: String,
    /// Our code, see [`ErrorCode`].
    pub code: String,
}

/// The codes of [`ApiErrorBody`]. A pilot acts on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// 400. The request cannot be understood; the message names the field.
    InvalidRequest,
    /// 401. No token, or one that Kubernetes or the audience check refused.
    Unauthenticated,
    /// 403. The caller may not do this.
    Forbidden,
    /// 404. No such pool, model or path.
    NotFound,
    /// 409. Another session has the attempt, or it was fenced: the pilot exits.
    Fenced,
    /// 409. The sequence number is not the next one.
    Conflict,
    /// 409. The same call number with another body.
    Diverged,
    /// 409. The call was open when the gateway stopped; it is booked, and may be asked once more under a new number.
    InDoubt,
    /// 400. The conversation is longer than the model takes. OpenAI's own code.
    ContextLength,
    /// 413. The body is larger than its bound.
    TooLarge,
    /// 429. The Task's own budget does not cover the worst case of this call.
    BudgetExceeded,
    /// 429. The limits of the pool's providers allow no more now; `Retry-After` says when.
    RateLimited,
    /// 429. A Budget of the cluster does not cover the worst case of this call: after `Retry-After`, or a raise, it may. No Task is over.
    WindowExceeded,
    /// 400. The request has a field whose cost has no bound.
    UnboundedCost,
    /// 400. The provider states no price for the model.
    UnknownPrice,
    /// 502 or 503. No member of the pool answered.
    ModelUnavailable,
    /// 500. A defect.
    Internal,
}

impl ErrorCode {
    /// The code as it is written in an answer.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Fenced => "fenced",
            Self::Conflict => "conflict",
            Self::Diverged => "diverged",
            Self::InDoubt => "in_doubt",
            Self::ContextLength => "context_length_exceeded",
            Self::TooLarge => "too_large",
            Self::BudgetExceeded => "budget_exceeded",
            Self::RateLimited => "rate_limited",
            Self::WindowExceeded => "window_exceeded",
            Self::UnboundedCost => "unbounded_cost",
            Self::UnknownPrice => "unknown_price",
            Self::ModelUnavailable => "model_unavailable",
            Self::Internal => "internal",
        }
    }
}
