//! Task: everything that runs.

use super::agent::{ToolApproval, capabilities_schema};
use super::approval::Approvers;
use super::goal::{GoalSpec, PlanStatus, RunWorkflow};
use super::memo::{MemoSpec, MemoStatus};
use super::sandbox::{AcceptSpec, SandboxSpec};
use super::steps::StepsStatus;
use crate::common::{Allowance, LocalRef, NamespacedRef, any_json, conditions_schema};
use crate::duration::GepDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// One piece of work: an agent with a prompt, code, a workflow, or a goal. Its name is its idempotency key; creating it starts it. Once created, only `state`, `rerun` and a raised `budget` may change.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "oarmaster.dev",
    version = "v1alpha1",
    kind = "Task",
    plural = "tasks",
    shortname = "otask",
    category = "oarmaster",
    namespaced,
    status = "TaskStatus",
    derive = "PartialEq",
    doc = "One piece of work: an agent with a prompt, code, a workflow, or a goal. Creating it starts it.",
    printcolumn(name = "TARGET", type_ = "string", json_path = ".status.target"),
    printcolumn(name = "PHASE", type_ = "string", json_path = ".status.phase"),
    printcolumn(
        name = "MODEL",
        type_ = "string",
        json_path = ".status.usage.models[0]"
    ),
    printcolumn(
        name = "TOKENS",
        type_ = "integer",
        json_path = ".status.usage.totalTokens"
    ),
    printcolumn(name = "COST", type_ = "string", json_path = ".status.usage.usd"),
    printcolumn(
        name = "AGE",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "ATTEMPT",
        type_ = "integer",
        json_path = ".status.attempt",
        priority = 1
    ),
    printcolumn(
        name = "REASON",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    ),
    printcolumn(
        name = "STEPS",
        type_ = "string",
        json_path = ".status.steps.progress",
        priority = 1
    ),
    printcolumn(
        name = "JOB",
        type_ = "string",
        json_path = ".status.job.name",
        priority = 1
    ),
    printcolumn(
        name = "REQUESTER",
        type_ = "string",
        json_path = ".spec.requestedBy",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.agent), has(self.run), has(self.workflow), has(self.goal)].filter(set, set).size() == 1").message("set exactly one of agent (with params), run (with command or code), workflow (with params) or goal"),
    validation = Rule::new("(!has(self.run) && !has(self.goal)) || !has(self.params)").message("params are for an agent or a workflow; code in run takes its values from run.env, and a goal says all in its text"),
    validation = Rule::new("!has(self.agent) || has(self.agent.command) || (has(self.params) && has(self.params.prompt))").message("an agent needs params.prompt: what it is to do; or agent.command with the params of that command"),
    validation = Rule::new("has(self.agent) == has(oldSelf.agent) && (!has(self.agent) || self.agent == oldSelf.agent)").message("agent cannot change after creation; create another Task"),
    validation = Rule::new("has(self.run) == has(oldSelf.run) && (!has(self.run) || self.run == oldSelf.run)").message("run cannot change after creation; create another Task"),
    validation = Rule::new("(!has(self.workflow) && !has(self.goal)) || (!has(self.files) && !has(self.artifacts) && !has(self.accept) && !has(self.workspace))").message("files, artifacts, accept and workspace are for an agent or a run; those of a workflow stand in its steps"),
    validation = Rule::new("has(self.workflow) == has(oldSelf.workflow) && (!has(self.workflow) || self.workflow == oldSelf.workflow)").message("workflow cannot change after creation; create another Task"),
    validation = Rule::new("has(self.goal) == has(oldSelf.goal) && (!has(self.goal) || self.goal == oldSelf.goal)").message("goal cannot change after creation; create another Task"),
    validation = Rule::new("has(self.params) == has(oldSelf.params) && (!has(self.params) || self.params == oldSelf.params)").message("params cannot change after creation; create another Task"),
    validation = Rule::new("has(self.files) == has(oldSelf.files) && (!has(self.files) || self.files == oldSelf.files)").message("files cannot change after creation; create another Task"),
    validation = Rule::new("has(self.artifacts) == has(oldSelf.artifacts) && (!has(self.artifacts) || self.artifacts == oldSelf.artifacts)").message("artifacts cannot change after creation; create another Task"),
    validation = Rule::new("!has(self.workspace) || (!has(self.continueFrom) && !has(self.replay))").message("workspace does not go with continueFrom and replay, which say themselves what the workspace is"),
    validation = Rule::new("has(self.workspace) == has(oldSelf.workspace) && (!has(self.workspace) || self.workspace == oldSelf.workspace)").message("workspace cannot change after creation; create another Task"),
    validation = Rule::new("has(self.accept) == has(oldSelf.accept) && (!has(self.accept) || self.accept == oldSelf.accept)").message("accept cannot change after creation; create another Task"),
    validation = Rule::new("self.timeout == oldSelf.timeout && self.retry == oldSelf.retry").message("timeout and retry cannot change after creation; create another Task"),
    validation = Rule::new("self.priority == oldSelf.priority && has(self.queue) == has(oldSelf.queue) && (!has(self.queue) || self.queue == oldSelf.queue)").message("priority and queue cannot change after creation; create another Task"),
    validation = Rule::new("has(self.ttlAfterFinished) == has(oldSelf.ttlAfterFinished) && (!has(self.ttlAfterFinished) || self.ttlAfterFinished == oldSelf.ttlAfterFinished)").message("ttlAfterFinished cannot change after creation; delete the Task instead"),
    validation = Rule::new("!has(oldSelf.budget) || (has(self.budget) && has(self.budget.tokens) == has(oldSelf.budget.tokens) && has(self.budget.usd) == has(oldSelf.budget.usd) && has(self.budget.tasks) == has(oldSelf.budget.tasks) && has(self.budget.depth) == has(oldSelf.budget.depth))").message("budget keeps its fields after creation; raise what it has, and add or remove none"),
    validation = Rule::new("!has(oldSelf.budget) || !has(oldSelf.budget.tasks) || !has(self.budget) || !has(self.budget.tasks) || self.budget.tasks >= oldSelf.budget.tasks").message("budget.tasks can only be raised"),
    validation = Rule::new("!has(oldSelf.budget) || !has(oldSelf.budget.depth) || !has(self.budget) || !has(self.budget.depth) || self.budget.depth >= oldSelf.budget.depth").message("budget.depth can only be raised"),
    validation = Rule::new("!has(oldSelf.budget) || !has(oldSelf.budget.tokens) || !has(self.budget) || !has(self.budget.tokens) || self.budget.tokens >= oldSelf.budget.tokens").message("budget.tokens can only be raised"),
    validation = Rule::new("!has(oldSelf.budget) || !has(oldSelf.budget.usd) || !has(self.budget) || !has(self.budget.usd) || quantity(self.budget.usd).compareTo(quantity(oldSelf.budget.usd)) >= 0").message("budget.usd can only be raised"),
    validation = Rule::new("!has(self.continueFrom) || has(self.agent)").message("continueFrom is for an agent: code in run has no conversation to go on from"),
    validation = Rule::new("has(self.continueFrom) == has(oldSelf.continueFrom) && (!has(self.continueFrom) || self.continueFrom == oldSelf.continueFrom)").message("continueFrom cannot change after creation; create another Task"),
    validation = Rule::new("!has(self.replay) || has(self.agent)").message("replay is for an agent: code in run has no record to be held against"),
    validation = Rule::new("!has(self.replay) || !has(self.continueFrom)").message("set one of replay and continueFrom: a replay begins as the Task that it replays did"),
    validation = Rule::new("!has(self.replay) || !has(self.replay.until) || self.replay.mode == 'RecordedThenLive'").message("replay.until says where the model is asked again: it needs replay.mode RecordedThenLive"),
    validation = Rule::new("has(self.replay) == has(oldSelf.replay) && (!has(self.replay) || self.replay == oldSelf.replay)").message("replay cannot change after creation; create another Task"),
    validation = Rule::new("oldSelf.state != 'Cancelled' || self.state == 'Cancelled' || self.state == 'RolledBack'").message("a cancelled Task can be rolled back, and cannot run again; create another Task"),
    validation = Rule::new("oldSelf.state != 'RolledBack' || self.state == 'RolledBack' || self.state == 'Cancelled'").message("a Task that is rolled back can be cancelled, and cannot run again; create another Task"),
    validation = Rule::new("!has(self.rerun) || has(self.workflow)").message("rerun is for a workflow; of an agent or a run create another Task"),
    validation = Rule::new("!has(oldSelf.rerun) || (has(self.rerun) && self.rerun.count >= oldSelf.rerun.count)").message("rerun.count can only be raised"),
    validation = Rule::new("self.state != 'RolledBack' || has(self.workflow)").message("state RolledBack is for a workflow, whose steps say how they are undone; cancel an agent or a run"),
    validation = Rule::new("!has(self.memo) || (!has(self.continueFrom) && !has(self.replay) && !has(self.goal))").message("memo does not go with continueFrom and replay, which begin with the record of one Task, nor with a goal, whose plans differ"),
    validation = Rule::new("has(self.memo) == has(oldSelf.memo) && (!has(self.memo) || self.memo == oldSelf.memo)").message("memo cannot change after creation; create another Task"),
    validation = Rule::new("has(self.requestedBy) == has(oldSelf.requestedBy) && (!has(self.requestedBy) || self.requestedBy == oldSelf.requestedBy)").message("requestedBy cannot change after creation: it says who created the Task")
)]
pub struct TaskSpec {
    /// The Agent that does it. Exactly one of agent, run, workflow and goal. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentCall>,
    /// A Task of this namespace that has ended: the agent goes on from its conversation and its workspace, and `params` are the next thing it is asked. Of a Task that continues another one, only what came after that one is gone on from. Whoever creates this one must be allowed to read that one's transcript and files (`get` on `tasks/transcript` and `tasks/artifacts`). Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continue_from: Option<LocalRef>,
    /// Go through the record of another Task in place of asking the model: what this agent would ask is held against what was asked there, and the Task fails at the first difference, which it names. Costs nothing while recorded. Whoever creates this Task must be allowed to read the other one's transcript (`get` on `tasks/transcript`). Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplaySpec>,
    /// Code that does it, without an Agent. Exactly one of agent, run, workflow and goal. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunSpec>,
    /// A Workflow, each of whose steps becomes a Task of its own, or an Approval. Exactly one of agent, run, workflow and goal. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<RunWorkflow>,
    /// Something to be reached: an agent plans how, and its plan runs as a workflow does; where it fails, it is planned anew. Exactly one of agent, run, workflow and goal. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<GoalSpec>,
    /// Parameters. An agent takes `prompt`, what it is to do (1 to 131072 characters); a command of it, or a workflow, takes what its `params` say. At most 64, and 256 KiB of JSON. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "params_schema")]
    pub params: Option<BTreeMap<String, Value>>,
    /// What the workspace begins with, and whether it is kept. Not with `continueFrom` and `replay`. Default: it begins empty, and ends with the sandbox. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceSpec>,
    /// Files that are placed in the workspace before anything runs. At most 128, of which 16 may be artifacts of other Tasks; the others together less than 1 MiB. Repositories come first, and may have half of the sandbox's disk together; then artifacts. Immutable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["path"]))]
    pub files: Vec<FileSpec>,
    /// What is kept from the workspace. At most 16, each at most 32 MiB. Immutable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub artifacts: Vec<ArtifactSpec>,
    /// What makes the outcome true. Default: the agent's. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<AcceptSpec>,
    /// Most that may be spent, over all attempts. May be raised, never lowered. Of a workflow it is for all its steps together. Default: the agent's or the workflow's, else the SandboxClass's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Allowance>,
    /// Running time over all attempts; waiting does not count. Of a workflow its `timeouts` count in its place. Default 20m. Immutable.
    #[serde(default = "default_timeout")]
    pub timeout: GepDuration,
    /// New attempts after failures that may pass. A workflow has one attempt: what is tried again are its steps. Immutable.
    #[serde(default)]
    pub retry: RetrySpec,
    /// Who comes first where Tasks wait for a place of their agent (`limits.parallelTasks`) or their namespace (the installation's limits): the higher priority, then the older one. What it asks others to do, and the steps of its workflow, have it, too. The installation may let the namespace have less (`maxPriority`): then that counts. It is no priority of pods. -1000 to 1000, default 0. Immutable.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i64,
    /// Name of the Kueue LocalQueue, in the same namespace, in which its Jobs wait: each is created suspended with the label `kueue.x-k8s.io/queue-name`, and runs once Kueue lets it. A Task with it always has a pod of its own. So have the steps of its workflow, and what it asks others to do. At most 63 characters. Default: its Jobs wait for nobody. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub queue: Option<String>,
    /// `Running`, `Paused` to stop it until it is `Running` again, or `Cancelled` to stop it for good. A paused Task has no pod, and its time does not run; an agent goes on where it stopped, a `run` begins anew, a workflow's steps are paused with it. May change. Default Running.
    #[serde(default)]
    pub state: DesiredState,
    /// Takes the outcome of another Task that did the same within `ttl`, or does it now, at no cost: of the same user, in the same namespace, with the same key, and otherwise the same spec. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<MemoSpec>,
    /// Delete the Task this long after its end. Unset: it is kept. Not on objects that Argo CD, Flux or Helm track: they would create, and so run, it again. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_after_finished: Option<GepDuration>,
    /// Runs steps of a workflow anew in the same Task, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun: Option<RerunSpec>,
    /// Who created it: the name of the Kubernetes user, for costs and audit. Leave it out: it is filled in at creation, and another name than one's own is refused. At most 1024 characters. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub requested_by: Option<String>,
}

