//! A plan after one that failed: which of its steps are done already. Pure.

use crate::graph::{Graph, Step};
use oarmaster_crds::kinds::steps::StepsStatus;
use std::collections::BTreeSet;

/// How the steps of a graph stand that comes after another one, and which of them are kept: those that succeeded (or were skipped) there, are the
/// same here, and need kept ones alone, so that what they read is the same. What is not kept is made under other names than any that the graphs
/// before it made: by `number`, which grows from one graph to the next, from 1.
#[must_use]
pub fn keep(
    before: &Graph,
    held: &StepsStatus,
    after: &Graph,
    number: i64,
) -> (StepsStatus, Vec<String>) {
    let kept = kept(before, held, after);
    let mut steps = StepsStatus {
        reruns: held.reruns,
        total: i64::try_from(after.steps.len()).unwrap_or(i64::MAX),
        ..StepsStatus::default()
    };
    let is_kept = |name: &String| kept.contains(name.as_str());
    let names = |list: &[String]| -> Vec<String> {
        list.iter().filter(|name| is_kept(name)).cloned().collect()
    };
    steps.succeeded = names(&held.succeeded);
    steps.skipped = names(&held.skipped);
    let fans = held.fans.iter().filter(|fan| is_kept(&fan.name));
    steps.fans = fans.cloned().collect();
    for (name, text) in &held.repeated {
        if is_kept(name) {
            steps.repeated.insert(name.clone(), text.clone());
        }
    }
    for step in &after.steps {
        let name = &step.spec.name;
        let text = match is_kept(name) {
            true => held.rerun.get(name).cloned(),
            false => Some(number.to_string()),
        };
        steps.rerun.extend(text.map(|text| (name.clone(), text)));
    }
    steps.progress = format!("{}/{}", steps.ended(), steps.total);
    let names = steps.succeeded.clone();
    (steps, names)
}

fn kept<'a>(before: &Graph, held: &StepsStatus, after: &'a Graph) -> BTreeSet<&'a str> {
    let undo = held.ending.as_ref().and_then(|ending| ending.undo.as_ref());
    // What was undone is not done, and what reads parameters may read others.
    if undo.is_some() || before.spec.params != after.spec.params {
        return BTreeSet::new();
    }
    let main = || after.steps.iter().take(after.main).enumerate();
    let mut kept: BTreeSet<usize> = main()
        .filter(|(_, step)| is_same(before, held, step))
        .map(|(at, _)| at)
        .collect();
    loop {
        let rests = |at: &usize| {
            let step = after.steps.get(*at);
            step.is_some_and(|step| step.needs.is_subset(&kept))
        };
        let fewer: BTreeSet<usize> = kept.iter().copied().filter(rests).collect();
        if fewer.len() == kept.len() {
            break;
        }
        kept = fewer;
    }
    main()
        .filter(|(at, _)| kept.contains(at))
        .map(|(_, step)| step.spec.name.as_str())
        .collect()
}

/// Whether a step was done there, and is the same here, as far as it alone says.
fn is_same(before: &Graph, held: &StepsStatus, step: &Step) -> bool {
    let name = &step.spec.name;
    let earlier = before.steps.iter().take(before.main);
    let mut earlier = earlier.filter(|earlier| earlier.spec == step.spec);
    let done = held.succeeded.contains(name) || held.skipped.contains(name);
    let Some(earlier) = earlier.next().filter(|_| done) else {
        return false;
    };
    let keeps = |step: &Step| {
        let workspace = step.pattern.task.workspace.as_ref();
        workspace.is_some_and(|workspace| workspace.keep)
    };
    // Others begin with its workspace here: then it must be there.
    (keeps(earlier) || !keeps(step)) && !step.reads_shared()
}
