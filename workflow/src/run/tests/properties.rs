//! On random graphs, with random outcomes and a process that dies at random points: the run ends, each step's rule held, no step was made
//! twice, what has ended stays, and `finally` comes last and once.

use super::super::{Child, Over};
use super::world::{World, agent, end, failed, with};
use oarmaster_crds::kinds::steps::StepsStatus;
use oarmaster_crds::kinds::task::DesiredState;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
struct Case {
    steps: Vec<(Vec<usize>, u8)>,
    last: usize,
    fail_fast: bool,
    /// Whether a step fails, by its index.
    fails: Vec<bool>,
    /// What happens in each pass: how many objects are made before the process dies, whether its status is written, which live steps end.
    passes: Vec<(usize, bool, u8)>,
    /// In which pass the run is cancelled.
    cancelled: Option<usize>,
    /// Whether it is rolled back then.
    rolled: bool,
}

fn case() -> impl Strategy<Value = Case> {
    let step = (prop::collection::vec(0usize..8, 0..3), 0u8..12);
    (
        prop::collection::vec(step, 1..9),
        0usize..3,
        any::<bool>(),
        prop::collection::vec(prop::bool::weighted(0.2), 12),
        prop::collection::vec((0usize..4, any::<bool>(), any::<u8>()), 0..24),
        prop::option::weighted(0.3, 0usize..8),
        any::<bool>(),
    )
        .prop_map(
            |(steps, last, fail_fast, fails, passes, cancelled, rolled)| Case {
                steps,
                last,
                fail_fast,
                fails,
                passes,
                cancelled,
                rolled,
            },
        )
}

fn spec(case: &Case) -> Value {
    let steps = case.steps.iter().enumerate().map(|(at, (needs, kind))| {
        // Only those before it: no cycle.
        let needs: BTreeSet<usize> = needs.iter().filter(|need| **need < at).copied().collect();
        let name = format!("s{at}");
        let after: Vec<String> = needs.iter().map(|need| format!("s{need}")).collect();
        let first = after.first().cloned();
        let step = match (kind, &first) {
            (0, Some(first)) => agent(&name, &format!("${{steps.{first}.phase}}")),
            (1, _) => {
                json!({"name": name, "approval": {"ask": "Go?", "approvers": {"users": ["u"]}}})
            }
            (6 | 7, _) => with(
                agent(&name, "do ${item}"),
                json!({"forEach": [1, 2, 3], "parallel": 2, "tolerate": 1}),
            ),
            _ => agent(&name, "x"),
        };
        let step = match kind {
            7 | 8 => with(
                step,
                json!({"repeat": {"until": "self.output.sha == 0", "limit": 2}}),
            ),
            _ => step,
        };
        let step = match kind {
            1 | 9 => step,
            _ => with(step, json!({"undo": {"run": {"command": ["undo"]}}})),
        };
        let step = with(step, json!({"after": after}));
        match (kind, first) {
            (2, Some(first)) => with(step, json!({"if": format!("steps.{first}.failed")})),
            (3, Some(first)) => with(step, json!({"if": format!("!steps.{first}.skipped")})),
            (4, None) => with(step, json!({"if": "false"})),
            (5, Some(first)) => with(
                step,
                json!({"if": format!("steps.{first}.output.sha == 1")}),
            ),
            _ => step,
        }
    });
    let steps: Vec<Value> = steps.collect();
    let last = (0..case.last).map(|at| agent(&format!("f{at}"), "${run.phase}"));
    let last: Vec<Value> = last.collect();
    let undo = case.rolled && steps.iter().any(|step| !step["undo"].is_null());
    let on_failure = if undo { "Undo" } else { "Keep" };
    json!({"failFast": case.fail_fast, "onFailure": on_failure, "steps": steps, "finally": last})
}

fn outcome(case: &Case, unit: &str) -> Child {
    if unit.starts_with('-') {
        return Child::Succeeded(json!(null));
    }
    let (step, item) = unit.split_once('[').unwrap_or((unit, "0]"));
    let item: usize = item[..1].parse().unwrap();
    let at: usize = step[1..].parse().unwrap();
    let at = if step.starts_with('f') { at + 9 } else { at };
    if case.fails[(at + item) % 12] {
        failed("ToolFailed", step)
    } else {
        Child::Succeeded(json!({"sha": at % 2}))
    }
}

/// What has ended, by step.
fn ended(steps: &StepsStatus) -> BTreeMap<String, &'static str> {
    let mut all = BTreeMap::new();
    for (names, how) in [
        (&steps.succeeded, "Succeeded"),
        (&steps.skipped, "Skipped"),
        (&steps.omitted, "Omitted"),
    ] {
        all.extend(names.iter().map(|name| (name.clone(), how)));
    }
    all.extend(
        steps
            .failed
            .iter()
            .map(|step| (step.name.clone(), "Failed")),
    );
    all
}