fn default_timeout() -> GepDuration {
    GepDuration::new("20m")
}

impl TaskSpec {
    /// The Task whose record this one begins with, to follow it or to replay it, and the field that names it.
    #[must_use]
    pub fn earlier(&self) -> Option<(&'static str, &LocalRef)> {
        let replay = self.replay.as_ref();
        let replay = replay.map(|replay| ("replay", &replay.task));
        let follow = self.continue_from.as_ref();
        follow.map(|task| ("continueFrom", task)).or(replay)
    }

    /// The Tasks that must have ended before this one begins: those whose record, workspace or artifacts it begins with.
    pub fn awaited(&self) -> impl Iterator<Item = &LocalRef> {
        let earlier = self.earlier().map(|(_, task)| task);
        let workspace = self.workspace.iter();
        let workspace = workspace.filter_map(|workspace| workspace.from.as_ref());
        let artifacts = self.files.iter().filter_map(|file| file.artifact.as_ref());
        let artifacts = artifacts.map(|artifact| &artifact.task);
        earlier.into_iter().chain(workspace).chain(artifacts)
    }

    /// Whether it is a run: its steps are Tasks of their own.
    #[must_use]
    pub const fn is_run(&self) -> bool {
        self.workflow.is_some() || self.goal.is_some()
    }

