//! The admin API of the gateway, for the operator alone (a token of [`crate::ADMIN_AUDIENCE`], own listener).
//!
//! | call | request | answer |
//! |---|---|---|
//! | `PUT /admin/v1/attempts/{taskUid}/{n}` | [`OpenAttempt`] | [`AttemptReport`]; again with other content: 409 `diverged` |
//! | `GET /admin/v1/attempts/{taskUid}/{n}` | - | [`AttemptReport`] |
//! | `PUT /admin/v1/attempts/{taskUid}/{n}/fence` | [`Fence`] | [`AttemptReport`]; idempotent |
//! | `PUT /admin/v1/tasks/{taskUid}/budget` | [`TaskBudget`] | [`AttemptReport`] of the newest attempt; only a raise has an effect |
//! | `PUT /admin/v1/tasks/{taskUid}/requests/{id}` | [`crate::request::Reply`] | [`AttemptReport`] of the newest attempt; the first answer stays |
//! | `PUT /admin/v1/tasks/{taskUid}/kept/{step}` | list of [`KeptItem`] | `null`; the newest result of an item counts. `step`: 1 to 64 characters of `[a-z0-9-]`. No room: 413 `too_large` |
//! | `GET /admin/v1/tasks/{taskUid}/kept/{step}` | - | list of [`KeptItem`], in their order; empty where nothing ever was; no longer kept, or an unknown Task: 404 `not_found`; more than [`MAX_KEPT_READ`]: 413 `too_large` |
//! | `GET /admin/v1/tasks/{taskUid}/kept/{step}?item=N` | - | the same, of one item |
//! | `GET /admin/v1/attempts?open=true` | - | list of [`OpenAttemptRef`] |
//! | `GET /admin/v1/providers` | - | [`Health`] |
//! | `GET /admin/v1/budgets` | - | list of [`BudgetReport`] |
//! | `POST /admin/v1/room` | [`RoomQuery`] | [`Room`] |
//! | `GET /admin/v1/changes` | - | endless lines of JSON, one [`Change`] each; first a `Hello` |
//!
//! A path that there is not is a 404 `invalid_request`.

use crate::FailureClass;
use crate::assignment::{Assignment, Score, TaskRef};
use crate::journal::{CallUsage, Outcome};
use crate::request::OpenRequest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Opens attempt n of a Task and fences every lower one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenAttempt {
    /// Where its pilot runs: nobody else may have it.
    pub runs_in: RunsIn,
    /// What is to be done. Absent for n > 1: the assignment of attempt n - 1 is taken over, so that later edits do not reach this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment: Option<Assignment>,
    /// The Task's budget over all its attempts.
    pub budget: TaskBudget,
    /// Who created the Task, for its ledger rows: the Kubernetes user name. Absent for Tasks from before it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    /// UID of the Task that asked for this one: what this one spends counts in that one's budget, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Whether a part of its budget ([`KEPT_PART`]) is kept for those Tasks right below it that end its run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps: bool,
    /// Whether it ends the run of its parent, in `finally` or by undoing: it may spend what that one keeps, and so may what is below it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends: bool,
    /// The Task's labels, for sums of costs by label: at most [`MAX_LABELS`], the first in the order of their keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Where the pilot of an attempt runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RunsIn {
    /// In a pod of its own: one of the Job of this name.
    Job(String),
    /// In one of the shared pilots, whichever takes it ([`crate::task::Work`]).
    Shared,
    /// Nowhere: it is a workflow, which the operator drives itself. Nobody can claim it.
    Operator,
}

/// The part of a run's budget that is kept for undoing and for `finally`: one in twenty, of money and of tokens.
pub const KEPT_PART: u64 = 20;

/// Most labels of a Task that the ledger knows.
pub const MAX_LABELS: usize = 32;