fn check(world: &World, before: &BTreeMap<String, &'static str>) -> Result<(), TestCaseError> {
    let now = ended(&world.steps);
    for (step, how) in before {
        prop_assert_eq!(
            now.get(step),
            Some(how),
            "{} has ended another way before",
            step
        );
    }
    for (at, step) in world.graph.steps.iter().enumerate() {
        let name = &step.spec.name;
        let items = if step.over.is_some() { 3 } else { 1 };
        let turns = if step.until.is_some() { 2 } else { 1 };
        let undo = usize::from(step.undo.is_some());
        let most = items * (turns + undo);
        prop_assert!(world.times(name) <= most, "{} was made twice", name);
        if !world.was_made(name) {
            continue;
        }
        for need in &step.needs {
            let need = &world.graph.steps[*need].spec.name;
            // What is made before its status is written is known by the needs alone.
            let over = now.contains_key(need) || !world.live().contains(&need.as_str());
            prop_assert!(
                over || !world.was_made(need),
                "{} began before {} ended",
                name,
                need
            );
        }
        if at >= world.graph.main {
            let live = world.live();
            let main = world.graph.steps.iter().take(world.graph.main);
            for step in main.filter(|step| step.spec.approval.is_none()) {
                prop_assert!(
                    !live.contains(&step.spec.name.as_str()),
                    "finally came before {}",
                    step.spec.name
                );
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn a_run_ends_whatever_happens(case in case()) {
        let mut world = World::new(spec(&case));
        let mut over = None;
        for (at, (objects, written, which)) in case.passes.iter().enumerate() {
            if case.cancelled == Some(at) {
                world.wanted = if case.rolled {
                    DesiredState::RolledBack
                } else {
                    DesiredState::Cancelled
                };
            }
            let before = ended(&world.steps);
            over = world.disturbed(*objects, *written);
            check(&world, &before)?;
            if over.is_some() {
                break;
            }
            for (nth, unit) in world.units().iter().enumerate() {
                let stopped = world.unit_told(unit) == DesiredState::Cancelled;
                if which >> (nth % 8) & 1 == 1 {
                    let child = if stopped { Child::Cancelled } else { outcome(&case, unit) };
                    world.end_unit(unit, child);
                }
            }
        }
        let before = ended(&world.steps);
        let over = over.unwrap_or_else(|| end(&mut world, |step| outcome(&case, step)));
        check(&world, &before)?;
        let all = ended(&world.steps);
        prop_assert_eq!(all.len(), world.graph.steps.len(), "not every step has ended");
        // A settled world stays as it is.
        let steps = world.steps.clone();
        prop_assert_eq!(world.pass().is_some(), true);
        prop_assert_eq!(&world.steps, &steps);
        let ran = |step: &str| world.was_made(step);
        for at in 0..case.last {
            prop_assert!(ran(&format!("f{at}")), "finally did not run");
        }
        let gave_up = |asks: &usize| {
            let asks = &world.graph.steps[*asks].spec.name;
            matches!(all[asks], "Skipped" | "Omitted")
        };
        let unhandled = |steps: &[crate::graph::Step]| steps.iter().any(|step| {
            all[&step.spec.name] == "Failed" && step.asked_by.iter().all(gave_up)
        });
        // What fails in finally comes after what is undone.
        let before_finally = unhandled(&world.graph.steps[..world.graph.main]);
        let unhandled = unhandled(&world.graph.steps);
        match over {
            Over::Succeeded(_) => prop_assert!(!unhandled),
            Over::Failed(_) => prop_assert!(unhandled),
            Over::Cancelled => prop_assert!(case.cancelled.is_some() && !case.rolled),
            Over::RolledBack => prop_assert!(case.cancelled.is_some() && case.rolled),
        }
        // What succeeded is undone, once, or not at all.
        let undone = world.steps.ending.as_ref().and_then(|ending| ending.undo.clone());
        let undone = undone.unwrap_or_default().done;
        for name in &undone {
            let step = &world.graph.steps[world.graph.find(name).unwrap()];
            let items = step.over.is_some() && all[name] == "Failed";
            prop_assert!(items || all[name] == "Succeeded", "{} was undone", name);
        }
        let undoes = world.graph.spec.on_failure == oarmaster_crds::kinds::workflow::OnFailure::Undo;
        if matches!(over, Over::RolledBack) || undoes && before_finally && !matches!(over, Over::Cancelled) {
            let can = world.graph.steps.iter().filter(|step| step.undo.is_some());
            for step in can.filter(|step| all[&step.spec.name] == "Succeeded") {
                prop_assert!(undone.contains(&step.spec.name), "{} was not undone", step.spec.name);
            }
        }
    }

    #[test]
    fn a_process_that_dies_changes_nothing(case in case()) {
        // With failFast what else ends depends on when: there the order of events decides.
        let case = Case { fail_fast: false, cancelled: None, rolled: false, ..case };
        let mut calm = World::new(spec(&case));
        let expected = end(&mut calm, |step| outcome(&case, step));
        let mut world = World::new(spec(&case));
        for (objects, written, which) in &case.passes {
            if world.disturbed(*objects, *written).is_some() {
                break;
            }
            for (nth, unit) in world.units().iter().enumerate() {
                if which >> (nth % 8) & 1 == 1 {
                    world.end_unit(unit, outcome(&case, unit));
                }
            }
        }
        let over = end(&mut world, |step| outcome(&case, step));
        prop_assert_eq!(ended(&world.steps), ended(&calm.steps));
        match (&over, &expected) {
            (Over::Failed(_), Over::Failed(_)) => {} // which failed first may differ
            _ => prop_assert_eq!(&over, &expected),
        }
    }
}
