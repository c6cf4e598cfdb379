//! Work that need not be done again, since it was done already.

use crate::duration::GepDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When the outcome of the same work is taken in place of doing it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemoSpec {
    /// What the outcome depends on, beside what runs. 1 to 2048 characters.
    #[schemars(length(min = 1, max = 2048))]
    pub key: String,
    /// How long after its end the outcome is taken. 1s to 7 days (168h); no longer than what Tasks keep is kept (chart value `gateway.retention.artifacts`), where something of it is needed.
    pub ttl: GepDuration,
}

/// How a Task with `memo` stands with others that do the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MemoStatus {
    /// What is the same of Tasks that do the same: a digest.
    pub identity: String,
    /// Name of the Task that does it now, whose outcome this one waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// The Task whose outcome this one took. It has done nothing itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<MemoSource>,
}

/// The Task whose outcome another one took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemoSource {
    /// Its name, in the same namespace.
    pub name: String,
    /// Its UID.
    pub uid: String,
}
