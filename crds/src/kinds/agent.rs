//! Agent: instructions, a model, tools, a sandbox and limits.

use super::approval::{Approvers, OnTimeout};
use super::command::CommandSpec;
use super::sandbox::{AcceptSpec, SandboxSpec};
use crate::common::{
    Allowance, LocalRef, NamespacedRef, SecretKeyRef, any_object, conditions_schema,
};
use crate::duration::GepDuration;
use crate::names;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Instructions, a model, tools, a sandbox and limits. A Task runs it; a running Task keeps the version it started with.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "oarmaster.dev",
    version = "v1alpha1",
    kind = "Agent",
    plural = "agents",
    shortname = "oagent",
    category = "oarmaster",
    namespaced,
    status = "AgentStatus",
    derive = "PartialEq",
    doc = "Instructions, a model, tools, a sandbox and limits. A Task runs it.",
    printcolumn(name = "POOL", type_ = "string", json_path = ".spec.model.pool.name"),
    printcolumn(name = "TOOLS", type_ = "integer", json_path = ".status.toolCount"),
    printcolumn(
        name = "COMMANDS",
        type_ = "integer",
        json_path = ".status.commandCount"
    ),
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
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.approvals) || self.approvals.all(one, has(self.tools) && self.tools.exists(tool, has(tool.builtin) ? tool.builtin == one.tool : has(tool.mcp) && tool.mcp.allow.exists(name, tool.mcp.name + '__' + name.replace('.', '_').replace('/', '_') == one.tool)))").message("each tool of approvals must be one of tools: a builtin, or <mcp.name>__<tool>"),
    validation = Rule::new("!has(self.tools) || self.tools.filter(tool, has(tool.builtin)).all(tool, self.tools.exists_one(other, has(other.builtin) && other.builtin == tool.builtin))").message("a builtin tool is there once"),
    validation = Rule::new("!has(self.tools) || self.tools.filter(tool, has(tool.mcp)).all(tool, self.tools.exists_one(other, has(other.mcp) && other.mcp.name == tool.mcp.name))").message("each mcp has a name of its own"),
    validation = Rule::new("!has(self.tools) || self.tools.filter(tool, has(tool.mcp)).size() <= 8").message("at most 8 tools are mcp")
)]
pub struct AgentSpec {
    /// What the agent is for, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub description: String,
    /// The system prompt. 1 to 65536 characters.
    #[schemars(length(min = 1, max = 65_536))]
    pub instructions: String,
    /// Which models answer, and how.
    #[serde(default)]
    pub model: ModelSpec,
    /// The tools that the model may call. Without any, the agent answers from its prompt alone. At most 32, of which 8 may be MCP servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub tools: Vec<ToolSpec>,
    /// What it can do, for Tasks that name capabilities instead of an agent (`agent.select`). Lower-case letters, digits and hyphens, each at most 63 characters. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "capabilities_schema")]
    pub capabilities: Vec<String>,
    /// Named prompts with parameters: a Task calls one with `agent.command`. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub commands: Vec<CommandSpec>,
    /// Tools whose calls need people's leave: each call makes an Approval and waits for it. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["tool"]))]
    pub approvals: Vec<ToolApproval>,
    /// Where its code runs.
    #[serde(default)]
    pub sandbox: SandboxSpec,
    /// The form of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputSpec>,
    /// What makes an answer true. A Task may state its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<AcceptSpec>,
    /// When an attempt is ended, and how many there may be at once.
    #[serde(default)]
    pub limits: Limits,
    /// Budget of a Task that states none. Default: the SandboxClass's defaultTaskBudget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Allowance>,
}

/// A set of capabilities.
pub fn capabilities_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "items": { "type": "string", "minLength": 1, "maxLength": 63, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" },
        "x-kubernetes-list-type": "set",
    })
}

/// Which models answer, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelSpec {
    /// The ModelPool. Default `default`: without a namespace that means the pool of that name in this one, else the chart's.
    pub pool: NamespacedRef,
    /// Sampling temperature as a decimal string from "0" to "2". Default: the provider's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 8),
        regex(pattern = r"^(0(\.[0-9]{1,4})?|1(\.[0-9]{1,4})?|2(\.0{1,4})?)$")
    )]
    pub temperature: Option<String>,
    /// Most output tokens of one call. 1 to 1000000, default 4096.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_output_tokens: i64,
    /// What of the ModelPool's cache its calls use. `Pool`: what the pool's `cache` says. `Off`: every answer is a new one, and none is kept. Default Pool.
    pub cache: AgentCache,
}