    /// Whether nothing but a record is gone through: no model, no sandbox.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        let replay = self.replay.as_ref();
        replay.is_some_and(|replay| replay.mode == ReplayMode::Recorded)
    }
}

impl Default for TaskSpec {
    fn default() -> Self {
        Self {
            agent: None,
            continue_from: None,
            replay: None,
            run: None,
            workflow: None,
            goal: None,
            params: None,
            workspace: None,
            files: Vec::new(),
            artifacts: Vec::new(),
            accept: None,
            budget: None,
            timeout: default_timeout(),
            retry: RetrySpec::default(),
            priority: 0,
            queue: None,
            state: DesiredState::default(),
            memo: None,
            ttl_after_finished: None,
            rerun: None,
            requested_by: None,
        }
    }
}

/// Which agent, and what it is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.name) != has(self.select)").message("set exactly one of name (an Agent) or select (what it must be able to do)"),
    validation = Rule::new("!has(self.command) || has(self.name)").message("command goes with name: it is one of that Agent's")
)]
pub struct AgentCall {
    /// Name of the Agent, in the same namespace. Exactly one of name and select.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// What the Agent must be able to do: the best one of the namespace is chosen when the first attempt begins. Exactly one of name and select.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select: Option<AgentSelect>,
    /// One of its `commands`, which makes the prompt of the params. Default: `params.prompt` is the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z][a-zA-Z0-9]*$"))]
    pub command: Option<String>,
}

