//! The read API of the gateway: for people and their tools, with the bearer token of their kubeconfig (own listener). Guarded by
//! SubjectAccessReview: `get` on `tasks/transcript`, `tasks/artifacts`, `tasks/usage` of the Task.
//!
//! | call | answer |
//! |---|---|
//! | `GET /read/v1/namespaces/{ns}/tasks/{name}/transcript?uid=&from=&follow=` | lines of JSON, one [`crate::journal::Record`] each; with `follow=true` it stays open until the newest attempt has ended (a `Result` or `Fenced` record that no later attempt follows within the request) |
//! | `GET /read/v1/namespaces/{ns}/tasks/{name}/usage?uid=` | [`crate::admin::TaskUsage`] |
//! | `GET /read/v1/namespaces/{ns}/tasks/{name}/artifacts?uid=` | list of [`crate::journal::Artifact`] |
//! | `GET /read/v1/namespaces/{ns}/tasks/{name}/artifacts/{artifact}?uid=` | the bytes |
//! | `GET /read/v1/costs?by=&from=&to=` | list of [`CostLine`]: over all namespaces; `get` on `tasks/usage` in all of them |
//! | `GET /read/v1/namespaces/{ns}/costs?by=&from=&to=` | the same of what one namespace pays; `get` on its `tasks/usage` |
//!
//! `by` is a [`CostBy`], `from` and `to` are milliseconds since the Unix epoch, the latter excluded.
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
}

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
}

/// The virtual resources that RBAC guards, as subresources of `tasks`.
pub const SUBRESOURCES: [&str; 3] = ["transcript", "artifacts", "usage"];