/// What of a ModelPool's cache an agent's calls use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AgentCache {
    /// What the pool says.
    #[default]
    Pool,
    /// Nothing.
    Off,
}

impl Default for ModelSpec {
    fn default() -> Self {
        Self {
            pool: NamespacedRef::new(names::DEFAULT),
            temperature: None,
            max_output_tokens: 4096,
            cache: AgentCache::Pool,
        }
    }
}

/// A tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.builtin) != has(self.mcp)").message("write one of builtin and mcp"),
    validation = Rule::new("(has(self.builtin) && self.builtin == 'Delegate') == has(self.agents)").message("agents goes with Delegate, which needs it: the Agents that may be given work"),
    validation = Rule::new("(has(self.builtin) && self.builtin == 'AskHuman') == has(self.approvers)").message("approvers goes with AskHuman, which needs it: who may answer"),
    validation = Rule::new("(has(self.builtin) && self.builtin == 'AskHuman') || !has(self.timeout)").message("timeout is for AskHuman")
)]
pub struct ToolSpec {
    /// A tool that comes with Oarmaster. Delegate, AskHuman, Remember, Recall, WebSearch, FetchPage, SendMessage and ReceiveMessages need no sandbox; all others work in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<Builtin>,
    /// Tools of an MCP server, which the gateway calls: they need no sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp: Option<McpTool>,
    /// For Delegate: the Agents of the same namespace that may be given work. 1 to 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    pub agents: Vec<LocalRef>,
    /// For AskHuman: who may answer. An answer is a decision with a note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvers: Option<Approvers>,
    /// For AskHuman: how long an answer is waited for. Default 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<GepDuration>,
}

/// Tools of an MCP server. The gateway connects to it, by streamable HTTP, and alone has its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.allow.all(name, self.name.size() + name.size() <= 62)").message("name and the name of a tool have at most 62 characters together"))]
pub struct McpTool {
    /// What its tools' names begin with: the model, `approvals` and transcripts have `<name>__<tool>`, with `_` for dots and slashes. A lower-case letter, then at most 15 lower-case letters and digits. Each server of an Agent has its own.
    #[schemars(length(min = 1, max = 16), regex(pattern = r"^[a-z][a-z0-9]*$"))]
    pub name: String,
    /// Where it is, like `https://mcp.example.com/mcp`. http only for an address that the chart's `gateway.privateEndpoints` lists; a private address is refused unless it is listed.
    #[schemars(
        length(min = 1, max = 1024),
        regex(pattern = r"^https?://[^\s/?#@]+(/[^\s?#]*)?(\?[^\s#]*)?$")
    )]
    pub url: String,
    /// Its key, sent as a bearer token. Whoever writes this must be allowed to `get` the Secret, and the gateway needs the same right: ClusterRole `oarmaster-gateway-keys`. Default: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyRef>,
    /// The tools that may be called, by the server's names, each in full. Others are not shown to the model. 1 to 32, each of 1 to 61 letters, digits, dots, slashes, hyphens and underscores.
    #[schemars(schema_with = "allow_schema")]
    pub allow: Vec<String>,
    /// How long a call may take. 1s to 10m, default 60s.
    #[serde(default = "default_call_timeout")]
    pub timeout: GepDuration,
}

/// Names of tools, as an MCP server has them.
pub(crate) const MCP_TOOL: &str = "^[A-Za-z0-9_./-]+$";

fn allow_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 32,
        "items": { "type": "string", "minLength": 1, "maxLength": 61, "pattern": MCP_TOOL },
        "x-kubernetes-list-type": "set",
    })
}

fn default_call_timeout() -> GepDuration {
    GepDuration::new("60s")
}

impl ToolSpec {
    /// The names of its tools for the model.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let builtin = self
            .builtin
            .iter()
            .map(|builtin| builtin.as_str().to_owned());
        let mcp = self.mcp.iter().flat_map(|mcp| {
            let tools = mcp.allow.iter();
            tools.map(|tool| names::mcp_tool(&mcp.name, tool))
        });
        builtin.chain(mcp)
    }
}

/// A tool whose calls need people's leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(self.tool in ['Delegate', 'AskHuman'])").message("Delegate and AskHuman ask by themselves: approvals are for other tools"))]
pub struct ToolApproval {
    /// The tool: a builtin, or `<mcp.name>__<tool>`. 1 to 64 characters.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_-]+$"))]
    pub tool: String,
    /// Who may decide.
    pub approvers: Approvers,
    /// How long a decision is waited for. Default 1h.
    #[serde(default = "default_timeout")]
    pub timeout: GepDuration,
    /// What happens when that time is over. Default Reject: the agent is told that the call was not approved.
    #[serde(default)]
    pub on_timeout: OnTimeout,
}