/// Chooses an Agent that is Ready: first one below its `limits.parallelTasks`, of those the one whose Tasks succeed, that has the most room and costs the least.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentSelect {
    /// Capabilities that it must have, all of them. 1 to 32.
    #[schemars(schema_with = "wanted_schema")]
    pub capabilities: Vec<String>,
}

fn wanted_schema(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = capabilities_schema(generator);
    schema.insert("minItems".to_owned(), 1.into());
    schema
}

/// Parameters of a command are free-form here: they are checked against its schema, which is another object's.
fn params_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {
            "prompt": {
                "description": "What the agent is to do. 1 to 131072 characters.",
                "type": "string",
                "minLength": 1,
                "maxLength": 131_072,
            },
        },
    })
}

/// Code that runs once in a sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.command) != has(self.code)").message("set exactly one of command (a list of words) or code (with language)"),
    validation = Rule::new("has(self.code) == has(self.language)").message("language goes with code: set both, or command")
)]
pub struct RunSpec {
    /// Where it runs.
    #[serde(default)]
    pub sandbox: SandboxSpec,
    /// argv, looked up on the image's PATH, without a shell. 1 to 64 words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(max = 4096)))]
    pub command: Vec<String>,
    /// Source text. At most 131072 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 131_072))]
    pub code: Option<String>,
    /// Language of the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// Environment of the program. Names of letters, digits and underscores; values at most 4096 characters. At most 64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "env_schema")]
    pub env: BTreeMap<String, String>,
    /// The ModelPool for model calls of the program: it finds `OPENAI_BASE_URL` and `ANTHROPIC_BASE_URL` in its environment, needs no key, and whatever model it names is this pool. What they cost is the Task's. Needs Landlock of ABI 4 on its node, and proves that its NetworkPolicy is enforced, as `sandbox.egress` does. Default: it can call none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<NamespacedRef>,
}

