//! The steps of a Workflow for people: what does each, and which of them needs which.
//!
//! The operator compiles the expressions. Here it is only looked for `steps.NAME` in them, which is the one way in which they name a step.

use oarmaster_crds::WorkflowSpec;
use oarmaster_crds::kinds::workflow::StepSpec;
use serde_json::Value;

/// All steps; those of `finally` come last.
pub fn all(spec: &WorkflowSpec) -> impl Iterator<Item = &StepSpec> {
    spec.steps.iter().chain(&spec.finally)
}

/// Whether a step stands in `finally`.
pub fn is_last(spec: &WorkflowSpec, step: &StepSpec) -> bool {
    spec.finally.iter().any(|held| held.name == step.name)
}

/// What does a step, in the words of `status.target` of its Task.
pub fn target(step: &StepSpec) -> String {
    if let Some(call) = &step.agent {
        return call.target(None);
    }
    if let Some(run) = &step.run {
        return format!("run/{}", run.language());
    }
    match (&step.workflow, &step.approval) {
        (Some(workflow), _) => match &workflow.name {
            Some(name) => format!("workflow/{name}"),
            None => "workflow".to_owned(),
        },
        (None, Some(_)) => "approval".to_owned(),
        (None, None) if step.wait.is_some() => "wait".to_owned(),
        (None, None) if step.goal.is_some() => {
            let planner = step.goal.as_ref().map(|goal| goal.planner.name.as_str());
            format!("goal/{}", planner.unwrap_or_default())
        }
        (None, None) => "-".to_owned(),
    }
}

/// The steps that a step needs, in their order: those in `after`, and those that it reads. Of a step of `finally` others of `finally` alone:
/// the rest has ended then.
pub fn needs<'a>(spec: &'a WorkflowSpec, step: &StepSpec) -> Vec<&'a str> {
    let among = if is_last(spec, step) {
        &spec.finally
    } else {
        &spec.steps
    };
    let reads = reads(step);
    let needed = |name: &&str| {
        *name != step.name && (reads.contains(name) || step.after.iter().any(|after| after == name))
    };
    let names = among.iter().map(|held| held.name.as_str());
    names.filter(needed).collect()
}

/// The steps that the expressions of a step name.
fn reads(step: &StepSpec) -> Vec<&str> {
    let mut found = Vec::new();
    for value in step.params.iter().flat_map(|params| params.values()) {
        texts(value, &mut found);
    }
    let env = step.run.iter().flat_map(|run| run.env.values());
    found.extend(env.map(String::as_str));
    found.extend(step.files.iter().filter_map(|file| file.content.as_deref()));
    let wait = step.wait.as_ref().and_then(|wait| wait.until.as_deref());
    found.extend(wait);
    let workspace = step.workspace.as_ref().map(|held| held.from.as_str());
    found.extend(workspace);
    let graph = step.workflow.as_ref();
    found.extend(graph.and_then(|graph| graph.from.as_deref()));
    found.extend(step.goal.as_ref().map(|goal| goal.text.as_str()));
    step.for_each
        .iter()
        .for_each(|list| texts(list, &mut found));
    for value in step.share.iter().flat_map(|share| share.values()) {
        texts(value, &mut found);
    }
    let artifacts = step.files.iter().filter_map(|file| file.artifact.as_ref());
    let plain: Vec<&str> = artifacts
        .map(|held| held.step.as_str())
        .chain(workspace)
        .collect();
    if let Some(approval) = &step.approval {
        found.push(&approval.ask);
        found.extend(approval.show.values().map(String::as_str));
    }
    let until = step.repeat.as_ref().map(|repeat| repeat.until.as_str());
    let condition = step.condition.as_deref().into_iter().chain(until);
    let expressions = found.into_iter().flat_map(expressions).chain(condition);
    expressions.flat_map(named).chain(plain).collect()
}

fn texts<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => into.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, into)),
        Value::Object(fields) => fields.values().for_each(|item| texts(item, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What stands in `${...}`, to the last brace before the next one begins; `$${` begins none.
fn expressions(text: &str) -> impl Iterator<Item = &str> {
    let mut pieces = text.split("${");
    let mut before = pieces.next().unwrap_or_default();
    pieces.filter_map(move |piece| {
        let escaped = before.ends_with('$');
        before = piece;
        let (expression, _) = piece.rsplit_once('}')?;
        (!escaped).then_some(expression)
    })
}

/// Every NAME of a `steps.NAME`.
fn named(expression: &str) -> impl Iterator<Item = &str> {
    expression
        .match_indices("steps.")
        .filter_map(move |(at, mark)| {
            let before = expression.get(..at)?.chars().next_back();
            if before.is_some_and(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '.'))
            {
                return None; // of something else
            }
            let name = expression.get(at + mark.len()..)?;
            let end = name.find(|letter: char| !letter.is_ascii_alphanumeric());
            name.get(..end.unwrap_or(name.len()))
        })
}

#[cfg(test)]
mod tests;
