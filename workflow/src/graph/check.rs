//! What is wrong with the shape of a workflow, before its expressions are looked at, and with the order of its steps.

use super::{Step, field};
use oarmaster_crds::commands::{Params, is_name};
use oarmaster_crds::kinds::approval::Approvers;
use oarmaster_crds::kinds::workflow::{MAX_FINALLY, MAX_STEPS, StepSpec};
use oarmaster_crds::validate::{self, Problem};
use oarmaster_crds::{GepDuration, TaskSpec, WorkflowSpec};
use std::collections::BTreeSet;
use std::time::Duration;

/// Longest name of a step.
const MAX_NAME: usize = 32;
/// How long people may be waited for.
const APPROVAL: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(30 * 86_400));

/// What is wrong with names, lists and bounds.
pub(super) fn shape(spec: &WorkflowSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    if spec.steps.is_empty() || spec.steps.len() > MAX_STEPS {
        problems.push(Problem::spec("spec.steps", "write 1 to 200 steps"));
    }
    if spec.finally.len() > MAX_FINALLY {
        problems.push(Problem::spec("spec.finally", "write at most 20 steps"));
    }
    if !problems.is_empty() {
        return problems;
    }
    if let Err(found) = Params::new("spec.params", spec.params.as_ref()) {
        problems.extend(found);
    }
    for (name, timeout) in [
        ("run", &spec.timeouts.run),
        ("finally", &spec.timeouts.finally),
    ] {
        let field = format!("spec.timeouts.{name}");
        let bounds = (Duration::from_secs(1), validate::MAX_TIMEOUT);
        problems.extend(duration(&field, timeout, bounds, "1s to 7 days (168h)"));
    }
    let of_run = TaskSpec {
        workflow: Some(oarmaster_crds::LocalRef::new("any")),
        budget: spec.budget.clone(),
        ..TaskSpec::default()
    };
    problems.extend(validate::task(&of_run, &Default::default()));
    let mut seen = BTreeSet::new();
    for (at, step) in spec.steps.iter().chain(&spec.finally).enumerate() {
        let field = field(spec, at);
        let lower = step.name.bytes().all(|byte| !byte.is_ascii_uppercase());
        if !is_name(&step.name) || step.name.len() > MAX_NAME || !lower {
            problems.push(Problem::spec(
                format!("{field}.name"),
                "write 1 to 32 lower-case letters and digits, the first a letter; no word that YAML reads as a boolean or null, nor one that CEL has for itself, like in or for",
            ));
        }
        if !seen.insert(&step.name) {
            problems.push(Problem::spec(&field, "has the name of another step"));
        }
        if at >= spec.steps.len() && step.approval.is_some() {
            problems.push(Problem::spec(
                &field,
                "finally waits for nobody: ask people in a step before it",
            ));
        }
        self::step(&mut problems, &field, step);
    }
    for (at, step) in spec.steps.iter().chain(&spec.finally).enumerate() {
        let own = spec.steps.iter().chain(&spec.finally);
        let of_finally = at >= spec.steps.len();
        for name in &step.after {
            let found = own.clone().position(|other| other.name == *name);
            let text = match found {
                None => "which is none of the steps",
                Some(other) if other == at => "which is itself",
                Some(other) if other >= spec.steps.len() && !of_finally => {
                    "which is of finally, and comes after all others"
                }
                Some(_) => continue,
            };
            let shown: String = name.chars().take(MAX_NAME).collect();
            problems.push(Problem::spec(
                format!("{}.after", field(spec, at)),
                format!("names {shown}, {text}"),
            ));
        }
    }
    problems
}

