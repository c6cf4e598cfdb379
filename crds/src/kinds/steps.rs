//! How the steps of a run stand: the part of a Task's status that the scheduler reads and writes.

use super::concurrency::SlotStatus;
use super::task::{FailureStatus, Phase};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How the steps of a workflow stand. Those that are not named have not begun.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StepsStatus {
    /// `NAME@sha256:...` of the Workflow's spec that runs. A ControllerRevision of the namespace keeps it, whose label `oarmaster.dev/task-uid` is the Task's UID.
    pub revision: String,
    /// How many steps have ended, of how many: like `2/7`.
    pub progress: String,
    /// How many steps there are, those of `finally` among them.
    pub total: i64,
    /// Since when the run's time runs: it does while a Task of a step is under way that is neither paused nor waits. `ranFor` is what ran before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running_since: Option<Time>,
    /// The run's place among those of its key, of a Workflow with `concurrency`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<SlotStatus>,
    /// Steps that are under way. At most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub active: Vec<ActiveStep>,
    /// Steps that succeeded, in the order in which they did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub succeeded: Vec<String>,
    /// Steps whose `if` was false.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
    /// Steps that were not begun, since one that they need did not succeed, or the run stopped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub omitted: Vec<String>,
    /// Steps that failed or were cancelled, in the order in which they did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedStep>,
    /// Of steps with `forEach`, how their items stand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fans: Vec<FanStatus>,
    /// Of steps with `repeat`, how often they were done, where that was more than once: by the step's name the number, with `forEach` each number with its items like `2=4,9-12;3=17`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub repeated: BTreeMap<String, String>,
    /// Of steps that were run anew, the number of that `spec.rerun.count`, written like `repeated`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rerun: BTreeMap<String, String>,
    /// Why what was asked for after the end of the run (`spec.rerun`, `spec.state: RolledBack`) is not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The `spec.rerun.count` that was carried out last, or refused.
    #[serde(skip_serializing_if = "is_zero")]
    pub reruns: i64,
    /// How the run ends, once that is certain; what is left are steps to stop, what is to be undone, and `finally`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
}

impl StepsStatus {
    /// How many steps have ended.
    #[must_use]
    pub fn ended(&self) -> usize {
        self.succeeded.len() + self.skipped.len() + self.omitted.len() + self.failed.len()
    }

    /// Whether nothing has begun.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.ended() == 0 && self.active.is_empty() && self.fans.is_empty() && self.ending.is_none()
    }
}

/// What does a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StepKind {
    /// A Task.
    Task,
    /// People, by an Approval.
    Approval,
    /// Time.
    Wait,
}

/// A step that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActiveStep {
    /// Name of the step.
    pub name: String,
    /// What does it.
    pub kind: StepKind,
    /// Name of that Task or Approval.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// Until when is waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Time>,
    /// UID of it, once it was seen: it is not made again then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// How it stands.
    pub phase: Phase,
    /// How often it was made, from 1: an Approval that is deleted is asked for again.
    #[serde(default = "first", skip_serializing_if = "is_first")]
    pub round: i64,
    /// The item of `forEach`, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<i64>,
    /// How often it is done by now, from 1: see `repeat`.
    #[serde(default = "first", skip_serializing_if = "is_first")]
    pub turn: i64,
    /// Whether it undoes what the step did.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undo: bool,
}

const fn first() -> i64 {
    1
}

impl ActiveStep {
    /// What people call it: `work`, `work[3]` of an item, `undo of work` of what undoes it.
    #[must_use]
    pub fn label(&self) -> String {
        let undo = if self.undo { "undo of " } else { "" };
        match self.item {
            Some(item) => format!("{undo}{}[{item}]", self.name),
            None => format!("{undo}{}", self.name),
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_first(round: &i64) -> bool {
    *round == 1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedStep {
    /// Name of the step.
    pub name: String,
    /// Name of its Task or Approval, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The failure class; `Cancelled` of a step that was stopped.
    pub class: String,
    /// What happened, shortened; `status.failure` of its Task has all of it.
    pub message: String,
}

/// How a run ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ending {
    /// `Succeeded`, `Failed`, `Cancelled` or `RolledBack`.
    pub phase: Phase,
    /// Why, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureStatus>,
    /// Since when.
    pub since: Time,
    /// Since when the time of `finally` runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finally_since: Option<Time>,
    /// How far the run is undone, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<UndoStatus>,
}

/// How the items of a step with `forEach` stand. They begin in their order: those below `begun` that are neither under way nor among `again` and `failed` have succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FanStatus {
    /// Name of the step.
    pub name: String,
    /// How many items there are.
    pub items: i64,
    /// What they are: the list is the same as long as the step goes on.
    pub digest: String,
    /// How many have begun.
    pub begun: i64,
    /// Of those, the ones that begin anew: see `spec.rerun` of the Task. Like `3,17-18`, or where that would be longer their bits, the first one first: `base64:...`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub again: String,
    /// Those that failed, from 0, written like `again`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub failed: String,
    /// Those whose Tasks are gone, written like `again`: of a step with more than 100 items the gateway keeps what they left.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub folded: String,
    /// The first one that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_failure: Option<FailedStep>,
}

/// How far a run is undone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct UndoStatus {
    /// Steps that are through, in that order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<String>,
    /// Of the step whose turn it is, how many of its items have begun to be undone; the last of them is the first.
    #[serde(skip_serializing_if = "is_zero")]
    pub begun: i64,
    /// Since when its time runs: `timeouts.run` of the Workflow, anew after a pause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// The first step that could not be undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedStep>,
}