fn env_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "Environment of the program. Values at most 4096 characters. At most 64.",
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": { "type": "string", "maxLength": 4096 },
        "x-kubernetes-validations": [{
            "rule": "self.all(name, name.size() <= 128 && name.matches('^[A-Za-z_][A-Za-z0-9_]*$'))",
            "message": "names of env are letters, digits and underscores, and begin with no digit",
        }],
    })
}

impl RunSpec {
    /// The language of its code in a word, or `command`.
    #[must_use]
    pub fn language(&self) -> &'static str {
        match self.language {
            Some(Language::Python) => "python",
            Some(Language::JavaScript) => "javascript",
            Some(Language::TypeScript) => "typescript",
            Some(Language::Java) => "java",
            Some(Language::Shell) => "shell",
            None => "command",
        }
    }
}

impl AgentCall {
    /// What is called, in the words of `status.target`. `chosen` is the agent that was chosen where none is named.
    #[must_use]
    pub fn target(&self, chosen: Option<&str>) -> String {
        match (self.name.as_deref().or(chosen), &self.command) {
            (Some(name), Some(command)) => format!("agent/{name}/{command}"),
            (Some(name), None) => format!("agent/{name}"),
            (None, _) => {
                let select = self.select.as_ref();
                let all = select.map(|select| select.capabilities.join(","));
                format!("select/{}", all.unwrap_or_default())
            }
        }
    }
}

/// Language of the code: `python` (3), `javascript` (Node.js), `typescript` (Node.js from 22.6 on, which removes the types and checks none), `java` (one
/// source file, on a JDK from 11 on) or `shell` (POSIX). The image must have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Python 3.
    Python,
    /// JavaScript of Node.js.
    JavaScript,
    /// TypeScript of Node.js: types are removed.
    TypeScript,
    /// One source file of Java.
    Java,
    /// POSIX shell.
    Shell,
}

