//! The script of a Scripted provider: rules from which it answers, without a network.

use crate::common::any_object;
use crate::duration::GepDuration;
use crate::kinds::fault::ScriptFault;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Rules, tried in order; the first whose `when` holds gives the reply. No rule holds: the provider answers with error 400 and says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Script {
    /// The rules. 1 to 64.
    #[schemars(length(min = 1, max = 64))]
    pub rules: Vec<ScriptRule>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScriptRule {
    /// When the rule holds: every condition that is set. Default: always.
    #[serde(default)]
    pub when: ScriptWhen,
    /// What is answered.
    pub reply: ScriptReply,
}

/// When a rule holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScriptWhen {
    /// Number of assistant messages in the request, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub turn: Option<i64>,
    /// Regular expression (Rust's `regex`) that must match somewhere in the last message's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub last: Option<String>,
    /// Regular expression that must match somewhere in the text of the first user message.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub prompt: Option<String>,
    /// The last message is a result of this tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub tool: Option<String>,
}

/// What a rule answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.fault) || !(self.fault.kind in ['Error', 'Page', 'Empty', 'ErrorInSuccess', 'Silent', 'Endless']) || (!has(self.text) && !has(self.toolCalls))").message("a fault of this kind answers nothing: leave out text and toolCalls"))]
pub struct ScriptReply {
    /// Text of the answer. `${last}` is replaced by the last message's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 131_072))]
    pub text: Option<String>,
    /// Tool calls of the answer. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tool_calls: Vec<ScriptToolCall>,
    /// How long to wait before the answer. Default: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<GepDuration>,
    /// What usage to report. Default: one token per four bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<ScriptUsage>,
    /// Why the model stopped. Default: `tool_calls` with tool calls, else `stop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub finish_reason: Option<String>,
    /// What goes wrong with the answer. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<ScriptFault>,
}

/// A tool call of a scripted answer: arguments as an object, or as raw text to play a model that writes broken JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.arguments) != has(self.rawArguments)").message("set exactly one of arguments or rawArguments"))]
pub struct ScriptToolCall {
    /// Name of the tool.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// Arguments as an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub arguments: Option<Value>,
    /// Arguments as the text that is sent as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 131_072))]
    pub raw_arguments: Option<String>,
}

/// Usage that a scripted answer reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScriptUsage {
    /// Input tokens.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub input_tokens: i64,
    /// Output tokens.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub output_tokens: i64,
}
