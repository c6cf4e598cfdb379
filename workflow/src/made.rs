//! A graph that a model made: read, and held to what it may name. What it is then is checked like any other workflow.
//!
//! Whoever writes into what a model reads may write the graph. So a graph has what is listed here and nothing else: the Agents and images that
//! somebody named, texts, and values of its own steps. Each field of a step is taken apart, so that a new one is decided upon here.

use crate::graph::Graph;
use oarmaster_crds::kinds::goal::Allow;
use oarmaster_crds::kinds::sandbox::SandboxSpec;
use oarmaster_crds::kinds::task::RunSpec;
use oarmaster_crds::kinds::workflow::{StepFile, StepSpec, UndoSpec};
use oarmaster_crds::validate::Problem;
use oarmaster_crds::{GepDuration, WorkflowSpec};
use serde_json::Value;
use std::time::Duration;

/// Most bytes of JSON of a graph that a model made (64 KiB): people are shown all of it.
const MAX_BYTES: usize = 64 << 10;
/// Most levels of lists and objects in it.
const MAX_LEVELS: usize = 24;
/// Longest running time that it may give itself, and longest time for its `finally`.
const MAX_RUN: (Duration, Duration) = (Duration::from_secs(86_400), Duration::from_secs(3600));

/// The graph that somebody wrote: an object, or a text with its JSON, alone or between the fences of Markdown.
///
/// # Errors
/// What is wrong with it, with fields that are none of a Workflow's.
pub fn read(written: &Value) -> Result<WorkflowSpec, Vec<Problem>> {
    let wrong = |field: String, text: String| vec![Problem::spec(field, text)];
    let object = match written {
        Value::String(text) => {
            let found = serde_json::from_str::<Value>(unfenced(text));
            found.map_err(|error| {
                let place = format!("line {}, column {}", error.line(), error.column());
                wrong(
                    "spec".to_owned(),
                    format!(
                        "is no JSON ({place}): write one object, and nothing before or after it"
                    ),
                )
            })?
        }
        other => other.clone(),
    };
    if !object.is_object() {
        let text = "is no object: write one with steps".to_owned();
        return Err(wrong("spec".to_owned(), text));
    }
    let spec: WorkflowSpec = serde_path_to_error::deserialize(&object).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." {
            String::new()
        } else {
            format!(".{path}")
        };
        wrong(format!("spec{field}"), error.into_inner().to_string())
    })?;
    let known = serde_json::to_value(&spec).unwrap_or_default();
    let mut problems = Vec::new();
    unknown(&mut problems, "spec", &object, &known);
    if problems.is_empty() {
        Ok(spec)
    } else {
        Err(problems)
    }
}

/// What stands between the fences of a block of code, if it is one.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix("```").and_then(|text| {
        let (_, text) = text.split_once('\n')?;
        text.trim_end().strip_suffix("```")
    });
    inner.unwrap_or(text)
}

