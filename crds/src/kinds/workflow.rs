//! Workflow: steps and what each of them needs.

use super::approval::{Approvers, FormField, OnTimeout};
use super::sandbox::AcceptSpec;
use super::task::{AgentCall, ArtifactSpec, FileSpec, RetrySpec, RunSpec};
use crate::common::{Allowance, LocalRef, any_object, conditions_schema};
use crate::duration::GepDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Most steps of a workflow.
pub const MAX_STEPS: usize = 200;
/// Most steps in `finally`.
pub const MAX_FINALLY: usize = 20;

/// Steps, and what each of them needs. A Task with `workflow` runs it, each step as a Task of its own; what runs is what it was when that Task began, whatever is changed here meanwhile.
///
/// Texts may contain expressions, `${...}` in CEL. A text that is one expression and nothing else has that one's value, whatever its type; `$${` stands for `${`. Names: `params`, `steps.NAME` (`phase`, `succeeded`, `failed`, `skipped`, `output`, `failure`), and in `finally` `run` (`phase`, `failure`).
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
    /// Most that a run may spend, over all its steps and what they give to others. Default: that of the SandboxClass `default`. A Task's own `budget` comes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Allowance>,
    /// How long a run may take.
    #[serde(default)]
    pub timeouts: RunTimeouts,
    /// Whether a step that fails stops the others at once. Otherwise those go on that do not need it. A failure that another step reads in its `if` stops nothing if that step runs. Default true.
    #[serde(default = "yes")]
    pub fail_fast: bool,
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

/// One step: exactly one of agent, run, workflow and approval.
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
    /// A Workflow of the same namespace that does it, as a run of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<LocalRef>,
    /// People who decide whether to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<StepApproval>,
    /// Parameters of the agent (`prompt`, or those of its command) or of the workflow. Texts may contain expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "params_schema")]
    pub params: Option<BTreeMap<String, Value>>,
    /// Files that are placed in its workspace. Texts of `content` may contain expressions. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["path"]))]
    pub files: Vec<FileSpec>,
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
    /// An expression that says whether it runs, once all steps have ended that it needs: those in `after`, and those that it reads. Default: it runs if each of them succeeded or was skipped. At most 2048 characters.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub condition: Option<String>,
    /// Steps that end before it, beside those that it reads. At most 200.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200), inner(length(min = 1, max = 32)))]
    pub after: Vec<String>,
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

fn a_day() -> GepDuration {
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
    /// The generation that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: Tasks can run it.
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
    /// How many steps it has, those of `finally` among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<i64>,
}
