//! What a run runs beside a Workflow by its name: a graph that somebody hands it, and one that an agent plans for a goal.

use super::approval::{Approvers, OnTimeout};
use super::workflow::a_day;
use crate::common::{LocalRef, any_object};
use crate::duration::GepDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How many steps a graph may have that a model made, if nobody says.
pub const PLANNED_STEPS: i64 = 30;
/// Most often that a goal is planned anew after a plan failed.
pub const MAX_REPLANS: i64 = 5;
/// Most often that a planner is asked for one plan: what is wrong with the one before is told with the question.
pub const MAX_TRIES: i64 = 3;

/// What a run runs: exactly one of name and spec.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.name) != has(self.spec)").message("set exactly one of name (a Workflow of this namespace) or spec (the spec of one)"),
    validation = Rule::new("!has(self.allow) || has(self.spec)").message("allow goes with spec: it says what that may name")
)]
pub struct RunWorkflow {
    /// A Workflow of the same namespace. What it is when the Task begins counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// The spec of a Workflow, without an object for it: its fields are those of Workflow's `spec`, and a field that is none of them is refused when the Task begins. At most 256 KiB of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub spec: Option<Value>,
    /// What `spec` may name, where a model made it. Default: whatever a Workflow may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Allow>,
}

impl RunWorkflow {
    /// A Workflow by its name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: Some(name.to_owned()),
            ..Self::default()
        }
    }
}

/// What a step with a workflow runs: exactly one of name and from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepWorkflow {
    /// A Workflow of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// An expression that gives the spec of one which a model made: an object, or a text with its JSON. It is checked like any other, and may name what `allow` says. What is wrong with it is the step's failure (ModelOutputInvalid). At most 2048 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub from: Option<String>,
    /// With `from`, which needs it: what the graph may name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Allow>,
}

/// What a graph may name that a model made. Whatever is not here it has not: no budgets, approvals, waits, other workflows and goals, ConfigMaps and repositories, no check of its own in place of an Agent's, no network for its code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Allow {
    /// Names of the Agents that do its steps, and undo them. At most 32. Default none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253)))]
    pub agents: Vec<String>,
    /// Images of its `run` steps, as they are written there; each runs in a default sandbox. At most 16. Default: it has no such steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 512)))]
    pub images: Vec<String>,
    /// Most steps, each as often as it may be done: for each of its items, again by `repeat`, and to undo it. 1 to 200, default 30.
    #[serde(default = "planned_steps")]
    #[schemars(range(min = 1, max = 200))]
    pub steps: i64,
}

const fn planned_steps() -> i64 {
    PLANNED_STEPS
}

/// What is to be reached, and who plans how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GoalSpec {
    /// What is to be reached. In a step it may contain expressions. 1 to 16384 characters.
    #[schemars(length(min = 1, max = 16_384))]
    pub text: String,
    /// The Agent of the same namespace that plans: a Task of its own asks it for the spec of a Workflow.
    pub planner: LocalRef,
    /// What its plans may name.
    pub allow: Allow,
    /// People who approve each plan before it runs. Default: nobody is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve_plan: Option<PlanApproval>,
}

/// People who approve a plan. They are shown all of it, and what it may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanApproval {
    /// Who may decide.
    pub approvers: Approvers,
    /// How long it is waited for. 1m to 30 days (720h), default 24h.
    #[serde(default = "a_day")]
    pub timeout: GepDuration,
    /// What happens then. Default Reject: the Task fails.
    #[serde(default)]
    pub on_timeout: OnTimeout,
}

/// How the plans of a Task with a goal stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PlanStatus {
    /// The plan that is made or runs, from 1. Each one after the first is a plan anew, of which there are at most 5.
    pub number: i64,
    /// What is done about it.
    pub stage: PlanStage,
    /// How often the planner was asked for it, from 1. At most 3.
    pub tries: i64,
    /// Why the plan before it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// What was wrong with the planner's last answer, which is asked again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problems: Option<String>,
    /// What the plan may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<PlanEstimate>,
    /// The plans that could be run, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<PlanRevision>,
}

/// What is done about a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PlanStage {
    /// The planner makes it.
    #[default]
    Planning,
    /// People are asked whether it may run.
    Approving,
    /// It runs, or has run.
    Running,
}

/// A plan, as a ControllerRevision of the namespace keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanRevision {
    /// Which one, from 1: the `revision` of the ControllerRevision.
    pub number: i64,
    /// Name of the ControllerRevision.
    pub name: String,
    /// Digest of it, as `action` of the Approval has it.
    pub digest: String,
    /// When the planner had made it.
    pub made_at: Time,
    /// Steps that were kept of the plan before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// What a plan may take, from the least to the most, as far as that is known: each like `0-1200`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PlanEstimate {
    /// Tokens, input and output together.
    pub tokens: String,
    /// Money in USD.
    pub usd: String,
    /// Running time; people who are waited for do not count.
    pub duration: String,
    /// What is not known, and so is not in it. At most 8 texts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// What is known, in words: `0-1200 tokens, $0-0.02, 1s-2m`.
impl std::fmt::Display for PlanEstimate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            tokens,
            usd,
            duration,
            unknown: _,
        } = self;
        write!(f, "{tokens} tokens, ${usd}, {duration}")
    }
}