/// The budget of a Task: what it and all Tasks below it may take. One below it cannot have more than is left of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskBudget {
    /// Most money in pico-USD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pico_usd: Option<u64>,
    /// Most tokens, input and output together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Most Tasks below it, over all levels. One counts when its first attempt is opened, and stays counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u64>,
    /// Most levels of Tasks below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u64>,
}

/// Stops an attempt: its session may neither call a model nor write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fence {
    /// Why, for the transcript.
    pub reason: String,
    /// That the Task ends with it, and as what it fails where it is found to go on all the same ([`Over`]). Absent where another attempt may follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<FailureClass>,
}

impl Fence {
    /// Stops an attempt whose Task was deleted.
    #[must_use]
    pub fn deleted() -> Self {
        Self {
            reason: "the Task was deleted".to_owned(),
            ends: Some(FailureClass::StateRegressed),
        }
    }
}

/// The Task ended when its attempt was stopped. A cluster that was restored to a point before that may not know it any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Over {
    /// As what the Task fails that is found to go on: [`FailureClass::StateRegressed`] where it did not end as failed.
    pub class: FailureClass,
    /// Why it was stopped.
    pub reason: String,
}

/// What the gateway knows of an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptReport {
    /// The Task.
    pub task: TaskRef,
    /// The attempt.
    pub attempt: u32,
    /// Digest of its assignment; the Job names it.
    pub assignment: String,
    /// The pinned agent of the assignment, if the target is an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<String>,
    /// Where its pilot runs.
    pub runs_in: RunsIn,
    /// When it was opened, in milliseconds since the Unix epoch.
    pub opened_at_ms: i64,
    /// When a pilot claimed it for the first time; absent until one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_at_ms: Option<i64>,
    /// Whether it was fenced.
    pub fenced: bool,
    /// That the Task ended with it without an outcome of its pilot, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Over>,
    /// Whether the sandbox's isolation was proven; absent until the pilot said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolated: Option<Isolated>,
    /// How it ended, once the pilot said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// What the Task has used so far, over all its attempts.
    pub usage: TaskUsage,
    /// What the Tasks below it have used, over all of theirs: calls, sums, what is reserved, and models.
    #[serde(default)]
    pub below: TaskUsage,
    /// The best score that a judge gave in this attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<Score>,
    /// What the Task has asked for and was not answered, over all its attempts, in the order of ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<OpenRequest>,
    /// Sequence number of the next record.
    pub next: u64,
}

/// What is left of an item of a step of a run whose Tasks are gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptItem {
    /// Which item, from 0.
    pub item: u32,
    /// How each repetition of it ended, in the operator's words.
    pub results: Vec<serde_json::Value>,
}

/// Most bytes that are kept at once.
pub const MAX_KEPT_WRITE: usize = 4 << 20;
/// Most bytes of all items of a step that are read at once.
pub const MAX_KEPT_READ: u64 = 8 << 20;

/// The result of the isolation probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Isolated {
    /// Whether it was proven.
    pub proven: bool,
    /// What was found, in one line.
    pub message: String,
}

/// What a Task has used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskUsage {
    /// Who created the Task: whose costs these are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    /// Model calls that were answered.
    pub calls: u64,
    /// Sums over all hops.
    #[serde(flatten)]
    pub sum: CallUsage,
    /// Money of open reservations, in pico-USD.
    pub reserved_pico: u64,
    /// Tool calls that were started.
    pub tool_calls: u64,
    /// Models that answered, in order of first use.
    pub models: Vec<String>,
}

/// An attempt that is neither fenced nor ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenAttemptRef {
    /// The Task.
    pub task: TaskRef,
    /// The attempt.
    pub attempt: u32,
}

/// What the gateway knows of the providers it watches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// One entry per ModelProvider.
    pub providers: Vec<ProviderHealth>,
}