/// A file for the workspace, or a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.content), has(self.configMap), has(self.git), has(self.artifact)].filter(set, set).size() == 1").message("set exactly one of content, configMap, git or artifact"),
    validation = Rule::new("!self.path.startsWith('/') && !self.path.split('/').exists(part, part == '..' || part == '')").message("path must be relative and stay inside the workspace")
)]
pub struct FileSpec {
    /// Path relative to the workspace. Of a repository, or an artifact that is an archive, it is its directory; `.` is the workspace itself. At most 512 characters.
    #[schemars(length(min = 1, max = 512))]
    pub path: String,
    /// The content. At most 131072 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 131_072))]
    pub content: Option<String>,
    /// The content, from a ConfigMap in the same namespace, as it is when the Task starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapKeyRef>,
    /// A repository, as it is when an attempt starts. The image's own git fetches it, through the sandbox's egress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitSource>,
    /// What another Task has kept, once that has ended: one file as it was, or what is in an archive (of a glob or a directory), below `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactSource>,
}

/// An artifact of another Task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactSource {
    /// A Task of this namespace, which is waited for until it has ended. Whoever creates the Task with these files must be allowed to read its artifacts (`get` on `tasks/artifacts`).
    pub task: LocalRef,
    /// The artifact's name there.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub name: String,
}

/// What the workspace begins with, and whether it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.from) || self.keep").message("set from, or keep: true, or both")
)]
pub struct WorkspaceSpec {
    /// A Task of this namespace with `workspace.keep`, which is waited for until it has ended: its workspace, as it left it, is what this one begins with, before `files`. Nothing of it is copied, and it stays this Task's, too, when it is no longer kept for the other. Whoever creates this one must be allowed to read that one's artifacts (`get` on `tasks/artifacts`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<LocalRef>,
    /// Keep what the workspace is when the Task has succeeded or failed, so that other Tasks can begin with it (`from`), for as long as artifacts are kept. Where it cannot be kept, a Task that would have succeeded fails. Default false.
    #[serde(default)]
    pub keep: bool,
}

/// A repository that anybody can read. One commit of it is fetched, without its history and submodules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitSource {
    /// Where it is: `https://HOST/PATH`, without port, name and password. The host must be one of the sandbox's `egress.domains`. At most 512 characters.
    #[schemars(
        length(min = 1, max = 512),
        regex(pattern = r"^https://[-a-z0-9.]+/[-A-Za-z0-9._~/%+@]+$")
    )]
    pub url: String,
    /// A branch, a tag, or a whole commit id. At most 255 characters. Default `HEAD`, the repository's default branch.
    #[serde(rename = "ref", default = "default_reference")]
    #[schemars(
        length(min = 1, max = 255),
        regex(pattern = r"^[A-Za-z0-9][-A-Za-z0-9._/@+#=]*$")
    )]
    pub reference: String,
}

fn default_reference() -> String {
    "HEAD".to_owned()
}

/// One key of a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKeyRef {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key within it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// An artifact to keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactSpec {
    /// Name of the artifact.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub name: String,
    /// Glob relative to the workspace, like `src/**`. One plain file is kept as it is, anything else as a tar archive.
    #[schemars(length(min = 1, max = 512))]
    pub path: String,
}

/// New attempts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RetrySpec {
    /// Most new attempts. Disruptions do not count; of them there are at most 10. 0 to 20, default 1.
    #[schemars(range(min = 0, max = 20))]
    pub limit: i64,
    /// How long to wait before a new attempt.
    pub backoff: Backoff,
    /// Failure classes that are retried beside the transient ones (ModelUnavailable, Disrupted, Internal). At most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub on: Vec<RetryClass>,
}

impl Default for RetrySpec {
    fn default() -> Self {
        Self {
            limit: 1,
            backoff: Backoff::default(),
            on: Vec::new(),
        }
    }
}

