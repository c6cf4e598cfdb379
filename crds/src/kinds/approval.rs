//! Approval: one question to people, and their decisions.

use crate::common::conditions_schema;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most decisions of an Approval.
pub const MAX_DECISIONS: usize = 32;

/// One question to people, and their decisions. The operator makes it for a Task; people decide by adding their own entry to `decisions`: `kubectl patch oappr NAME --type=merge -p '{"spec":{"decisions":{"USER":{"decision":"Approve"}}}}'`. Who may is held by a ValidatingAdmissionPolicy of the chart.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "oarmaster.dev",
    version = "v1alpha1",
    kind = "Approval",
    plural = "approvals",
    shortname = "oappr",
    category = "oarmaster",
    namespaced,
    status = "ApprovalStatus",
    derive = "PartialEq",
    doc = "One question to people, and their decisions.",
    printcolumn(name = "TASK", type_ = "string", json_path = ".spec.task.name"),
    printcolumn(name = "PHASE", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "BY", type_ = "string", json_path = ".status.by"),
    printcolumn(name = "EXPIRES", type_ = "string", json_path = ".spec.expiresAt"),
    printcolumn(
        name = "AGE",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "REQUESTER",
        type_ = "string",
        json_path = ".spec.requestedBy",
        priority = 1
    ),
    printcolumn(name = "ASK", type_ = "string", json_path = ".spec.ask", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.task == oldSelf.task && self.requestedBy == oldSelf.requestedBy && self.ask == oldSelf.ask && has(self.show) == has(oldSelf.show) && (!has(self.show) || self.show == oldSelf.show) && has(self.form) == has(oldSelf.form) && (!has(self.form) || self.form == oldSelf.form) && has(self.action) == has(oldSelf.action) && (!has(self.action) || self.action == oldSelf.action) && self.approvers == oldSelf.approvers && self.expiresAt == oldSelf.expiresAt && self.onTimeout == oldSelf.onTimeout").message("only decisions can be added: the rest says what is asked, and of whom"),
    validation = Rule::new("!has(oldSelf.decisions) || oldSelf.decisions.all(user, has(self.decisions) && user in self.decisions && self.decisions[user] == oldSelf.decisions[user])").message("a decision stands: it neither changes nor disappears"),
    validation = Rule::new("!has(self.form) || !has(self.decisions) || self.decisions.all(user, self.decisions[user].decision != 'Approve' || (has(self.decisions[user].values) && self.form.all(name, name in self.decisions[user].values && (!has(self.form[name].options) || size(self.form[name].options) == 0 || self.decisions[user].values[name] in self.form[name].options))))").message("whoever approves fills in spec.form: one of the options, or any text, for each of its names in the decision's values"),
    validation = Rule::new("!has(self.decisions) || self.decisions.all(user, !has(self.decisions[user].values) || self.decisions[user].values.all(name, has(self.form) && name in self.form))").message("values are for the names of spec.form")
)]
pub struct ApprovalSpec {
    /// The Task that waits for it. Immutable.
    pub task: TaskUid,
    /// Who created the Task, or the one that it is a part of. Immutable.
    #[schemars(length(min = 1, max = 1024))]
    pub requested_by: String,
    /// The question; letters that are not seen, or turn the direction of a text around, are written like `\u{202E}`. 1 to 4096 characters. Immutable.
    #[schemars(length(min = 1, max = 4096))]
    pub ask: String,
    /// What it is about; of a tool call `tool` and `arguments`, all of them as JSON, with JSON's escapes for what is not seen. At most 16 texts, each at most 131072 characters. Immutable.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "show_schema")]
    pub show: BTreeMap<String, String>,
    /// What whoever approves fills in, by name. At most 8. Immutable.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "form_schema")]
    pub form: BTreeMap<String, FormField>,
    /// Digest of exactly what is done once it is approved: of a tool call, tool and arguments. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71), regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub action: Option<String>,
    /// Who may decide. Immutable.
    pub approvers: Approvers,
    /// From then on nobody can approve any more. Immutable.
    pub expires_at: Time,
    /// What happens at `expiresAt`, if nobody rejected and too few approved. Default Reject. Immutable.
    #[serde(default)]
    pub on_timeout: OnTimeout,
    /// What people decided, by user name. Each can add the own one alone, while the Approval waits. One rejection rejects. At most 32.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "decisions_schema")]
    pub decisions: BTreeMap<String, Decision>,
}

/// A Task, by name and by the UID that tells it from a later one of the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskUid {
    /// Name of the Task.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// UID of the Task.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
}

/// Who may decide: whoever is named, or is in a group that is named, and may `approve` Approvals of the namespace (RBAC). Never a ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.groups) && size(self.groups) > 0) || (has(self.users) && size(self.users) > 0)").message("name groups, users, or both: those who may decide"))]
pub struct Approvers {
    /// Kubernetes groups. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)))]
    pub groups: Vec<String>,
    /// Kubernetes users. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)))]
    pub users: Vec<String>,
    /// How many have to approve. At least 2 where the requester is a ServiceAccount and groups are named, since nobody knows then who wrote what it applied. 1 to 10, default 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10))]
    pub count: i64,
    /// Whether the requester may be one of them. Default false.
    #[serde(default)]
    pub allow_requester: bool,
}

const fn one() -> i64 {
    1
}

/// What happens when the time is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnTimeout {
    /// It counts as rejected.
    #[default]
    Reject,
    /// It counts as approved.
    Approve,
}

/// What one person decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Whether to go on.
    pub decision: Verdict,
    /// A text for whoever asked; the answer to a question.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// What was filled in.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
}

/// A field of a form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FormField {
    /// What can be chosen; any text where there is nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Yes.
    Approve,
    /// No.
    Reject,
}

fn show_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "What it is about; of a tool call `tool` and `arguments`, all of them as JSON, with JSON's escapes for what is not seen. At most 16 texts, each at most 131072 characters. Immutable.",
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": { "type": "string", "maxLength": 131_072 },
    })
}

fn form_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "What whoever approves fills in, by name. At most 8. Immutable.",
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

fn decisions_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "What people decided, by user name. Each can add the own one alone, while the Approval waits. One rejection rejects. At most 32.",
        "type": "object",
        "maxProperties": MAX_DECISIONS,
        "default": {},
        "additionalProperties": {
            "description": "What one person decided.",
            "type": "object",
            "required": ["decision"],
            "properties": {
                "decision": {
                    "description": "Whether to go on: `Approve` or `Reject`.",
                    "type": "string",
                    "enum": ["Approve", "Reject"],
                },
                "note": {
                    "description": "A text for whoever asked; the answer to a question. At most 4096 characters.",
                    "type": "string",
                    "maxLength": 4096,
                },
                "values": {
                    "description": "What was filled in, by the names of `form`; who approves fills in all of it. Each at most 1024 characters.",
                    "type": "object",
                    "maxProperties": 8,
                    "additionalProperties": { "type": "string", "maxLength": 1024 },
                },
            },
        },
    })
}

/// How an Approval stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApprovalPhase {
    /// People can decide.
    Waiting,
    /// It was approved.
    Approved,
    /// Somebody rejected it.
    Rejected,
    /// Too few approved it in time, or its Task is over.
    Expired,
}

/// What is known of an Approval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApprovalStatus {
    /// The generation that this status is about; -1 until the operator has looked at the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: it is decided. While it waits, the message has the exact command.
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
    /// How it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<ApprovalPhase>,
    /// When it was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Time>,
    /// Whose decisions count: of those who approved, or of who rejected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
}
