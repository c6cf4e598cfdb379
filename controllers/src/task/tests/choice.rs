//! Tasks that name no agent, and agents without a place.

use super::sim::{Sim, idle};
use crate::task::hire::Busy;
use crate::task::select::Choice;
use oarmaster_crds::conditions::{self, reason};
use oarmaster_crds::kinds::task::Phase;
use serde_json::json;

fn selecting() -> Sim {
    Sim::new(json!({ "agent": { "select": { "capabilities": ["python", "testing"] } } }))
}

fn busy() -> Option<Busy> {
    Some(Busy {
        reason: reason::AGENT_BUSY,
        message: "Agent coder runs 5 Tasks".to_owned(),
    })
}

fn chosen() -> Option<Result<Choice, String>> {
    Some(Ok(Choice {
        agent: "coder".to_owned(),
        why: "coder 774, new 750".to_owned(),
    }))
}

#[test]
fn an_agent_that_was_chosen_is_pinned_and_the_reason_told_once() {
    let mut sim = selecting();
    sim.choice = chosen();
    sim.settle();
    let status = sim.task.status.clone().unwrap();
    assert!(status.pinned.unwrap().agent.starts_with("coder@sha256:"));
    assert_eq!(status.target.unwrap(), "agent/coder");
    assert_eq!(sim.told, ["coder 774, new 750", "attempt 1"]);
    sim.choice = None; // the pinned one is looked up from here on
    sim.fails(oarmaster_protocol::FailureClass::ModelUnavailable);
    sim.settle();
    sim.later(60);
    sim.settle();
    assert_eq!(sim.attempt(), 2);
    assert_eq!(
        sim.told.iter().filter(|told| told.contains("774")).count(),
        1
    );
}

#[test]
fn where_nobody_can_do_it_the_task_waits() {
    let mut sim = selecting();
    sim.choice = Some(Err(
        "no Agent in namespace team: coder lacks testing".to_owned()
    ));
    sim.agent = None;
    sim.settle();
    assert_eq!(sim.phase(), Phase::Pending);
    let (_, why, text) = sim.condition(conditions::READY);
    assert_eq!(why, "RefsNotResolved");
    assert!(text.contains("coder lacks testing"), "{text}");
    let status = sim.task.status.clone().unwrap();
    assert_eq!(status.target.unwrap(), "select/python,testing");
}

#[test]
fn a_task_waits_for_a_place_of_its_agent() {
    let mut sim = Sim::new(json!({}));
    sim.busy = busy();
    sim.settle();
    assert_eq!(sim.phase(), Phase::Queued);
    assert_eq!(sim.attempt(), 0);
    assert_eq!(sim.condition(conditions::ACCEPTED).0, "True");
    let (status, why, text) = sim.condition(conditions::READY);
    assert_eq!((&*status, &*why), ("False", "AgentBusy"));
    assert_eq!(text, "Agent coder runs 5 Tasks");
    assert!(sim.pass().next.is_some(), "it looks again by itself");
    sim.later(3600);
    assert!(idle(&sim.pass()));
    sim.busy = None;
    sim.settle();
    assert_eq!(sim.created.len(), 1);

    // A later attempt waits, too: another Task may have its place.
    sim.fails(oarmaster_protocol::FailureClass::ModelUnavailable);
    sim.settle();
    sim.busy = busy();
    sim.later(60);
    sim.settle();
    assert_eq!((sim.phase(), sim.attempt()), (Phase::Queued, 1));
    assert_eq!(sim.condition(conditions::READY).1, "AgentBusy");
    sim.busy = None;
    sim.settle();
    assert_eq!(sim.attempt(), 2);
}