/// Failure classes that a user may have retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RetryClass {
    /// The model refused to answer.
    ModelRefusal,
    /// The model's answer could not be used.
    ModelOutputInvalid,
    /// The code of a `run` failed.
    ToolFailed,
    /// The code of a `run` ran out of memory.
    OutOfMemory,
    /// The agent used all its turns or tool calls.
    LimitReached,
    /// The sandbox could not start.
    StartFailed,
    /// The isolation of the sandbox could not be proven.
    IsolationUnproven,
    /// The check did not accept the outcome.
    NotAccepted,
}

/// Exponential back-off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Backoff {
    /// Before the first new attempt. Default 10s.
    pub base: GepDuration,
    /// Each next one is this many times longer. 1 to 10, default 2.
    #[schemars(range(min = 1, max = 10))]
    pub factor: i64,
    /// The longest. Default 5m.
    pub max: GepDuration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: GepDuration::new("10s"),
            factor: 2,
            max: GepDuration::new("5m"),
        }
    }
}

/// Which Task is replayed, and how far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplaySpec {
    /// A Task of this namespace that has ended, of an agent, and that begins with no other Task's record itself.
    pub task: LocalRef,
    /// `Recorded`: nothing but the record; without a difference the Task ends as the other one did. `RecordedThenLive`: where the record is left, at `until` or at the first difference, the agent goes on with the model, in the workspace as it was there. Default Recorded.
    #[serde(default)]
    pub mode: ReplayMode,
    /// Most answers of the model that are taken from the record, from 1; with mode RecordedThenLive. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub until: Option<u32>,
}

/// What a replay does where the record is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReplayMode {
    /// It ends there.
    #[default]
    Recorded,
    /// It goes on with the model.
    RecordedThenLive,
}

/// Which steps of a workflow are run anew. What depends on them is, too, and `finally`; what has succeeded otherwise stays, and what is used adds up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RerunSpec {
    /// How often that was asked for: raise it by one.
    #[schemars(range(min = 0, max = 1000))]
    pub count: i64,
    /// Names of the steps. Default: what failed, of a step with `forEach` its items that did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200), inner(length(min = 1, max = 32)))]
    pub from: Vec<String>,
}

/// What a Task should be doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DesiredState {
    /// Work.
    #[default]
    Running,
    /// Stop until told otherwise.
    Paused,
    /// Stop for good.
    Cancelled,
    /// Stop, and undo what was done: the `undo` of the steps of a workflow.
    RolledBack,
}

/// Summary of the conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Not started: something is missing, or an attempt is being started.
    Pending,
    /// Its turn has not come: its agent or its namespace runs as many Tasks as it may, as many runs of its Workflow go on as may (`concurrency`), or Kueue has not let its Job run.
    Queued,
    /// An attempt runs.
    Running,
    /// Waits for its back-off, for room in a Budget, for another agent, or for people.
    Waiting,
    /// Stopped until `state` is Running again.
    Paused,
    /// Complete.
    Succeeded,
    /// Failed.
    Failed,
    /// Cancelled.
    Cancelled,
    /// What was done is undone.
    RolledBack,
}

/// What is known of a Task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskStatus {
    /// The generation that this status is about; -1 until the operator has looked at the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Accepted, Ready, Stalled, Complete, Failed, Finished, BudgetAvailable, Isolated.
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
    /// Summary of the conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// What runs: `agent/NAME`, with a command `agent/NAME/COMMAND`, `run/LANGUAGE`, `workflow/NAME`, of one without a name `workflow`, or `goal/PLANNER`; `select/CAPABILITIES` until an agent is chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Number of the newest attempt, from 1. Written before anything of it exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i64>,
    /// The Job of the newest attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobRef>,
    /// What was pinned when the first attempt was opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Pinned>,
    /// What the newest attempt was made of, beside what is pinned and the models in `usage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Provenance>,
    /// What was used, over all attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What came out: at most 16 KiB of JSON. Of a `run`: exitCode, signal, stdoutTail and stderrTail (stdoutOmitted and stderrOmitted bytes stood before them), cpuSeconds, peakMemory, duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_json")]
    pub output: Option<Value>,
    /// The best score that its judge gave in the newest attempt, from "0" to "1".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<String>,
    /// What was kept from the workspace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<ArtifactStatus>,
    /// The workspace that was kept. Absent where none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceStatus>,
    /// What the Task asked for and has no answer to yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<RequestStatus>,
    /// Of a Task with `memo`: which others do the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memo: Option<MemoStatus>,
    /// Of a goal: how its plans stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Box<PlanStatus>>,
    /// Of a workflow, or the plan of a goal: how its steps stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<Box<StepsStatus>>,
    /// Why the Task failed, or the last attempt did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureStatus>,
    /// When the first attempt began to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the newest attempt began to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_started_at: Option<Time>,
    /// When the Task ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// Running time of the attempts that have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ran_for: Option<GepDuration>,
    /// New attempts that counted against `retry.limit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<i64>,
    /// New attempts after disruptions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disruptions: Option<i64>,
    /// When the next attempt begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Time>,
}

