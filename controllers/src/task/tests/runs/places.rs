//! Steps of a run that wait for a place.

use super::{World, agent};
use oarmaster_crds::TaskStatus;
use oarmaster_crds::conditions;
use oarmaster_crds::kinds::task::Phase;
use serde_json::json;
use std::sync::Arc;

fn two() -> World {
    World::new(json!({"steps": [agent("left", "a"), agent("right", "b")]}))
}

#[test]
fn steps_have_the_priority_and_the_queue_of_their_run() {
    let mut world = two();
    world.task.spec.priority = 7;
    world.task.spec.queue = Some("batch".to_owned());
    world.settle();
    for step in ["left", "right"] {
        let child = world.of(step);
        assert_eq!(child.spec.priority, 7, "{step}");
        assert_eq!(child.spec.queue.as_deref(), Some("batch"), "{step}");
    }
}

#[test]
fn while_all_steps_wait_for_a_place_the_run_waits_and_its_time_stands() {
    let mut world = two();
    world.settle();
    assert_eq!(world.status().phase, Some(Phase::Running));
    let stands = |world: &mut World, phase: &str| {
        let status = json!({"phase": phase, "conditions": [{
            "type": "Ready", "status": "False", "reason": "NamespaceBusy", "message": "namespace team runs as many as it may",
            "lastTransitionTime": "2025-01-01T00:00:00Z",
        }]});
        let status: TaskStatus = serde_json::from_value(status).unwrap();
        for task in world.tasks.values_mut() {
            Arc::make_mut(task).status = Some(status.clone());
        }
        world.settle();
    };
    world.later(10);
    stands(&mut world, "Queued");
    assert_eq!(world.status().phase, Some(Phase::Waiting));
    let (_, why, text) = world.condition(conditions::READY);
    assert_eq!(why, "WaitingForTask");
    assert!(text.contains("which waits: namespace team runs"), "{text}");
    world.later(3600);
    stands(&mut world, "Running");
    assert_eq!(world.status().phase, Some(Phase::Running));
    assert_eq!(world.status().ran_for.unwrap().0, "10s");
}