/// Fields that were written and not read. What says nothing is left out where it is written again.
fn unknown(problems: &mut Vec<Problem>, field: &str, written: &Value, known: &Value) {
    match (written, known) {
        (Value::Object(written), Value::Object(known)) => {
            for (name, value) in written {
                let shown: String = name.chars().take(40).collect();
                let field = format!("{field}.{shown}");
                match known.get(name) {
                    Some(known) => unknown(problems, &field, value, known),
                    None if says_nothing(value) => {}
                    None => problems.push(Problem::spec(field, "is no field: remove it")),
                }
            }
        }
        (Value::Array(written), Value::Array(known)) => {
            for (at, (value, known)) in written.iter().zip(known).enumerate() {
                unknown(problems, &format!("{field}[{at}]"), value, known);
            }
        }
        _ => {}
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// The graph that is written in a Task, checked; held to what it may name, if that is said.
///
/// # Errors
/// As [`checked`].
pub fn of_task(written: &Value, allow: Option<&Allow>) -> Result<Graph, Vec<Problem>> {
    match allow {
        Some(allow) => checked(written, allow),
        None => Graph::compile(&read(written)?),
    }
}

/// A graph that a model wrote, held to what it may name, and checked.
///
/// # Errors
/// Everything that is wrong with it, for whoever mends it.
pub fn checked(written: &Value, allow: &Allow) -> Result<Graph, Vec<Problem>> {
    let spec = read(written)?;
    let problems = confine(&spec, allow);
    if !problems.is_empty() {
        return Err(problems);
    }
    Graph::compile(&spec)
}

/// What a graph has that it may not.
#[must_use]
pub fn confine(spec: &WorkflowSpec, allow: &Allow) -> Vec<Problem> {
    let WorkflowSpec {
        description: _,
        params: _,
        budget,
        timeouts,
        fail_fast: _,
        on_failure: _,
        concurrency,
        shared: _,
        steps,
        finally,
        output: _,
    } = spec;
    let mut problems = Vec::new();
    let whole = serde_json::to_value(spec).unwrap_or_default();
    let bytes = crate::expr::json_bytes(&whole);
    if bytes > MAX_BYTES || crate::expr::depth(&whole) > MAX_LEVELS {
        let text = format!(
            "is {bytes} bytes of JSON: write at most {MAX_BYTES}, of at most {MAX_LEVELS} levels"
        );
        return vec![Problem::spec("spec", text)];
    }
    if budget.is_some() {
        let text = "what is spent is not the plan's to say: remove it";
        problems.push(Problem::spec("spec.budget", text));
    }
    if concurrency.is_some() {
        let text = "which runs wait for each other is not the plan's to say: remove it";
        problems.push(Problem::spec("spec.concurrency", text));
    }
    let longer = |time: &GepDuration, most: Duration| time.get().is_ok_and(|time| time > most);
    if longer(&timeouts.run, MAX_RUN.0) {
        problems.push(Problem::spec("spec.timeouts.run", "write at most 24h"));
    }
    if longer(&timeouts.finally, MAX_RUN.1) {
        problems.push(Problem::spec("spec.timeouts.finally", "write at most 1h"));
    }
    let lists = [("steps", steps), ("finally", finally)];
    for (list, step) in lists
        .into_iter()
        .flat_map(|(list, all)| all.iter().map(move |step| (list, step)))
    {
        let name: String = step.name.chars().take(32).collect();
        confine_step(&mut problems, &format!("spec.{list}[{name}]"), step, allow);
    }
    let most = most_steps(allow);
    let count = steps
        .iter()
        .chain(finally)
        .map(|step| weight(step, literal_items(step).unwrap_or(1)));
    let count = count.fold(0_usize, usize::saturating_add);
    if count > most {
        let text = format!(
            "are {count} steps, each counted as often as it may be done (items of forEach, repeat.limit, undo): write at most {most}"
        );
        problems.push(Problem::spec("spec.steps", text));
    }
    problems
}

/// Most steps, as a number.
#[must_use]
pub fn most_steps(allow: &Allow) -> usize {
    usize::try_from(allow.steps).unwrap_or_default()
}

/// Items of a step, as far as they are written out.
#[must_use]
pub fn literal_items(step: &StepSpec) -> Option<usize> {
    match &step.for_each {
        None => Some(1),
        Some(Value::Array(items)) => Some(items.len()),
        Some(_) => None,
    }
}

/// How many Tasks a step with so many items may become.
#[must_use]
pub fn weight(step: &StepSpec, items: usize) -> usize {
    let repeats = step.repeat.as_ref().map_or(1, |repeat| repeat.limit);
    let repeats = usize::try_from(repeats).unwrap_or(1).max(1);
    let times = repeats + usize::from(step.undo.is_some());
    items.saturating_mul(times)
}

fn confine_step(problems: &mut Vec<Problem>, field: &str, step: &StepSpec, allow: &Allow) {
    let StepSpec {
        name: _,
        agent,
        run,
        workflow,
        goal,
        approval,
        wait,
        params: _,
        workspace: _, // of a step of the same graph
        files,
        artifacts: _,
        accept,
        budget,
        timeout: _, // its run's time counts, too
        retry: _,   // within its budget
        for_each: _,
        parallel: _,
        tolerate: _,
        repeat: _,
        memo,
        share: _,
        undo,
        condition: _,
        after: _,
    } = step;
    let mut wrong = |under: &str, text: String| {
        problems.push(Problem::spec(format!("{field}{under}"), text));
    };
    for (under, is_set, text) in [
        (
            ".workflow",
            workflow.is_some(),
            "a plan runs no other workflows: write their steps here",
        ),
        (
            ".goal",
            goal.is_some(),
            "a plan has no goals of its own: write steps",
        ),
        (
            ".approval",
            approval.is_some(),
            "who is asked is not the plan's to say: remove it",
        ),
        (
            ".wait",
            wait.is_some(),
            "a plan does not wait for time: remove it",
        ),
        (
            ".memo",
            memo.is_some(),
            "what was done by others is not the plan's to take: remove it",
        ),
        (
            ".accept",
            accept.is_some(),
            "the check of an Agent is its own: remove it, and check in a step after it",
        ),
        (
            ".budget",
            budget.is_some(),
            "what is spent is not the plan's to say: remove it",
        ),
    ] {
        if is_set {
            wrong(under, text.to_owned());
        }
    }
    for (nth, file) in files.iter().enumerate() {
        let StepFile {
            path: _,
            content: _,
            config_map,
            git,
            artifact: _, // of a step of the same graph
        } = file;
        if config_map.is_some() || git.is_some() {
            let text = "write content, or an artifact of another step: a plan has no ConfigMaps and repositories";
            wrong(&format!(".files[{nth}]"), text.to_owned());
        }
    }
    let undo = undo.as_ref().map(|undo| {
        let UndoSpec {
            agent,
            run,
            params: _,
        } = undo;
        (".undo", agent, run)
    });
    for (under, agent, run) in [("", agent, run)].into_iter().chain(undo) {
        if let Some(agent) = agent
            && !agent
                .name
                .as_ref()
                .is_some_and(|name| allow.agents.contains(name))
        {
            let text = match allow.agents.as_slice() {
                [] => "it may name no Agent: write run".to_owned(),
                agents => format!("name one of {}", agents.join(", ")),
            };
            wrong(&format!("{under}.agent"), text);
        }
        if let Some(text) = run.as_ref().and_then(|run| code(run, allow)) {
            wrong(&format!("{under}.run"), text);
        }
    }
}

/// What is wrong with code of a graph, which runs in the image that somebody named, without anything else.
fn code(run: &RunSpec, allow: &Allow) -> Option<String> {
    let RunSpec {
        sandbox,
        command: _,
        code: _,
        language: _,
        env: _,
        pool,
    } = run;
    if allow.images.is_empty() {
        return Some("a plan runs no code here: remove it".to_owned());
    }
    if !allow.images.contains(&sandbox.image) {
        return Some(format!(
            "sandbox.image is one of {}",
            allow.images.join(", ")
        ));
    }
    let plain = SandboxSpec {
        image: sandbox.image.clone(),
        ..SandboxSpec::default()
    };
    if *sandbox != plain {
        return Some("of its sandbox only image is the plan's to say: remove the rest".to_owned());
    }
    pool.as_ref()
        .map(|_| "a plan's code calls no models: remove pool".to_owned())
}

#[cfg(test)]
mod tests;
