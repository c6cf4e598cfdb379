//! A run that has ended goes on: some of its steps are run anew, or it is undone. Pure.

use super::items::Items;
use super::numbers::{read_numbers, write_number};
use crate::graph::{Graph, Step};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use oarmaster_crds::kinds::steps::{Ending, StepsStatus};
use oarmaster_crds::kinds::task::{Phase, RerunSpec};
use std::collections::BTreeSet;

/// What is said where nothing can be rolled back.
pub const NOTHING_TO_UNDO: &str = "no step of the Workflow has an undo: there is nothing to roll back; cancel it, or let it go on";

/// How the steps stand when a run that has ended, and `failed` or did not, is run anew: what failed, and what is named.
///
/// # Errors
/// Why it cannot be, and what to write.
pub fn rerun(
    graph: &Graph,
    held: &StepsStatus,
    spec: &RerunSpec,
    failed: bool,
) -> Result<StepsStatus, String> {
    let undo = held.ending.as_ref().and_then(|ending| ending.undo.as_ref());
    if undo.is_some_and(|undo| undo.begun > 0 || !undo.done.is_empty()) {
        return Err("the run was undone; create another Task".to_owned());
    }
    let mut steps = held.clone();
    steps.reruns = spec.count;
    let main = || graph.steps.iter().enumerate().take(graph.main);
    let named = |name: &str| {
        main()
            .find(|(_, step)| step.spec.name == name)
            .map(|(at, _)| at)
    };
    let list = |names: &[String], name: &str| names.iter().any(|held| held == name);
    // A step that asked for a failure, and began, has dealt with it.
    let dealt_with = |step: &Step| {
        step.asked_by.iter().any(|asks| {
            let asks = graph
                .steps
                .get(*asks)
                .map_or("", |step| step.spec.name.as_str());
            !list(&held.skipped, asks) && !list(&held.omitted, asks)
        })
    };
    let has_failed = |step: &Step| {
        held.failed
            .iter()
            .any(|failed| failed.name == step.spec.name)
            && !dealt_with(step)
    };
    let mut anew = BTreeSet::new();
    let active = |name: &str| held.active.iter().any(|unit| unit.name == name);
    anew.extend(
        main()
            .filter(|(_, step)| active(&step.spec.name))
            .map(|(at, _)| at),
    );
    for name in &spec.from {
        let Some(at) = named(name) else {
            let shown: String = name.chars().take(32).collect();
            return Err(format!(
                "rerun.from names {shown}, which is none of the steps before finally"
            ));
        };
        anew.insert(at);
    }
    // Of a step that failed with some of its items those begin anew, and the others stay.
    let mut in_part = BTreeSet::new();
    for (at, step) in main() {
        let name = step.spec.name.as_str();
        let of_items = held
            .fans
            .iter()
            .any(|fan| fan.name == name && !fan.failed.is_empty());
        if of_items && (has_failed(step) || spec.from.is_empty()) {
            in_part.insert(at);
        } else if has_failed(step) {
            anew.insert(at);
        }
    }
    // It may have failed in finally, or its output: then that is done again.
    if anew.is_empty() && in_part.is_empty() && !failed {
        return Err("no step of it failed; name those to run anew in rerun.from".to_owned());
    }
    // What depends on them, and what was not begun.
    let omitted = main().filter(|(_, step)| list(&held.omitted, &step.spec.name));
    anew.extend(omitted.map(|(at, _)| at));
    loop {
        let before = anew.len();
        for (at, step) in main() {
            let needs = |need: &usize| anew.contains(need) || in_part.contains(need);
            if step.needs.iter().any(needs) {
                anew.insert(at);
            }
        }
        if anew.len() == before {
            break;
        }
    }
    in_part.retain(|at| !anew.contains(at));
    anew.extend(graph.main..graph.steps.len());
    for at in anew {
        let Some(step) = graph.steps.get(at) else {
            continue;
        };
        let name = &step.spec.name;
        forget(&mut steps, name);
        steps.fans.retain(|fan| fan.name != *name);
        steps.repeated.remove(name);
        steps.rerun.insert(name.clone(), spec.count.to_string());
    }
    for at in in_part {
        let Some(step) = graph.steps.get(at) else {
            continue;
        };
        in_parts(&mut steps, &step.spec.name, spec.count);
    }
    steps.ending = None;
    steps.active.clear();
    steps.refused = None;
    steps.progress = format!("{}/{}", steps.ended(), graph.steps.len());
    Ok(steps)
}

/// How the steps stand when a run that has ended is undone. `finally` has run, and does not again.
///
/// # Errors
/// Why it cannot be.
pub fn roll_back(graph: &Graph, held: &StepsStatus, now: Timestamp) -> Result<StepsStatus, String> {
    if !graph.can_be_undone() {
        return Err(NOTHING_TO_UNDO.to_owned());
    }
    let mut steps = held.clone();
    steps.active.clear();
    steps.refused = None;
    let before = steps.ending.take();
    steps.ending = Some(Ending {
        phase: Phase::RolledBack,
        failure: None,
        since: Time(now),
        finally_since: None,
        undo: before.and_then(|ending| ending.undo),
    });
    Ok(steps)
}

fn forget(steps: &mut StepsStatus, name: &str) {
    for list in [&mut steps.succeeded, &mut steps.skipped, &mut steps.omitted] {
        list.retain(|held| held != name);
    }
    steps.failed.retain(|held| held.name != name);
}

/// The items of a step that failed begin anew.
fn in_parts(steps: &mut StepsStatus, name: &str, count: i64) {
    forget(steps, name);
    let Some(held) = steps.fans.iter_mut().find(|fan| fan.name == name) else {
        return;
    };
    let failed = Items::read(&held.failed);
    let mut folded = Items::read(&held.folded);
    folded.without(&failed);
    held.folded = folded.write();
    held.again = failed.write();
    held.failed.clear();
    held.first_failure = None;
    for (numbers, anew) in [(&mut steps.repeated, None), (&mut steps.rerun, Some(count))] {
        let held = numbers.remove(name).unwrap_or_default();
        let of_others = read_numbers(&held);
        let of_others =
            of_others.filter(|(item, _)| item.is_none_or(|item| !failed.contains(item)));
        let anew = failed.iter().filter_map(|item| Some((Some(item), anew?)));
        let text = write_number(of_others.chain(anew));
        if !text.is_empty() {
            numbers.insert(name.to_owned(), text);
        }
    }
}
