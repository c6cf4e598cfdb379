//! Workflow: steps and what each of them needs.

use super::approval::{Approvers, FormField, OnTimeout};
use super::concurrency::ConcurrencySpec;
use super::goal::{GoalSpec, StepWorkflow};
use super::memo::MemoSpec;
use super::sandbox::AcceptSpec;
use super::task::{AgentCall, ArtifactSpec, ConfigMapKeyRef, GitSource, RetrySpec, RunSpec};
use crate::common::{Allowance, any_object, conditions_schema};
use crate::duration::GepDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Most steps of a workflow.
pub const MAX_STEPS: usize = 200;
/// Most steps in `finally`.
pub const MAX_FINALLY: usize = 20;
/// Most items of a step with `forEach`.
pub const MAX_ITEMS: usize = 20_000;
/// How many items of a step are under way at once, if it does not say.
pub const PARALLEL: i64 = 10;
/// Most repetitions of a step.
pub const MAX_REPEATS: i64 = 50;
/// Names that are shared, at most.
pub const MAX_SHARED: usize = 16;

/// Steps, and what each of them needs. A Task with `workflow` runs it, each step as a Task of its own; what runs is what it was when that Task began, whatever is changed here meanwhile.
///
/// Texts may contain expressions, `${...}` in CEL. A text that is one expression and nothing else has that one's value, whatever its type; `$${` stands for `${`. Names: `params`, `steps.NAME` (`phase`, `succeeded`, `failed`, `skipped`, `output`, `failure`, `items`), `shared`, in a step with `forEach` `item` and `index`, in `repeat.until`, `share` and `undo` `self` (what the step did, as in `steps`), and in `finally` `run` (`phase`, `failure`).
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "oarmaster.dev",
    version = "v1alpha1",
    kind = "Workflow",
    plural = "workflows",
    shortname = "owf",
    category = "oarmaster",
    namespaced,
    status = "WorkflowStatus",
    derive = "PartialEq",
    doc = "Steps, and what each of them needs. A Task with `workflow` runs it.",
    printcolumn(name = "STEPS", type_ = "integer", json_path = ".status.steps"),
    printcolumn(
        name = "READY",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "REASON",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    ),
    printcolumn(
        name = "AGE",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "DESCRIPTION",
        type_ = "string",
        json_path = ".spec.description",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowSpec {
    /// What it does, in a sentence. At most 1024 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub description: String,
    /// The parameters that it takes, as a JSON Schema of an object: `{type: object, required: [...], properties: {NAME: {type: ..., ...}}}`. Names, keywords and bounds are those of `params` of an Agent's command. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub params: Option<Value>,
    /// Most that a run may spend, over all its steps and what they give to others, and how many Tasks it may have. Of usd and tokens one in twenty is kept for `undo` and `finally`, where there are any. Default: that of the SandboxClass `default`. A Task's own `budget` comes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Allowance>,
    /// How long a run may take.
    #[serde(default)]
    pub timeouts: RunTimeouts,
    /// Whether a step that fails stops the others at once. Otherwise those go on that do not need it. A failure that another step reads in its `if` stops nothing if that step runs. Default true.
    #[serde(default = "yes")]
    pub fail_fast: bool,
    /// What becomes of what steps did where a run fails. Default Keep.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// How many runs of it with the same key go on at once. Default: all that are created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<ConcurrencySpec>,
    /// What steps share with each other, by name: each gives to it in `share`, and expressions read it as `shared.NAME`. At most 16.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "shared_schema")]
    pub shared: BTreeMap<String, SharedSpec>,
    /// The steps. 1 to 200.
    #[schemars(schema_with = "steps_schema")]
    pub steps: Vec<StepSpec>,
    /// Steps that run when all others have ended, however: once per run. They may read all others, and none is an approval. One that fails fails the run. At most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "finally_schema")]
    pub finally: Vec<StepSpec>,
    /// The output of a run that succeeds: data with expressions, at most 16 KiB. Default: an object with the output of each step that no other one needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_data")]
    pub output: Option<Value>,
}

const fn yes() -> bool {
    true
}

/// How long a run may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RunTimeouts {
    /// From its first step to the end of its last, while a Task of a step works: neither paused, nor waiting for people, a Budget or a new attempt. 1s to 7 days (168h), default 2h.
    pub run: GepDuration,
    /// For `finally`, from when nothing else is under way. 1s to 7 days, default 5m.
    pub finally: GepDuration,
}

impl Default for RunTimeouts {
    fn default() -> Self {
        Self {
            run: GepDuration::new("2h"),
            finally: GepDuration::new("5m"),
        }
    }
}

/// What becomes of what steps did where a run fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnFailure {
    /// It stays.
    #[default]
    Keep,
    /// It is undone: the `undo` of each step that succeeded, the last one first.
    Undo,
}