/// A provider as the gateway sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderHealth {
    /// Namespace of the ModelProvider.
    pub namespace: String,
    /// Name of the ModelProvider.
    pub name: String,
    /// Generation of the object that the gateway has loaded.
    pub generation: i64,
    /// Keys and what is known of them.
    pub keys: Vec<KeyHealth>,
    /// Absent until something was tried; then whether the endpoint answered at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reachable: Option<Reachable>,
    /// Why nothing is sent there until its owner or the administrator changes something; absent where that is not so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unusable: Option<String>,
    /// Its models, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelHealth>,
}

/// One model of a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelHealth {
    /// Name of the model in the ModelProvider.
    pub name: String,
    /// Why it is never asked, for a person; empty where it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub problem: String,
    /// Whether requests pass.
    pub circuit: CircuitHealth,
}

/// Whether requests to a model pass, with the best of its keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "state",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum CircuitHealth {
    /// They do.
    #[default]
    Closed,
    /// None does, since too many failed or the provider asked to wait.
    Open {
        /// Until then, in milliseconds since the Unix epoch.
        until_ms: i64,
    },
    /// One does, to try it.
    HalfOpen,
}

/// One key. Never the key itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyHealth {
    /// Name of the key in the ModelProvider.
    pub name: String,
    /// What is known of it.
    pub state: KeyState,
    /// For a person: what is wrong and the command that mends it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// State of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyState {
    /// Usable.
    Ok,
    /// The Secret does not exist.
    SecretMissing,
    /// The Secret has no such key, or it is empty, or not one line of printable ASCII.
    SecretInvalid,
    /// The gateway may not read the Secret.
    SecretForbidden,
    /// The provider refused it (401 or 403); out until the Secret changes.
    Invalid,
    /// The account behind it has no money or quota left, as the provider said; it is tried again later, or when the Secret changes.
    Exhausted,
}

/// Whether an endpoint answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reachable {
    /// Whether the last try got any HTTP answer.
    pub ok: bool,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Asks whether Budgets leave room for the next call of a Task, before it is given a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomQuery {
    /// The Task.
    pub task: TaskRef,
    /// `<namespace>/<pool>` of its calls. Absent once an attempt was opened: the gateway knows it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Name of its agent, where `pool` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Who created it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
}

/// Whether there is room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Room {
    /// The Budget that has none; absent where there is room as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Blocked>,
}

/// A Budget that has no room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Blocked {
    /// The Budget, what is spent, when it resets and what the next call needs, in one line.
    pub message: String,
    /// When its counter begins anew, in milliseconds since the Unix epoch; absent where it never does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets_ms: Option<i64>,
}

/// A Budget as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BudgetReport {
    /// Name of the Budget.
    pub name: String,
    /// Generation of the object that the gateway counts by.
    pub generation: i64,
    /// Why the gateway does not count for it; absent where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Most money in a window of a counter, in pico-USD.
    pub limit_pico: u64,
    /// When the counters begin anew, in milliseconds since the Unix epoch; absent where they never do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets_ms: Option<i64>,
    /// How many counters have no room.
    pub exceeded: u64,
    /// How many counters there are in this window.
    pub counter_count: u64,
    /// The largest 50 of them, the largest first.
    pub counters: Vec<BudgetCounter>,
}

/// A counter of a Budget in this window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BudgetCounter {
    /// Whose money, like `namespace/team`.
    pub key: String,
    /// Settled, in pico-USD.
    pub spent_pico: u64,
    /// Reserved by running hops, in pico-USD.
    pub reserved_pico: u64,
    /// Whether nothing is left of it, or not what the last call needed that it refused.
    pub exceeded: bool,
}

/// Something the operator may want to look at again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Change {
    /// The stream is up. Everything may have changed before it.
    Hello,
    /// Nothing, every 10 s, so that a dead connection is noticed.
    Ping,
    /// Usage, isolation or outcome of a Task changed.
    Task {
        /// The Task.
        task: TaskRef,
    },
    /// What is counted for a Budget changed; at most every 5 s.
    Budgets,
    /// Health of a provider changed.
    Provider {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
    },
}
