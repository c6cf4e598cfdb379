//! The status of a Workflow: pure. What its steps name may come later, and is waited for by the Task of the step.

use crate::kit::ready::{self, Plan};
use jiff::Timestamp;
use oarmaster_crds::conditions::{self, reason};
use oarmaster_crds::validate::summary;
use oarmaster_crds::{Workflow, WorkflowStatus};
use oarmaster_workflow::graph::Graph;

/// Plans one pass.
#[must_use]
pub fn plan(workflow: &Workflow, now: Timestamp) -> Plan<WorkflowStatus> {
    let generation = workflow.metadata.generation;
    let spec = &workflow.spec;
    let mut status = workflow.status.clone().unwrap_or_default();
    status.observed_generation = generation;
    status.steps = i64::try_from(spec.steps.len() + spec.finally.len()).ok();
    let (value, reason, message) = match Graph::compile(spec) {
        Ok(_) => (true, reason::READY, String::new()),
        Err(problems) => (false, reason::INVALID_SPEC, summary(&problems)),
    };
    conditions::set(
        &mut status.conditions,
        conditions::READY,
        Some(value),
        reason,
        &message,
        generation,
        now,
    );
    ready::plan(workflow.status.as_ref(), status, |status| {
        &status.conditions
    })
}
