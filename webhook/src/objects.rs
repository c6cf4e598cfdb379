//! Whether an object is one that could be used: the checks whose words are in its conditions, made before it is stored. Pure.

use crate::review::Request;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;
use oarmaster_crds::validate::{self, Problem, listed};
use oarmaster_crds::{
    Agent, AgentSpec, Budget, BudgetSpec, ModelPool, ModelPoolSpec, ModelProvider,
    ModelProviderSpec, SandboxClass, SandboxClassSpec, Task, TaskSpec, Workflow, WorkflowSpec,
};
use oarmaster_workflow::graph::Graph;
use oarmaster_workflow::made;
use serde::de::DeserializeOwned;

/// Largest text of a spec that is checked, in bytes: read and compiled it is a hundred times as large at most.
pub const MAX_SPEC: usize = 512 << 10;
/// Most problems that are told.
pub const MAX_TOLD: usize = 20;

/// What is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong with it by itself.
    Fine,
    /// Nobody knows, for this reason: it is taken, and its conditions say more.
    Unchecked(&'static str),
    /// Everything that is wrong with it, each with its field.
    Wrong(String),
}

/// A kind that is checked. An Approval is not: the operator makes it, and what people add to it is held by the schema and a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Also its graph, if it is spelled there.
    Task,
    /// Its graph.
    Workflow,
    /// By itself: whether its SandboxClass allows it is seen later.
    Agent,
    /// By itself.
    ModelPool,
    /// By itself.
    ModelProvider,
    /// By itself.
    SandboxClass,
    /// By itself.
    Budget,
}

/// What is to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// What it is.
    pub kind: Kind,
    /// The text of its spec.
    pub spec: &'a str,
    /// Where it is; empty for a kind without namespace.
    pub namespace: &'a str,
}

impl Kind {
    /// The kind of an object, if it is one of ours that is checked.
    fn of(group: &str, kind: &str) -> Option<Self> {
        if group != Task::group(&()) {
            return None;
        }
        let known = [
            (Task::kind(&()), Self::Task),
            (Workflow::kind(&()), Self::Workflow),
            (Agent::kind(&()), Self::Agent),
            (ModelPool::kind(&()), Self::ModelPool),
            (ModelProvider::kind(&()), Self::ModelProvider),
            (SandboxClass::kind(&()), Self::SandboxClass),
            (Budget::kind(&()), Self::Budget),
        ];
        let found = known.into_iter().find(|(name, _)| name == kind);
        found.map(|(_, found)| found)
    }
}

impl<'a> Asked<'a> {
    /// What is to be checked of a request. `None` for everything that is no kind of ours, and where the spec stays as it is: somebody takes a label or a
    /// finalizer away, and need not mend the object for that. A Task is checked at its creation alone: what may change of it then is held by its schema.
    #[must_use]
    pub fn of(request: &'a Request<'_>) -> Option<Self> {
        let kind = Kind::of(&request.kind.group, &request.kind.kind)?;
        let asked = match request.operation.as_str() {
            "CREATE" => true,
            "UPDATE" => kind != Kind::Task,
            _ => false,
        };
        let spec = request.new_spec().filter(|_| asked)?;
        Some(Self {
            kind,
            spec,
            namespace: request.namespace.as_deref().unwrap_or_default(),
        })
    }

    /// Whether its check may take up to a second, since expressions are compiled.
    #[must_use]
    pub fn has_a_graph(&self) -> bool {
        // Cheaply, and rather too often: the text of a Task's graph has steps.
        match self.kind {
            Kind::Workflow => true,
            Kind::Task => self.spec.contains("\"steps\""),
            _ => false,
        }
    }
}

/// Checks an object. Where it has a graph it takes up to a second: not for an async thread.
#[must_use]
pub fn check(asked: Asked<'_>) -> Verdict {
    let Asked {
        kind,
        spec,
        namespace,
    } = asked;
    if spec.len() > MAX_SPEC {
        return Verdict::Unchecked("it has more than 512 KiB");
    }
    match kind {
        Kind::Task => held(spec, task),
        Kind::Workflow => held(spec, |spec: &WorkflowSpec| told(Graph::compile(spec))),
        Kind::Agent => held(spec, |spec: &AgentSpec| plain(validate::agent(spec))),
        Kind::ModelPool => held(spec, |spec: &ModelPoolSpec| {
            plain(validate::pool(spec, namespace))
        }),
        Kind::ModelProvider => held(spec, |spec: &ModelProviderSpec| {
            plain(validate::provider(spec))
        }),
        Kind::SandboxClass => held(spec, |spec: &SandboxClassSpec| plain(validate::class(spec))),
        Kind::Budget => held(spec, |spec: &BudgetSpec| plain(validate::budget(spec))),
    }
}

/// Reads a spec, and says what is wrong with it.
fn held<S: DeserializeOwned>(spec: &str, wrong: impl FnOnce(&S) -> Option<String>) -> Verdict {
    // What the schema lets in can be read, unless it is of a newer version.
    let Ok(spec) = serde_json::from_str::<S>(spec) else {
        return Verdict::Unchecked("it cannot be read by this version of the webhook");
    };
    wrong(&spec).map_or(Verdict::Fine, Verdict::Wrong)
}

fn plain(problems: Vec<Problem>) -> Option<String> {
    (!problems.is_empty()).then(|| listed(&problems, MAX_TOLD))
}

fn told<T>(compiled: Result<T, Vec<Problem>>) -> Option<String> {
    compiled.err().and_then(plain)
}

/// A Task and its graph. Whether it may have a time to live is the policy `oarmaster-ttl`'s to say, which sees its labels.
fn task(spec: &TaskSpec) -> Option<String> {
    let problems = validate::task(spec, &ObjectMeta::default());
    if !problems.is_empty() {
        return plain(problems); // among them how large its graph may be
    }
    let workflow = spec.workflow.as_ref()?;
    let graph = workflow.spec.as_ref()?;
    told(made::of_task(graph, workflow.allow.as_ref()))
        .map(|words| format!("spec.workflow.spec: {words}"))
}

#[cfg(test)]
mod tests;
