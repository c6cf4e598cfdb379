//! Whether a Workflow could run: the check whose words are in its condition `Ready`, made before it is stored. Pure.

use crate::review::Request;
use kube::Resource as _;
use oarmaster_crds::validate::listed;
use oarmaster_crds::{Workflow, WorkflowSpec};
use oarmaster_workflow::graph::Graph;

/// Largest text of a spec that is checked, in bytes: read and compiled it is a hundred times as large at most.
pub const MAX_SPEC: usize = 512 << 10;
/// Most problems that are told.
pub const MAX_TOLD: usize = 20;

/// What is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It could run.
    Fine,
    /// Nobody knows, for this reason: it is taken, and its condition says more.
    Unchecked(&'static str),
    /// Everything that is wrong with it, each with its field.
    Wrong(String),
}

/// The text of the spec that is to be checked. `None` for everything that is no Workflow, and where its spec stays as it is: somebody takes a label or a
/// finalizer away, and need not mend it for that.
#[must_use]
pub fn asked<'a>(request: &Request<'a>) -> Option<&'a str> {
    let kind = &request.kind;
    let ours = kind.group == Workflow::group(&())
        && kind.kind == Workflow::kind(&())
        && matches!(request.operation.as_str(), "CREATE" | "UPDATE");
    request.new_spec().filter(|_| ours)
}

/// Checks a spec. It takes up to a second: not for an async thread.
#[must_use]
pub fn check(spec: &str) -> Verdict {
    if spec.len() > MAX_SPEC {
        return Verdict::Unchecked("it has more than 512 KiB");
    }
    // What the schema lets in can be read, unless it is of a newer version.
    let Ok(spec) = serde_json::from_str::<WorkflowSpec>(spec) else {
        return Verdict::Unchecked("it cannot be read by this version of the webhook");
    };
    match Graph::compile(&spec) {
        Ok(_) => Verdict::Fine,
        Err(problems) => Verdict::Wrong(listed(&problems, MAX_TOLD)),
    }
}

#[cfg(test)]
mod tests;
