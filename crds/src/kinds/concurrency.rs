//! How many runs of a Workflow go on at once, and how a run stands with that.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many runs of a Workflow with the same key go on at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConcurrencySpec {
    /// What runs have in common of which only so many go on at once, like `${params.repo}`: a text with expressions over `params`. Runs of another Workflow do not count. 1 to 2048 characters, and at most 512 with its values.
    #[schemars(length(min = 1, max = 2048))]
    pub key: String,
    /// How many. 1 to 100, default 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    pub limit: i64,
    /// What becomes of a run for which there is no place. Default Queue.
    #[serde(default)]
    pub policy: ConcurrencyPolicy,
}

const fn one() -> i64 {
    1
}

/// What becomes of a run for which there is no place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConcurrencyPolicy {
    /// It waits, the oldest first. It has no pod meanwhile, and its time does not run.
    #[default]
    Queue,
    /// It fails (`Conflict`).
    Reject,
    /// It takes the place of an older run, which is cancelled; it begins when that one's `finally` has ended. Of those that wait only the newest remain.
    Replace,
}

/// The place of a run among those of its key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SlotStatus {
    /// The key, with its values.
    pub key: String,
    /// Whether it takes the place of older runs: `concurrency.policy` is Replace.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replaces: bool,
    /// The Lease that stands for its place, which it has, or is about to take. Absent while it waits, and after its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
    /// UID of that Lease, once it has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The run above it that has the place in which this one goes on, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
    /// The newer run for which it stops.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
}

impl SlotStatus {
    /// Whether nothing of the run may begin before it has a place.
    #[must_use]
    pub const fn waits(&self) -> bool {
        self.uid.is_none() && self.within.is_none()
    }
}
