//! The status of an Agent: pure.

use super::pool;
use crate::kit::ready::{self, Plan};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use oarmaster_crds::conditions::{self, reason};
use oarmaster_crds::validate::{self, Problem, Rule, summary};
use oarmaster_crds::{Agent, AgentStatus, ModelPool, SandboxClass, access, names};
use std::sync::Arc;

/// Everything the planner may look at.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The clock.
    pub now: Timestamp,
    /// The pool that it means, if it may.
    pub pool: Option<Arc<ModelPool>>,
    /// The class that it names.
    pub class: Option<Arc<SandboxClass>>,
}

/// Plans one pass.
#[must_use]
pub fn plan(agent: &Agent, seen: &Observed) -> Plan<AgentStatus> {
    let generation = agent.metadata.generation;
    let mut status = agent.status.clone().unwrap_or_default();
    status.observed_generation = generation;
    status.tool_count = i64::try_from(agent.spec.tools.len()).ok();
    status.command_count = i64::try_from(agent.spec.commands.len()).ok();
    // The types of this crate always serialise; an older digest would stand if one ever did not.
    if let Ok(digest) = names::spec_digest(&agent.spec) {
        status.revision = Some(digest);
    }
    let missing = missing(agent, seen);
    let resolved = if missing.is_empty() {
        (Some(true), reason::RESOLVED, String::new())
    } else {
        (Some(false), reason::REFS_NOT_RESOLVED, missing.join("; "))
    };
    let ready = ready(agent, seen, &resolved.2);
    for (kind, (value, reason, message)) in [
        (conditions::RESOLVED_REFS, resolved),
        (conditions::READY, ready),
    ] {
        conditions::set(
            &mut status.conditions,
            kind,
            value,
            reason,
            &message,
            generation,
            seen.now,
        );
    }
    ready::plan(agent.status.as_ref(), status, |status| &status.conditions)
}

fn missing(agent: &Agent, seen: &Observed) -> Vec<String> {
    let mut missing = Vec::new();
    if seen.pool.is_none() {
        missing.push(pool::of_agent(agent).absent());
    }
    if seen.class.is_none() {
        let name = &agent.spec.sandbox.class.name;
        missing.push(access::absent("SandboxClass", ("", name), ""));
    }
    missing
}

fn ready(agent: &Agent, seen: &Observed, missing: &str) -> (Option<bool>, &'static str, String) {
    let problems = validate::agent(&agent.spec);
    if !problems.is_empty() {
        let of_commands = |problem: &Problem| problem.rule == Rule::Command;
        let reason = if problems.iter().all(of_commands) {
            reason::INVALID_COMMAND
        } else {
            reason::INVALID_SPEC
        };
        return (Some(false), reason, summary(&problems));
    }
    let (Some(pool), Some(class)) = (&seen.pool, &seen.class) else {
        return (Some(false), reason::REFS_NOT_RESOLVED, missing.to_owned());
    };
    let class_name = &agent.spec.sandbox.class.name;
    // An agent without tools of the sandbox and check runs no code, unless a Task brings files; then the Task's own pass looks.
    let spec = &agent.spec;
    let runs_code = spec.has_sandbox_tools() || spec.accept.is_some();
    let field = "spec.sandbox";
    let refused = validate::agent_within_class(field, spec, runs_code, class_name, &class.spec);
    if !refused.is_empty() {
        return (Some(false), reason::REFUSED_BY_CLASS, summary(&refused));
    }
    let named = [
        (
            "ModelPool",
            &agent.spec.model.pool.name,
            pool.status.as_ref().map(|status| &status.conditions),
        ),
        (
            "SandboxClass",
            class_name,
            class.status.as_ref().map(|status| &status.conditions),
        ),
    ];
    for (kind, name, held) in named {
        if let Some(why) = not_ready(held) {
            let text = format!("{kind} {name} is not ready: {why}");
            return (Some(false), reason::REFS_NOT_RESOLVED, text);
        }
    }
    (Some(true), reason::READY, String::new())
}

fn not_ready(conditions: Option<&Vec<Condition>>) -> Option<String> {
    let held = conditions.and_then(|list| conditions::find(list, conditions::READY));
    match held {
        Some(held) if held.status == "True" => None,
        Some(held) => Some(held.message.clone()),
        None => Some("it was not looked at yet".to_owned()),
    }
}