/// Something that steps share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SharedSpec {
    /// What it is made of what steps give.
    pub merge: Merge,
    /// Of `Append`, most items; the oldest are left out. 1 to 1000, default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_items: Option<i64>,
}

/// What is made of what steps give, in the order of the steps, and of their items and repetitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Merge {
    /// A list of all; what is a list itself is added item by item. Empty at first.
    Append,
    /// The last. Null at first.
    Replace,
    /// The largest number. Null at first.
    Max,
}

/// Doing a step again until an expression is true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepeatSpec {
    /// An expression over `self`, what the step did just now. At most 2048 characters.
    #[schemars(length(min = 1, max = 2048))]
    pub until: String,
    /// Most often that it is done. If it is not true then, the step fails (`LimitReached`). 2 to 50.
    #[schemars(range(min = 2, max = 50))]
    pub limit: i64,
}

/// What undoes a step: exactly one of agent and run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UndoSpec {
    /// The Agent that does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentCall>,
    /// Code that does it. Texts of `env` may contain expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunSpec>,
    /// Parameters of the agent. Texts may contain expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "params_schema")]
    pub params: Option<BTreeMap<String, Value>>,
}

/// One step: exactly one of agent, run, workflow, goal, approval and wait.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepSpec {
    /// What other steps call it by. Lower-case letters and digits, the first a letter; none that YAML reads as a boolean, and no reserved word of CEL. At most 32.
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[a-z][a-z0-9]*$"))]
    pub name: String,
    /// The Agent that does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentCall>,
    /// Code that does it. Texts of `env` may contain expressions; `command` and `code` are taken as they are, and find values in their environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunSpec>,
    /// A Workflow that does it, as a run of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<StepWorkflow>,
    /// Something that it reaches by a plan, as a run of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<GoalSpec>,
    /// People who decide whether to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<StepApproval>,
    /// Time that passes before what needs it goes on. It holds no pod and no place, and stops the run's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<StepWait>,
    /// Parameters of the agent (`prompt`, or those of its command) or of the workflow. Texts may contain expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "params_schema")]
    pub params: Option<BTreeMap<String, Value>>,
    /// The workspace that it begins with. Default: an empty one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<StepWorkspace>,
    /// Files that are placed in its workspace. Texts of `content` may contain expressions. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["path"]))]
    pub files: Vec<StepFile>,
    /// What is kept from its workspace. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub artifacts: Vec<ArtifactSpec>,
    /// What makes its outcome true. Default: the agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<AcceptSpec>,
    /// Most that it may spend, within what the run may. Not of an approval. Default: the agent's, else the SandboxClass's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Allowance>,
    /// Its running time over all attempts. Of an agent or a run. Default 20m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<GepDuration>,
    /// New attempts after failures that may pass. Of an agent or a run. Default: one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetrySpec>,
    /// The list whose items it does, each by itself: an expression, or a list with expressions in it. `item` and `index` (from 0) are known to its other expressions. Its output is the list of theirs. At most 20000 items; of none it has succeeded, and of null it is skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_data")]
    pub for_each: Option<Value>,
    /// Most items at a time. 1 to 100, default 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub parallel: Option<i64>,
    /// How many of its items may fail: a number, or a part of them like `20%`. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "tolerate_schema")]
    pub tolerate: Option<IntOrString>,
    /// Does it, or each of its items, again until an expression is true. `self` is what it did before, in its other expressions, too: nothing at first, so `self.?output`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<RepeatSpec>,
    /// What it gives to what is shared, by name: expressions over `self`, or data with some. Each item and repetition gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "params_schema")]
    pub share: Option<BTreeMap<String, Value>>,
    /// Takes the outcome of the same step where it was done already, at no cost: by an earlier run of this Workflow that the same user created. `key` is a text with expressions, and names all values that the outcome depends on; what is written in the step, and what its agent or workflow is, counts by itself. Not with `repeat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<MemoSpec>,
    /// What undoes it, where a run is rolled back or fails with `onFailure: Undo`; of `repeat` what was done last, of `forEach` each item. `self` is what it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<UndoSpec>,
    /// An expression that says whether it runs, once all steps have ended that it needs: those in `after`, and those that it reads. Default: it runs if each of them succeeded or was skipped. At most 2048 characters.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub condition: Option<String>,
    /// Steps that end before it, beside those that it reads. At most 200.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200), inner(length(min = 1, max = 32)))]
    pub after: Vec<String>,
}