/// A Job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobRef {
    /// Name of the Job.
    pub name: String,
    /// UID of the Job: tells one that was never created from one that was deleted.
    pub uid: String,
}

/// What was pinned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pinned {
    /// `NAME@sha256:...` of the Agent's spec; of one that was chosen, which one. Later edits do not reach this Task.
    pub agent: String,
    /// The SandboxClass that the Agent named.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub class: String,
    /// The sandbox that the Agent asked for, so that every attempt runs in the same one. Absent when the Task needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxSpec>,
    /// Whether each attempt has a pod of its own though the Task may need no sandbox: its output is held against `output.schema`. Absent means no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_pod: bool,
    /// What the agent may ask for. Absent when it may ask for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<PinnedRequests>,
}

/// What an agent may ask for, as its Agent said when the first attempt was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PinnedRequests {
    /// The Agents that may be given work.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub delegates: Vec<String>,
    /// The Agent that judges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<String>,
    /// The tools whose calls need people's leave.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub approvals: Vec<ToolApproval>,
    /// Who may answer its questions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub questions: Option<Questions>,
}

/// Who may answer questions of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Questions {
    /// Who may answer.
    pub approvers: Approvers,
    /// How long an answer is waited for.
    pub timeout: GepDuration,
}

/// Something that a Task asked for and has no answer to yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestStatus {
    /// Its id in the Task's journal.
    pub id: String,
    /// What was made for it.
    pub kind: RequestKind,
    /// Name of that object.
    pub name: String,
    /// UID of that object, once it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// How often it was made, from 1: an Approval that is deleted is asked for again.
    pub round: i64,
}

/// What is made for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RequestKind {
    /// A child Task.
    Task,
    /// An Approval.
    Approval,
}

/// What an attempt was made of. Evidence for people: unlike `pinned`, no later attempt takes anything from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Provenance {
    /// SHA-256 of the prompt that the agent was given, `sha256:...`: of a command, with its parameters in it. Absent of a `run`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// `NAME@sha256:...` of the SandboxClass's spec, under whose rules it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The image of its sandbox with its digest, as the node's kubelet reports it. Absent until the attempt runs, and without a sandbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

/// What a Task has used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// Model calls that were answered.
    pub calls: i64,
    /// Input tokens, cached ones included.
    pub input_tokens: i64,
    /// Output tokens, reasoning included.
    pub output_tokens: i64,
    /// Input tokens that a provider read from its cache.
    pub cached_tokens: i64,
    /// Input and output tokens together.
    pub total_tokens: i64,
    /// Money in USD, as a decimal string, rounded up.
    pub usd: String,
    /// Models that answered, in order of first use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
}

/// An artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactStatus {
    /// Name of the artifact.
    pub name: String,
    /// Size in bytes.
    pub size: i64,
    /// Digest of the bytes.
    pub digest: String,
    /// Whether it is a tar archive of what a glob or a directory named. Absent means no: it is one file as it was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub archive: bool,
}

/// A workspace that was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceStatus {
    /// Size of its parts in bytes, those that it began with among them.
    pub size: i64,
}

/// Why something failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureStatus {
    /// The class, a closed vocabulary (see the reference).
    pub class: String,
    /// What happened and what to do.
    pub message: String,
}
