//! Budgets over all callers: a Task waits for room without a pod, and is not over.

use super::sim::{Sim, assert_end};
use oarmaster_crds::conditions;
use oarmaster_crds::kinds::task::Phase;
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::admin::Blocked;
use serde_json::json;
use std::time::Duration;

const TEXT: &str = "team-a/day (namespace/team): $10.00 spent and $0.00 reserved of $10.00, resets 2025-11-22T00:00Z, the next call needs up to $0.96";

fn full(sim: &Sim, resets_in: Option<i64>) -> Option<Blocked> {
    Some(Blocked {
        message: TEXT.to_owned(),
        resets_ms: resets_in.map(|seconds| sim.now.as_millisecond() + seconds * 1000),
    })
}

fn waits(sim: &Sim) {
    assert_eq!(sim.phase(), Phase::Waiting);
    for kind in [conditions::BUDGET_AVAILABLE, conditions::READY] {
        let said = (
            "False".to_owned(),
            "WindowExceeded".to_owned(),
            TEXT.to_owned(),
        );
        assert_eq!(sim.condition(kind), said);
    }
    assert_eq!(sim.condition(conditions::ACCEPTED).0, "True");
    assert_eq!(sim.condition(conditions::FINISHED).0, "False");
    assert!(sim.jobs.is_empty(), "without a pod");
}

#[test]
fn a_task_that_has_not_begun_waits_and_begins_when_there_is_room() {
    let mut sim = Sim::new(json!({}));
    sim.blocked = full(&sim, Some(10));
    sim.settle();
    waits(&sim);
    assert_eq!((sim.attempt(), sim.created.len()), (0, 0));
    assert_eq!(
        sim.pass().next,
        Some(Duration::from_secs(10)),
        "looks again at the reset"
    );
    sim.blocked = None;
    sim.settle();
    assert_eq!(sim.attempt(), 1);
    assert_eq!(sim.condition(conditions::BUDGET_AVAILABLE).0, "True");
    sim.succeeds();
    sim.settle();
    assert_end(&sim, Phase::Succeeded, "Complete");
}

#[test]
fn a_pilot_that_finds_no_room_gives_up_its_pod_and_the_next_attempt_is_no_retry() {
    let mut sim = Sim::new(json!({ "retry": { "limit": 0 } }));
    sim.settle();
    sim.pilot_starts();
    sim.blocked = full(&sim, None);
    sim.finds_no_room(TEXT);
    sim.settle();
    waits(&sim);
    assert_eq!(sim.attempt(), 1);
    assert_eq!(
        sim.pass().next,
        Some(Duration::from_secs(30)),
        "a raise may be seen late"
    );
    sim.blocked = None;
    sim.settle();
    assert_eq!((sim.attempt(), sim.created.len()), (2, 2));
    let status = sim.task.status.clone().unwrap();
    assert_eq!((status.retries, status.disruptions), (None, None));
    sim.succeeds();
    sim.settle();
    assert_end(&sim, Phase::Succeeded, "Complete");
}

#[test]
fn room_that_is_there_again_is_used_at_once() {
    let mut sim = Sim::new(json!({}));
    sim.settle();
    sim.finds_no_room(TEXT);
    sim.settle();
    assert_eq!((sim.attempt(), sim.phase()), (2, Phase::Pending));
}

#[test]
fn after_a_day_without_room_the_task_ends() {
    let mut sim = Sim::new(json!({}));
    sim.blocked = full(&sim, None);
    sim.settle();
    for _ in 0..23 {
        sim.later(3600);
        sim.settle();
        waits(&sim);
    }
    sim.later(3600);
    sim.settle();
    assert_end(&sim, Phase::Failed, FailureClass::BudgetExceeded.as_str());
    let text = sim.task.status.clone().unwrap().failure.unwrap().message;
    assert!(
        text.starts_with("waited 24 h for room in a Budget: team-a/day"),
        "{text}"
    );
}

#[test]
fn a_waiting_task_can_be_cancelled() {
    let mut sim = Sim::new(json!({}));
    sim.settle();
    sim.blocked = full(&sim, None);
    sim.finds_no_room(TEXT);
    sim.settle();
    sim.cancel();
    sim.settle();
    assert_end(&sim, Phase::Cancelled, "Cancelled");
}