/// Time that passes, or something that becomes true before: exactly one of for and until, and a condition if there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepWait {
    /// How long. 1s to 30 days (720h).
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub for_: Option<GepDuration>,
    /// Until when, like `2026-12-24T18:00:00Z`; what is past is not waited for. May be an expression. At most 2048 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub until: Option<String>,
    /// An expression of what is shared, like `size(shared.findings) >= 3`: the step is over once it is true. Where it is not by the time that for or until says, the step fails (`Timeout`). At most 2048 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub condition: Option<String>,
}

/// The workspace that a step begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepWorkspace {
    /// The step whose workspace it is, as that left it, also where it failed; an agent or a run without `forEach`. In a step with `repeat`, `self` is what it left the turn before. May be an expression that gives such a name, like `${steps.mend.skipped ? 'build' : 'mend'}`. Nothing is copied. At most 2048 characters.
    #[schemars(length(min = 1, max = 2048))]
    pub from: String,
}

/// A file of a step: exactly one of content, configMap, git and artifact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepFile {
    /// Path relative to the workspace. Of a repository, or an artifact that is an archive, it is its directory; `.` is the workspace itself. At most 512 characters.
    #[schemars(length(min = 1, max = 512))]
    pub path: String,
    /// The content. May contain expressions. At most 131072 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 131_072))]
    pub content: Option<String>,
    /// The content, from a ConfigMap in the same namespace, as it is when the step starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapKeyRef>,
    /// A repository, as it is when an attempt starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitSource>,
    /// What another step has kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<StepArtifact>,
}

/// An artifact of another step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepArtifact {
    /// The step. Of one with `forEach` that of each item which succeeded is placed, below `path` under the item's number; at most 16.
    #[schemars(length(min = 1, max = 32))]
    pub step: String,
    /// Name of the artifact there.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

/// A question to people. The step's output is `{decision, by, notes, values}`. If it is rejected, or nobody approves in time, the step fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepApproval {
    /// The question. May contain expressions. 1 to 4096 characters.
    #[schemars(length(min = 1, max = 4096))]
    pub ask: String,
    /// What it is about. May contain expressions. At most 16 texts, each at most 4096 characters here and 16384 with its values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "show_schema")]
    pub show: BTreeMap<String, String>,
    /// What whoever approves fills in, by name. At most 8.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "form_schema")]
    pub form: BTreeMap<String, FormField>,
    /// Who may decide.
    pub approvers: Approvers,
    /// How long it is waited for. 1m to 30 days (720h), default 24h.
    #[serde(default = "a_day")]
    pub timeout: GepDuration,
    /// What happens then. Default Reject.
    #[serde(default)]
    pub on_timeout: OnTimeout,
}

pub(super) fn a_day() -> GepDuration {
    GepDuration::new("24h")
}

fn steps_schema(generator: &mut SchemaGenerator) -> Schema {
    list_of_steps(generator, 1, MAX_STEPS)
}

fn finally_schema(generator: &mut SchemaGenerator) -> Schema {
    list_of_steps(generator, 0, MAX_FINALLY)
}

/// A list of steps without the rules of what is in them: of two hundred, each with files and a sandbox, the API server would count the rules as too dear. The
/// Workflow's own check holds them (`Ready`), and the API server does for the Task of a step.
fn list_of_steps(generator: &mut SchemaGenerator, least: usize, most: usize) -> Schema {
    let mut step = generator.subschema_for::<StepSpec>().to_value();
    without_rules(&mut step);
    json_schema!({
        "type": "array",
        "minItems": least,
        "maxItems": most,
        "items": step,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    })
}

fn without_rules(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.remove("x-kubernetes-validations");
            fields.values_mut().for_each(without_rules);
        }
        Value::Array(items) => items.iter_mut().for_each(without_rules),
        _ => {}
    }
}

fn any_data(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
}

/// Free-form here: what fits is another object's to say.
fn params_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

fn tolerate_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [{ "type": "integer" }, { "type": "string" }],
        "x-kubernetes-int-or-string": true,
    })
}

fn shared_schema(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": generator.subschema_for::<SharedSpec>(),
    })
}

fn show_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "What it is about. May contain expressions. At most 16 texts, each at most 4096 characters here and 16384 with its values.",
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": { "type": "string", "maxLength": 4096 },
    })
}

fn form_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "What whoever approves fills in, by name. At most 8.",
        "type": "object",
        "maxProperties": 8,
        "additionalProperties": {
            "description": "A field.",
            "type": "object",
            "properties": {
                "options": {
                    "description": "What can be chosen; any text where there is nothing. At most 32, each at most 256 characters.",
                    "type": "array",
                    "maxItems": 32,
                    "items": { "type": "string", "maxLength": 256 },
                },
            },
        },
    })
}

/// What is known of a Workflow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkflowStatus {
    /// The generation that this status is about; -1 until the operator has looked at the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: Tasks can run it.
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
    /// How many steps it has, those of `finally` among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<i64>,
}
