//! A run that goes on after its end: run anew, and rolled back.

use super::{World, agent, chain};
use crate::task::plan::plan;
use crate::task::tests::sim::idle;
use oarmaster_crds::kinds::task::{DesiredState, Phase, RerunSpec};
use oarmaster_crds::{conditions, names};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Has the Task of a step that goes on end.
fn end(world: &mut World, step: &str, phase: Phase, output: Value) {
    // What has ended stands aside, so that the step has one Task.
    let all = std::mem::take(&mut world.tasks);
    let (aside, live) = all.into_iter().partition(|(_, task)| task.status.is_some());
    world.tasks = live;
    world.end(step, phase, output);
    world.tasks.extend::<BTreeMap<_, _>>(aside);
}

fn failed() -> World {
    let mut world = World::new(chain());
    world.settle();
    end(&mut world, "plan", Phase::Succeeded, json!({"what": "x"}));
    world.settle();
    end(&mut world, "build", Phase::Failed, json!(null));
    world.settle();
    assert_eq!(world.status().phase, Some(Phase::Failed));
    world
}

fn rerun(world: &mut World, count: i64, from: &[&str]) {
    let from = from.iter().map(|name| (*name).to_owned()).collect();
    world.task.spec.rerun = Some(RerunSpec { count, from });
}

#[test]
fn what_failed_is_run_anew_as_another_attempt_of_the_task() {
    let mut world = failed();
    rerun(&mut world, 1, &[]);
    let todo = world.pass();
    let status = todo.status.unwrap();
    assert_eq!(status.attempt, Some(2));
    assert_eq!(
        (status.phase, status.finished_at, status.failure),
        (Some(Phase::Running), None, None)
    );
    for kind in [
        conditions::FAILED,
        conditions::STALLED,
        conditions::COMPLETE,
    ] {
        assert!(
            conditions::find(&status.conditions, kind).is_none(),
            "{kind}"
        );
    }
    assert!(
        conditions::find(&status.conditions, conditions::FINISHED)
            .is_some_and(|held| held.status == "False")
    );
    // Its attempt is opened before anything of it begins.
    let todo = world.pass();
    assert_eq!(todo.run.open.as_ref().map(|(number, _)| *number), Some(2));
    world.settle();
    assert_eq!(
        world.tasks.len(),
        3,
        "only the step that failed has another Task"
    );
    end(&mut world, "build", Phase::Succeeded, json!({"sha": "abc"}));
    world.pass();
    let todo = world.pass();
    assert_eq!(todo.fence.as_ref().map(|(number, _)| *number), Some(2));
    assert_eq!(world.status().output, Some(json!({"sha": "abc"})));
    assert!(conditions::is_true(
        &world.status().conditions,
        conditions::COMPLETE
    ));
    assert!(idle(&world.pass()), "it is asked for once");
}

#[test]
fn what_cannot_be_run_anew_is_said_once() {
    let mut world = failed();
    rerun(&mut world, 1, &["nobody"]);
    world.settle();
    assert_eq!(world.status().phase, Some(Phase::Failed));
    let said: Vec<_> = world
        .notes
        .iter()
        .filter(|note| note.contains("nobody"))
        .collect();
    assert_eq!(said.len(), 1, "{:?}", world.notes);
    // A step of another run is that one's.
    let mut world = failed();
    let labels = world.task.metadata.labels.get_or_insert_default();
    labels.insert(names::PARENT_UID_LABEL.to_owned(), "uid-0".to_owned());
    world.task.metadata.owner_references = Some(vec![serde_json::from_value(json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task", "name": "above", "uid": "uid-0", "controller": true,
    })).unwrap()]);
    rerun(&mut world, 1, &[]);
    world.settle();
    assert_eq!(world.status().phase, Some(Phase::Failed));
    assert!(
        world
            .notes
            .iter()
            .any(|note| note.contains("a step of another run")),
        "{:?}",
        world.notes
    );
}

#[test]
fn a_gateway_that_has_lost_the_run_gives_it_no_new_attempt() {
    let mut world = failed();
    rerun(&mut world, 1, &[]);
    world.pass();
    world.opened_as = 0;
    world.settle();
    assert_eq!(world.status().failure.unwrap().class, "StateRegressed");
}

fn undoable(undo: bool) -> World {
    let mut step = agent("plan", "x");
    if undo {
        step["undo"] = json!({"run": {"sandbox": {"image": "x"}, "command": ["undo"]}});
    }
    let mut world = World::new(json!({"steps": [step]}));
    world.settle();
    world
}

#[test]
fn a_run_is_rolled_back_after_its_end_and_before_it_began() {
    let mut world = undoable(true);
    end(&mut world, "plan", Phase::Succeeded, json!(1));
    world.settle();
    assert_eq!(world.status().phase, Some(Phase::Succeeded));
    world.task.spec.state = DesiredState::RolledBack;
    world.settle();
    assert_eq!(world.status().phase, Some(Phase::Running));
    end(&mut world, "plan", Phase::Succeeded, json!(1));
    world.settle();
    let status = world.status();
    assert_eq!(status.phase, Some(Phase::RolledBack));
    assert_eq!(
        status.steps.unwrap().ending.unwrap().undo.unwrap().done,
        ["plan"]
    );
    let (_, reason, _) = world.condition(conditions::STALLED);
    assert_eq!(reason, "RolledBack");

    let mut world = World::new(chain());
    world.task.spec.state = DesiredState::RolledBack;
    world.settle();
    assert_eq!(world.status().phase, Some(Phase::RolledBack));
    assert!(world.tasks.is_empty());
}

#[test]
fn what_nobody_can_undo_is_not_rolled_back() {
    let mut world = undoable(false);
    world.task.spec.state = DesiredState::RolledBack;
    let told = plan(&world.task, &world.observe());
    assert!(told.run.tell.is_empty(), "it goes on");
    assert!(
        told.notes
            .iter()
            .any(|note| note.message.contains("nothing to roll back"))
    );
    end(&mut world, "plan", Phase::Succeeded, json!(1));
    world.settle();
    assert_eq!(world.status().phase, Some(Phase::Succeeded));
}
