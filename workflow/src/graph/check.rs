//! What is wrong with the shape of a workflow, before its expressions are looked at, and with the order of its steps.

use super::{Step, field};
use crate::expr::MAX_CHARACTERS;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use oarmaster_crds::commands::{Params, is_name};
use oarmaster_crds::kinds::concurrency::ConcurrencySpec;
use oarmaster_crds::kinds::goal::{RunWorkflow, StepWorkflow};
use oarmaster_crds::kinds::task::{ArtifactSource, FileSpec, WorkspaceSpec};
use oarmaster_crds::kinds::workflow::StepFile;
use oarmaster_crds::kinds::workflow::{
    MAX_FINALLY, MAX_ITEMS, MAX_REPEATS, MAX_SHARED, MAX_STEPS, Merge, OnFailure, StepSpec,
    UndoSpec,
};
use oarmaster_crds::validate::{self, Problem};
use oarmaster_crds::{GepDuration, LocalRef, TaskSpec, WorkflowSpec};
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
        workflow: Some(RunWorkflow::named(ANY)),
        budget: spec.budget.clone(),
        ..TaskSpec::default()
    };
    problems.extend(validate::task(&of_run, &Default::default()));
    problems.extend(shared(spec));
    let depth = spec.budget.as_ref().and_then(|budget| budget.depth);
    let mut all = spec.steps.iter().chain(&spec.finally);
    if let (Some(1), Some(run)) = (depth, all.find(|step| step.workflow.is_some())) {
        let name: String = run.name.chars().take(MAX_NAME).collect();
        problems.push(Problem::spec(
            "spec.budget.depth",
            format!("is 1, and step {name} is a workflow, whose steps are one level deeper: write 2 or 3"),
        ));
    }
    problems.extend(concurrency(spec));
    let undone = spec.steps.iter().any(|step| step.undo.is_some());
    if spec.on_failure == OnFailure::Undo && !undone {
        problems.push(Problem::spec(
            "spec.onFailure",
            "is Undo, and no step says how it is undone: give one undo",
        ));
    }
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
        if at >= spec.steps.len() && (step.approval.is_some() || step.wait.is_some()) {
            problems.push(Problem::spec(
                &field,
                "finally waits for nobody: ask people, and wait, in a step before it",
            ));
        }
        if at >= spec.steps.len() && step.undo.is_some() {
            problems.push(Problem::spec(
                format!("{field}.undo"),
                "finally comes after everything is undone: remove it",
            ));
        }
        let unknown = step.share.iter().flatten().map(|(name, _)| name);
        let mut unknown = unknown.filter(|name| !spec.shared.contains_key(*name));
        if let Some(name) = unknown.next() {
            let name: String = name.chars().take(MAX_NAME).collect();
            problems.push(Problem::spec(
                format!("{field}.share"),
                format!("gives to {name}, which is not in spec.shared: declare it there"),
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
        goal,
        approval,
        wait,
        params,
        workspace,
        files,
        artifacts,
        accept,
        budget,
        timeout,
        retry,
        for_each,
        parallel,
        tolerate,
        repeat,
        share,
        memo,
        undo,
        condition: _,
        after,
    } = step;
    let kinds = [
        agent.is_some(),
        run.is_some(),
        workflow.is_some(),
        goal.is_some(),
        approval.is_some(),
        wait.is_some(),
    ];
    if kinds.iter().filter(|set| **set).count() != 1 {
        problems.push(Problem::spec(
            field,
            "set exactly one of agent, run, workflow, goal, approval or wait",
        ));
        return;
    }
    if after.len() > MAX_STEPS {
        problems.push(Problem::spec(format!("{field}.after"), "write at most 200"));
    }
    if approval.is_some() || wait.is_some() {
        let idle = params.is_none()
            && workspace.is_none()
            && files.is_empty()
            && artifacts.is_empty()
            && accept.is_none()
            && budget.is_none()
            && timeout.is_none()
            && retry.is_none()
            && for_each.is_none()
            && repeat.is_none()
            && share.is_none()
            && memo.is_none()
            && undo.is_none();
        if !idle {
            problems.push(Problem::spec(
                field,
                "an approval or a wait runs nothing: remove params, workspace, files, artifacts, accept, budget, timeout, retry, forEach, repeat, share, memo and undo; the timeout of an approval is approval.timeout",
            ));
        }
    }
    if let Some(wait) = wait {
        if wait.for_.is_some() == wait.until.is_some() {
            let text = "set exactly one of for and until; with a condition they say how long it is waited for at most";
            problems.push(Problem::spec(format!("{field}.wait"), text));
        }
        let bounds = (Duration::from_secs(1), APPROVAL.1);
        problems.extend(wait.for_.iter().filter_map(|wait| {
            duration(
                &format!("{field}.wait.for"),
                wait,
                bounds,
                "1s to 30 days (720h)",
            )
        }));
        return;
    }
    if let Some(approval) = approval {
        problems.extend(duration(
            &format!("{field}.approval.timeout"),
            &approval.timeout,
            APPROVAL,
            "1m to 30 days (720h)",
        ));
        problems.extend(validate::approvers(
            &format!("{field}.approval.approvers"),
            &approval.approvers,
        ));
        return;
    }
    if (workflow.is_some() || goal.is_some()) && (timeout.is_some() || retry.is_some()) {
        problems.push(Problem::spec(
            field,
            "timeout and retry are for an agent or a run; of a workflow its own timeouts count, and what is tried again are its steps",
        ));
    }
    if let Some(StepWorkflow { name, from, allow }) = workflow {
        let text = match (name, from) {
            (Some(_), None) if allow.is_some() => {
                "allow goes with from: it says what that graph may name"
            }
            (None, Some(_)) if allow.is_none() => {
                "from needs allow: the Agents that the graph may name, and how many steps it may have, like allow: {agents: [coder], steps: 30}"
            }
            (Some(_), None) | (None, Some(_)) => "",
            _ => {
                "set exactly one of name (a Workflow of this namespace) or from (an expression that gives a graph)"
            }
        };
        if !text.is_empty() {
            problems.push(Problem::spec(format!("{field}.workflow"), text));
            return;
        }
    }
    let mut wrong = |under: &str, text: &str| {
        problems.push(Problem::spec(format!("{field}{under}"), text));
    };
    match for_each {
        None if parallel.is_some() || tolerate.is_some() => {
            wrong("", "parallel and tolerate are for the items of forEach");
        }
        None | Some(serde_json::Value::String(_)) => {}
        Some(serde_json::Value::Array(list)) if list.len() <= MAX_ITEMS => {}
        Some(serde_json::Value::Array(_)) => wrong(".forEach", "write at most 20000 items"),
        Some(_) => wrong(
            ".forEach",
            "write a list, or an expression that gives one, like ${steps.plan.output.files}",
        ),
    }
    if parallel.is_some_and(|most| !(1..=100).contains(&most)) {
        wrong(".parallel", "write 1 to 100");
    }
    let fits = match tolerate {
        None => true,
        Some(IntOrString::Int(number)) => *number >= 0,
        Some(IntOrString::String(text)) => {
            let part = text
                .strip_suffix('%')
                .and_then(|part| part.parse::<u32>().ok());
            part.is_some_and(|part| part <= 100)
        }
    };
    if !fits {
        wrong(
            ".tolerate",
            "write how many may fail, like 3, or a part of them, like 20%",
        );
    }
    if repeat
        .as_ref()
        .is_some_and(|repeat| !(2..=MAX_REPEATS).contains(&repeat.limit))
    {
        wrong(".repeat.limit", "write 2 to 50");
    }
    if repeat.is_some() && memo.is_some() {
        wrong(
            ".memo",
            "does not go with repeat, whose turns are not the same: put the step with repeat into a workflow of its own, and memo into the step that runs it",
        );
    }
    // They become Tasks: what is wrong with those is wrong with the step.
    let undo = undo.as_ref().map(|undo| (".undo", undoing(step, undo)));
    for (at, made) in [("", step.clone())].into_iter().chain(undo) {
        if !at.is_empty() && [made.agent.is_some(), made.run.is_some()] == [true, true] {
            wrong(at, "set exactly one of agent and run");
            continue;
        }
        let found = validate::task(&task(&made), &Default::default());
        for problem in found {
            let under = problem.field.strip_prefix("spec").unwrap_or_default();
            wrong(&format!("{at}{under}"), &problem.message);
        }
    }
}

/// Stands for a Task whose name is known when the step begins.
const ANY: &str = "any";

/// A file of a step, as one of its Task.
fn file(file: &StepFile) -> FileSpec {
    let StepFile {
        path,
        content,
        config_map,
        git,
        artifact,
    } = file.clone();
    FileSpec {
        path,
        content,
        config_map,
        git,
        artifact: artifact.map(|artifact| ArtifactSource {
            task: LocalRef::new(ANY),
            name: artifact.name,
        }),
    }
}

/// The steps whose files a step begins with, as far as they are named.
pub(super) fn sources(step: &StepSpec) -> impl Iterator<Item = &str> {
    let workspace = step.workspace.iter();
    let workspace = workspace.map(|workspace| workspace.from.as_str());
    let files = step.files.iter();
    let artifacts = files.filter_map(|file| file.artifact.as_ref());
    workspace.chain(artifacts.map(|artifact| artifact.step.as_str()))
}

/// What is wrong with where files come from; and has steps keep their workspace from which others may begin.
pub(super) fn files(problems: &mut Vec<Problem>, spec: &WorkflowSpec, steps: &mut [Step]) {
    let named = |name: &str| {
        let mut all = spec.steps.iter().chain(&spec.finally).enumerate();
        all.find(|(_, step)| step.name == name)
    };
    let mut keep = BTreeSet::new();
    for (at, step) in steps.iter().enumerate() {
        let of_finally = at >= spec.steps.len();
        let place = field(spec, at);
        let mut wrong = |under: &str, text: String| {
            problems.push(Problem::spec(format!("{place}{under}"), text));
        };
        let later = |other: usize| other >= spec.steps.len() && !of_finally;
        const LATER: &str = "which is of finally, and comes after all others";
        for artifact in step.pattern.artifacts.values() {
            let shown: String = artifact.step.chars().take(MAX_NAME).collect();
            let text = match named(&artifact.step) {
                None => format!("has an artifact of {shown}, which is none of the steps"),
                Some((other, _)) if later(other) => format!("has an artifact of {shown}, {LATER}"),
                Some((_, source)) => {
                    if source
                        .artifacts
                        .iter()
                        .any(|held| held.name == artifact.name)
                    {
                        continue;
                    }
                    let name = &artifact.name;
                    format!(
                        "has the artifact {name} of {shown}, which keeps none of that name: give it artifacts"
                    )
                }
            };
            wrong(".files", text);
        }
        let Some(workspace) = &step.pattern.workspace else {
            continue;
        };
        let repeats = step.until.is_some();
        if repeats {
            keep.insert(at); // the next turn may begin with it
        }
        let reads = workspace.reads();
        let plain = step.spec.workspace.iter().map(|held| held.from.as_str());
        let computed = workspace.expressions() > 0;
        let names: Vec<&str> = if computed {
            let texts = reads.texts.iter().filter(|text| named(text).is_some());
            reads
                .steps
                .iter()
                .chain(texts)
                .map(String::as_str)
                .collect()
        } else {
            plain.collect()
        };
        for name in names {
            if name == SELF && repeats {
                continue;
            }
            let text = match named(name) {
                None => "which is none of the steps",
                Some((other, _)) if later(other) => LATER,
                Some((other, source)) => {
                    let program = source.agent.is_some() || source.run.is_some();
                    if program && source.for_each.is_none() {
                        keep.insert(other);
                        continue;
                    }
                    "which has no workspace of its own: name an agent or a run without forEach"
                }
            };
            // An expression may only ask how that one stands.
            if !computed {
                let shown: String = name.chars().take(MAX_NAME).collect();
                wrong(".workspace.from", format!("names {shown}, {text}"));
            }
        }
    }
    for at in keep {
        if let Some(step) = steps.get_mut(at) {
            let held = step.pattern.task.workspace.get_or_insert_default();
            held.keep = true;
        }
    }
}

/// What a step with `repeat` left the turn before.
pub(crate) const SELF: &str = "self";

/// What undoes a step, as a step.
pub(super) fn undoing(step: &StepSpec, undo: &UndoSpec) -> StepSpec {
    let UndoSpec { agent, run, params } = undo.clone();
    StepSpec {
        name: step.name.clone(),
        agent,
        run,
        params,
        ..StepSpec::default()
    }
}

/// What is wrong with what is shared.
fn shared(spec: &WorkflowSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    if spec.shared.len() > MAX_SHARED {
        problems.push(Problem::spec("spec.shared", "write at most 16 names"));
    }
    for (name, shared) in spec.shared.iter().take(MAX_SHARED) {
        let shown: String = name.chars().take(MAX_NAME).collect();
        let field = format!("spec.shared[{shown}]");
        if !is_name(name) || name.len() > MAX_NAME {
            problems.push(Problem::spec(
                &field,
                "has a name that is none: write 1 to 32 letters and digits, the first a letter",
            ));
        }
        let most = shared.max_items;
        if most.is_some() && shared.merge != Merge::Append {
            problems.push(Problem::spec(
                format!("{field}.maxItems"),
                "is for merge Append: remove it",
            ));
        }
        if most.is_some_and(|most| !(1..=1000).contains(&most)) {
            problems.push(Problem::spec(
                format!("{field}.maxItems"),
                "write 1 to 1000",
            ));
        }
    }
    problems
}

/// What is wrong with how many runs go on at once.
fn concurrency(spec: &WorkflowSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let Some(ConcurrencySpec { key, limit, .. }) = &spec.concurrency else {
        return problems;
    };
    let mut wrong = |under: &str, text: &str| {
        problems.push(Problem::spec(format!("spec.concurrency.{under}"), text));
    };
    if key.trim().is_empty() || key.chars().count() > MAX_CHARACTERS {
        let text = "write 1 to 2048 characters: what its runs have in common of which only so many go on at once, like ${params.repo}";
        wrong("key", text);
    }
    if !(1..=100).contains(limit) {
        wrong("limit", "write 1 to 100");
    }
    problems
}

/// The Task of a step, with its texts as they are written.
pub(super) fn task(step: &StepSpec) -> TaskSpec {
    let plain = TaskSpec::default();
    TaskSpec {
        agent: step.agent.clone(),
        run: step.run.clone(),
        workflow: step.workflow.as_ref().map(|workflow| {
            let StepWorkflow { name, from, allow } = workflow.clone();
            RunWorkflow {
                name,
                spec: from.map(|_| serde_json::json!({})),
                allow,
            }
        }),
        goal: step.goal.clone(),
        params: step.params.clone(),
        workspace: step.workspace.as_ref().map(|_| WorkspaceSpec {
            from: Some(LocalRef::new(ANY)),
            keep: false,
        }),
        files: step.files.iter().map(file).collect(),
        artifacts: step.artifacts.clone(),
        accept: step.accept.clone(),
        budget: step.budget.clone(),
        timeout: step.timeout.clone().unwrap_or(plain.timeout),
        retry: step.retry.clone().unwrap_or(plain.retry),
        memo: step.memo.clone(),
        ..TaskSpec::default()
    }
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
