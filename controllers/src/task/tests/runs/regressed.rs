//! A run whose cluster was restored to a point before its end.

use super::{World, agent, chain};
use oarmaster_crds::kinds::task::{DesiredState, Phase};
use serde_json::json;

#[test]
fn a_run_that_had_ended_begins_no_step_after_a_restore() {
    let ends: [fn(&mut World); 2] = [
        |world| {
            world.end("build", Phase::Succeeded, json!(1));
            world.settle();
            assert_eq!(world.status().phase, Some(Phase::Succeeded));
        },
        |world| {
            world.task.spec.state = DesiredState::Cancelled;
            world.settle();
            world.end("build", Phase::Cancelled, json!(null));
            world.settle();
            assert_eq!(world.status().phase, Some(Phase::Cancelled));
        },
    ];
    for end in ends {
        let mut world = World::new(chain());
        world.settle();
        let (task, tasks) = (world.task.clone(), world.tasks.clone());
        assert_eq!(tasks.len(), 1);
        world.end("plan", Phase::Succeeded, json!({"what": "x"}));
        world.settle();
        end(&mut world);
        assert!(world.over.is_some());
        (world.task, world.tasks) = (task, tasks);
        world.settle();
        assert_eq!(world.status().phase, Some(Phase::Running));
        world.end("plan", Phase::Succeeded, json!({"what": "x"}));
        world.settle();
        let failure = world.status().failure.unwrap();
        assert_eq!(failure.class, "StateRegressed", "{}", failure.message);
        assert_eq!(world.tasks.len(), 1, "no further step begins");
    }
}

#[test]
fn a_run_that_had_ended_stops_what_runs_of_it_after_a_restore() {
    let workflow = json!({"steps": [agent("a", "x"), agent("b", "x"), {
        "name": "c", "agent": {"name": "coder"}, "params": {"prompt": "x"}, "after": ["a"],
    }]});
    let mut world = World::new(workflow);
    world.settle();
    let (task, tasks) = (world.task.clone(), world.tasks.clone());
    for step in ["a", "b"] {
        world.end(step, Phase::Succeeded, json!(1));
        world.settle();
    }
    world.end("c", Phase::Succeeded, json!(1));
    world.settle();
    assert_eq!(world.status().phase, Some(Phase::Succeeded));
    (world.task, world.tasks) = (task, tasks);
    world.end("a", Phase::Succeeded, json!(1));
    world.settle();
    assert_eq!(world.status().failure.unwrap().class, "StateRegressed");
    assert_eq!(world.of("b").spec.state, DesiredState::Cancelled);
}

#[test]
fn an_end_of_a_run_that_was_told_and_not_written_down_follows_anew() {
    let mut world = World::new(chain());
    world.settle();
    world.end("plan", Phase::Succeeded, json!({"what": "x"}));
    world.settle();
    world.end("build", Phase::Succeeded, json!(1));
    let before = world.task.clone();
    world.settle();
    assert!(world.over.is_some());
    world.task = before; // the process was stopped before it wrote
    world.settle();
    assert_eq!(world.status().phase, Some(Phase::Succeeded));
    assert_eq!(world.status().output, Some(json!(1)));
}