fn step(problems: &mut Vec<Problem>, field: &str, step: &StepSpec) {
    let StepSpec {
        name: _,
        agent,
        run,
        workflow,
        approval,
        params,
        files,
        artifacts,
        accept,
        budget,
        timeout,
        retry,
        condition: _,
        after,
    } = step;
    let kinds = [
        agent.is_some(),
        run.is_some(),
        workflow.is_some(),
        approval.is_some(),
    ];
    if kinds.iter().filter(|set| **set).count() != 1 {
        problems.push(Problem::spec(
            field,
            "set exactly one of agent, run, workflow or approval",
        ));
        return;
    }
    if after.len() > MAX_STEPS {
        problems.push(Problem::spec(format!("{field}.after"), "write at most 200"));
    }
    if let Some(approval) = approval {
        let idle = params.is_none()
            && files.is_empty()
            && artifacts.is_empty()
            && accept.is_none()
            && budget.is_none()
            && timeout.is_none()
            && retry.is_none();
        if !idle {
            problems.push(Problem::spec(
                field,
                "an approval runs nothing: remove params, files, artifacts, accept, budget, timeout and retry; its own timeout is approval.timeout",
            ));
        }
        problems.extend(duration(
            &format!("{field}.approval.timeout"),
            &approval.timeout,
            APPROVAL,
            "1m to 30 days (720h)",
        ));
        problems.extend(approvers(
            &format!("{field}.approval.approvers"),
            &approval.approvers,
        ));
        return;
    }
    if workflow.is_some() && (timeout.is_some() || retry.is_some()) {
        problems.push(Problem::spec(
            field,
            "timeout and retry are for an agent or a run; of a workflow its own timeouts count, and what is tried again are its steps",
        ));
    }
    // It becomes a Task: what is wrong with that is wrong with the step.
    let found = validate::task(&task(step), &Default::default());
    problems.extend(found.into_iter().map(|problem| {
        let under = problem.field.strip_prefix("spec").unwrap_or_default();
        Problem::spec(format!("{field}{under}"), problem.message)
    }));
}

/// The Task of a step, with its texts as they are written.
pub(crate) fn task(step: &StepSpec) -> TaskSpec {
    let plain = TaskSpec::default();
    TaskSpec {
        agent: step.agent.clone(),
        run: step.run.clone(),
        workflow: step.workflow.clone(),
        params: step.params.clone(),
        files: step.files.clone(),
        artifacts: step.artifacts.clone(),
        accept: step.accept.clone(),
        budget: step.budget.clone(),
        timeout: step.timeout.clone().unwrap_or(plain.timeout),
        retry: step.retry.clone().unwrap_or(plain.retry),
        ..TaskSpec::default()
    }
}

fn approvers(field: &str, approvers: &Approvers) -> Option<Problem> {
    let all = approvers.groups.iter().chain(&approvers.users);
    let bad = all.clone().next().is_none()
        || all.clone().count() > 32
        || all.clone().any(|name| name.is_empty() || name.len() > 256)
        || !(1..=10).contains(&approvers.count);
    bad.then(|| {
        Problem::spec(
            field,
            "name groups, users, or both: those who may decide; at most 16 of each, and a count of 1 to 10",
        )
    })
}

fn duration(
    field: &str,
    value: &GepDuration,
    (least, most): (Duration, Duration),
    bounds: &str,
) -> Option<Problem> {
    match value.get() {
        Ok(value) if (least..=most).contains(&value) => None,
        Ok(_) => Some(Problem::spec(field, format!("write {bounds}"))),
        Err(error) => Some(Problem::spec(field, error.to_string())),
    }
}

/// Steps that wait for each other.
pub(super) fn cycle(spec: &WorkflowSpec, steps: &[Step]) -> Option<Problem> {
    let mut done = BTreeSet::new();
    // Whoever needs nothing that is not done, again and again: who is left waits for somebody who is left.
    loop {
        let before = done.len();
        for (at, step) in steps.iter().enumerate() {
            if step.needs.iter().all(|need| done.contains(need)) {
                done.insert(at);
            }
        }
        if done.len() == steps.len() {
            return None;
        }
        if done.len() == before {
            break;
        }
    }
    let left = |at: &usize| !done.contains(at);
    let first = (0..steps.len()).find(left)?;
    let mut way = vec![first];
    loop {
        let last = *way.last()?;
        let next = *steps.get(last)?.needs.iter().find(|need| left(need))?;
        if let Some(begin) = way.iter().position(|at| *at == next) {
            let name = |at: &usize| steps.get(*at).map_or("", |step| step.spec.name.as_str());
            let mut names: Vec<&str> = way.iter().skip(begin).map(name).collect();
            names.push(name(&next));
            return Some(Problem::spec(
                field(spec, next),
                format!(
                    "waits for itself: {}; remove a reference or an after between them",
                    names.join(" needs ")
                ),
            ));
        }
        way.push(next);
    }
}
