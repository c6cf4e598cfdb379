//! What Agent and Task share: the sandbox that they ask for, and the check that makes an outcome true.

use crate::common::LocalRef;
use crate::duration::GepDuration;
use crate::names;
use crate::quantity::{Cpu, Size};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The sandbox in which code runs: no network but what `egress` says, no token, bounded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SandboxSpec {
    /// The SandboxClass. Default `default`.
    pub class: LocalRef,
    /// Image with the tools that the code needs; it must have a shell at /bin/sh for Shell, and the interpreter of each language that RunCode is to take (python3, node, java with javac). Default python:3.12-slim.
    #[schemars(
        length(min = 1, max = 512),
        regex(pattern = r"^[a-zA-Z0-9][-a-zA-Z0-9._:/@]*$")
    )]
    pub image: String,
    /// CPU limit. Default 1.
    pub cpu: Cpu,
    /// Memory limit of the code's processes together. Default 512Mi.
    pub memory: Size,
    /// Size of the workspace and /tmp together, kept in memory. Default 256Mi.
    pub disk: Size,
    /// Longest tool call. Default 300s.
    pub call_timeout: GepDuration,
    /// What code may reach, within what its class allows. Default: no network.
    pub egress: Egress,
}

impl Default for SandboxSpec {
    fn default() -> Self {
        Self {
            class: LocalRef::new(names::DEFAULT),
            image: "python:3.12-slim".to_owned(),
            cpu: Cpu::new("1"),
            memory: Size::new("512Mi"),
            disk: Size::new("256Mi"),
            call_timeout: GepDuration::new("300s"),
            egress: Egress::default(),
        }
    }
}

/// What code may reach, through a proxy in the gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Egress {
    /// Names of domains. `pypi.org` is that name alone, `*.example.com` every name below example.com, and not itself. Only https at port 443 and http at port 80. In lower case; at most 64. Default none.
    #[schemars(
        length(max = 64),
        inner(
            length(max = 255),
            regex(
                pattern = r"^([*][.])?([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?[.])+[a-z]([-a-z0-9]{0,61}[a-z0-9])?$"
            )
        ),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub domains: Vec<String>,
}

/// What makes an outcome true: a check, a judge, or both, the check first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.check) || has(self.judge)").message("set check, judge, or both"),
    validation = Rule::new("has(self.judge) == has(self.when)").message("judge and when go together: the agent that judges, and the score that accepts, like judge.score >= 0.8"),
    validation = Rule::new("has(self.judge) || !has(self.otherwise)").message("otherwise is for judge")
)]
pub struct AcceptSpec {
    /// A command that runs in the sandbox after the answer. Its exit code decides; red output is the agent's next observation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckSpec>,
    /// An Agent of the same namespace that judges the answer, as a Task of its own: its output is JSON with `score`, a number from 0 to 1, and `feedback`, which is the agent's next observation where the score is not enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<LocalRef>,
    /// The score that accepts: `judge.score >= NUMBER` or `judge.score > NUMBER`, with a decimal from 0 to 1 of at most four digits behind its point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 32),
        regex(pattern = r"^judge\.score >=? (0(\.[0-9]{1,4})?|1(\.0{1,4})?)$")
    )]
    pub when: Option<String>,
    /// How often an answer may be given before the Task fails with NotAccepted. A `run` has one round. 1 to 10, default 2.
    #[serde(default = "default_rounds")]
    #[schemars(range(min = 1, max = 10))]
    pub rounds: i64,
    /// What happens when the judge accepts no round: see its values. Default Fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Otherwise>,
}

/// What happens when the judge accepts no round. `Fail`: the Task fails with NotAccepted. `Best`: the output with the best score is taken, of those that the check accepted. Default Fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Otherwise {
    /// The Task fails.
    Fail,
    /// The best output is taken.
    Best,
}

fn default_rounds() -> i64 {
    2
}

/// A command and the exit code that accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckSpec {
    /// argv, without a shell. 1 to 64 words.
    #[schemars(length(min = 1, max = 64), inner(length(max = 4096)))]
    pub command: Vec<String>,
    /// The exit code that accepts. 0 to 255, default 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 255))]
    pub exit_code: i64,
}
