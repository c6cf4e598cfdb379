//! What a run asks people: in whose name, about what, and that an answer to something else is none.

use super::{World, agent, chain};
use oarmaster_crds::kinds::approval::ApprovalPhase;
use oarmaster_crds::kinds::task::{Phase, RerunSpec};
use oarmaster_crds::{Approval, ApprovalStatus, names};
use serde_json::{Value, json};
use std::sync::Arc;

fn asking(ask: &str, show: &str, rest: &str) -> Value {
    let params = chain()["params"].clone();
    let mut ship = agent("ship", rest);
    ship["after"] = json!(["ask"]);
    json!({"params": params, "steps": [
        {"name": "ask", "approval": {"ask": ask, "show": {"what": show}, "approvers": {"groups": ["leads"]}}},
        ship,
    ]})
}

fn only(world: &World) -> Approval {
    assert_eq!(world.approvals.len(), 1);
    world.approvals.values().next().unwrap().as_ref().clone()
}

fn decide(world: &mut World, mut approval: Approval, phase: ApprovalPhase) {
    approval.status = Some(ApprovalStatus {
        phase: Some(phase),
        by: vec!["alice".to_owned()],
        ..ApprovalStatus::default()
    });
    let name = approval.metadata.name.clone().unwrap();
    world.approvals.insert(name, Arc::new(approval));
}

#[test]
fn what_is_approved_is_this_step_of_this_workflow_with_what_is_shown() {
    let action = |workflow: Value| {
        let mut world = World::new(workflow);
        world.settle();
        only(&world).spec.action.unwrap()
    };
    let same = action(asking("Go?", "a", "x"));
    assert_eq!(action(asking("Go?", "a", "x")), same);
    for (what, other) in [
        ("another question", asking("Go now?", "a", "x")),
        ("what is shown", asking("Go?", "b", "x")),
        // What happens after it is approved, too.
        ("another step of the workflow", asking("Go?", "a", "y")),
    ] {
        assert_ne!(action(other), same, "{what}");
    }
}

#[test]
fn a_run_below_another_asks_in_the_name_of_whoever_began_the_tree() {
    let mut world = World::new(asking("Go?", "a", "x"));
    let labels = [
        (names::PARENT_UID_LABEL, "above"),
        (names::DEPTH_LABEL, "1"),
    ];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    world.task.metadata.labels = Some(labels.into());
    world.settle();
    assert_eq!(only(&world).spec.requested_by, "bob");
}

#[test]
fn an_approval_of_somebody_else_under_the_name_of_a_step_is_no_answer() {
    let mut world = World::new(asking("Go?", "a", "x"));
    world.settle();
    let mut forged = only(&world);
    // The same question, in advance of the run.
    let mut world = World::new(asking("Go?", "a", "x"));
    forged.metadata.owner_references = None;
    decide(&mut world, forged, ApprovalPhase::Approved);
    world.settle();
    assert_eq!(world.status().phase, Some(Phase::Failed));
    assert!(world.tasks.is_empty(), "nothing is shipped");
    assert!(world.status().failure.unwrap().message.contains("Conflict"));
}

#[test]
fn what_is_run_anew_is_asked_anew() {
    let mut world = World::new(asking("Go?", "a", "x"));
    world.settle();
    let first = only(&world);
    let name = first.metadata.name.clone().unwrap();
    decide(&mut world, first, ApprovalPhase::Rejected);
    world.settle();
    assert_eq!(world.status().phase, Some(Phase::Failed));
    world.task.spec.rerun = Some(RerunSpec {
        count: 1,
        from: Vec::new(),
    });
    world.settle();
    assert_eq!(world.status().phase, Some(Phase::Waiting));
    // An answer to the first one comes too late.
    let mut late = world.approvals[&name].as_ref().clone();
    late.status.as_mut().unwrap().phase = Some(ApprovalPhase::Approved);
    world.approvals.insert(name.clone(), Arc::new(late));
    world.settle();
    assert_eq!(world.status().phase, Some(Phase::Waiting));
    assert!(world.tasks.is_empty());
    let second = world
        .approvals
        .values()
        .find(|held| held.metadata.name.as_ref() != Some(&name));
    let second = second.unwrap().as_ref().clone();
    decide(&mut world, second, ApprovalPhase::Approved);
    world.settle();
    assert_eq!(world.tasks.len(), 1);
}