fn default_timeout() -> GepDuration {
    GepDuration::new("1h")
}

/// The tools that come with Oarmaster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Builtin {
    /// Run a piece of code, in one of the languages of `run.language`.
    RunCode,
    /// Run a shell command.
    Shell,
    /// Read a file of the workspace.
    ReadFile,
    /// Write a file of the workspace.
    WriteFile,
    /// Replace a piece of a file, or apply a unified diff to it.
    EditFile,
    /// List the files of the workspace.
    ListFiles,
    /// Search the files of the workspace with a regular expression.
    SearchFiles,
    /// Give a piece of work to another agent, as a Task of its own, and use its output.
    Delegate,
    /// Ask people, and use their answer.
    AskHuman,
    /// Keep a note for later Tasks: of this agent, for the same requester.
    Remember,
    /// Find notes that were kept.
    Recall,
    /// Search the web, at the endpoint that the administrator set (the chart's gateway.search).
    WebSearch,
    /// Read a page: one that a WebSearch of the same Task returned, or one of the domains in `sandbox.egress.domains`.
    FetchPage,
    /// Send a message to other Tasks of the same tree: to one, or to all.
    SendMessage,
    /// Read the messages of other Tasks of the same tree, and wait for them.
    ReceiveMessages,
}

impl AgentSpec {
    /// Whether it has a tool that works in the sandbox.
    #[must_use]
    pub fn has_sandbox_tools(&self) -> bool {
        self.builtins().any(Builtin::is_of_the_sandbox)
    }

    /// Whether it reads pages, those of the domains of its egress among them.
    #[must_use]
    pub fn reads_pages(&self) -> bool {
        self.builtins().any(|tool| tool == Builtin::FetchPage)
    }

    fn builtins(&self) -> impl Iterator<Item = Builtin> {
        self.tools.iter().filter_map(|tool| tool.builtin)
    }
}

impl Builtin {
    /// The name, as the model sees it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RunCode => "RunCode",
            Self::Shell => "Shell",
            Self::ReadFile => "ReadFile",
            Self::WriteFile => "WriteFile",
            Self::EditFile => "EditFile",
            Self::ListFiles => "ListFiles",
            Self::SearchFiles => "SearchFiles",
            Self::Delegate => "Delegate",
            Self::AskHuman => "AskHuman",
            Self::Remember => "Remember",
            Self::Recall => "Recall",
            Self::WebSearch => "WebSearch",
            Self::FetchPage => "FetchPage",
            Self::SendMessage => "SendMessage",
            Self::ReceiveMessages => "ReceiveMessages",
        }
    }

    /// Whether it is a request to the operator.
    #[must_use]
    pub const fn is_a_request(self) -> bool {
        matches!(self, Self::Delegate | Self::AskHuman)
    }

    /// Whether it works in the sandbox.
    #[must_use]
    pub const fn is_of_the_sandbox(self) -> bool {
        !matches!(
            self,
            Self::Delegate
                | Self::AskHuman
                | Self::Remember
                | Self::Recall
                | Self::WebSearch
                | Self::FetchPage
                | Self::SendMessage
                | Self::ReceiveMessages
        )
    }
}

/// The form of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutputSpec {
    /// JSON Schema (2020-12, without references to the network) that the answer must fit. Without one, the output is `{text: ...}`. Tasks with one have a pod of their own. At most 32 KiB.
    #[schemars(schema_with = "any_object")]
    pub schema: Value,
}

/// When an attempt is ended, and how many there may be at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Most model calls. 1 to 1000, default 30.
    #[schemars(range(min = 1, max = 1000))]
    pub turns: i64,
    /// Most tool calls. 1 to 10000, default 100.
    #[schemars(range(min = 1, max = 10_000))]
    pub tool_calls: i64,
    /// Most Tasks of it with an attempt at once; one more waits. One that waits for its back-off has none. 1 to 100000. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub parallel_tasks: Option<i64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            turns: 30,
            tool_calls: 100,
            parallel_tasks: None,
        }
    }
}

/// What is known of an agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentStatus {
    /// The generation that this status is about; -1 until the operator has looked at the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, ResolvedRefs.
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
    /// Digest of the spec, as in the `status.pinned` of the Tasks that run it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Number of tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_count: Option<i64>,
    /// Number of commands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_count: Option<i64>,
}
