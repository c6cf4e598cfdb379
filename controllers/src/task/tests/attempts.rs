//! When another attempt is made, when none is, and with what it begins.

use super::sim::{Sim, assert_end};
use oarmaster_crds::kinds::task::Phase;
use oarmaster_crds::{conditions, names};
use oarmaster_protocol::FailureClass;
use serde_json::json;
use std::time::Duration;

#[test]
fn a_transient_failure_is_tried_again_after_the_back_off() {
    let mut sim = Sim::new(
        json!({ "retry": { "limit": 2, "backoff": { "base": "10s", "factor": 3, "max": "25s" } } }),
    );
    for (wait, attempt) in [(10, 1), (25, 2)] {
        sim.settle();
        assert_eq!(sim.attempt(), attempt);
        sim.fails(FailureClass::ModelUnavailable);
        sim.settle();
        assert_eq!(sim.phase(), Phase::Waiting);
        assert_eq!(sim.condition(conditions::READY).1, "Retrying");
        assert!(sim.jobs.is_empty(), "a failed attempt's Job is deleted");
        sim.later(wait - 1);
        sim.settle();
        assert_eq!(sim.attempt(), attempt, "not before its time");
        sim.later(1);
    }
    sim.settle();
    assert_eq!(sim.attempt(), 3);
    sim.fails(FailureClass::ModelUnavailable);
    sim.settle();
    assert_end(&sim, Phase::Failed, "ModelUnavailable");
    assert_eq!(sim.task.status.unwrap().retries, Some(2));
    assert_eq!(sim.created.len(), 3);
}

#[test]
fn a_back_off_is_no_part_of_a_second_shorter_than_it_says() {
    let mut sim = Sim::new(json!({ "retry": { "backoff": { "base": "10s" } } }));
    sim.settle();
    sim.now += jiff::SignedDuration::from_millis(900);
    sim.fails(FailureClass::ModelUnavailable);
    sim.settle();
    let next = sim.task.status.as_ref().unwrap().next_attempt_at.clone();
    let wait = next.unwrap().0.duration_since(sim.now);
    assert_eq!(wait, jiff::SignedDuration::from_millis(10_100));
}

#[test]
fn a_disruption_has_no_back_off() {
    let mut sim = Sim::new(json!({}));
    sim.settle();
    sim.now += jiff::SignedDuration::from_millis(900);
    sim.pilot_starts();
    sim.pod.as_mut().unwrap().disrupted = Some("EvictionByEvictionAPI".to_owned());
    sim.settle();
    assert_eq!(sim.attempt(), 2);
}

#[test]
fn a_retry_that_works_completes() {
    let mut sim = Sim::new(json!({}));
    sim.settle();
    sim.fails(FailureClass::Internal);
    sim.settle();
    sim.later(10);
    sim.settle();
    sim.succeeds();
    sim.settle();
    assert_end(&sim, Phase::Succeeded, "Complete");
    assert!(sim.task.status.unwrap().failure.is_none());
}

#[test]
fn other_failures_end_the_task_unless_they_are_named() {
    let mut sim = Sim::new(json!({}));
    sim.settle();
    sim.fails(FailureClass::NotAccepted);
    sim.settle();
    assert_end(&sim, Phase::Failed, "NotAccepted");

    let mut sim = Sim::new(json!({ "retry": { "limit": 1, "on": ["NotAccepted"] } }));
    sim.settle();
    sim.fails(FailureClass::NotAccepted);
    sim.settle();
    assert_eq!(sim.phase(), Phase::Waiting);
}

#[test]
fn a_spent_budget_ends_the_task_and_says_so() {
    let mut sim = Sim::new(json!({ "retry": { "limit": 5 } }));
    sim.settle();
    sim.fails(FailureClass::BudgetExceeded);
    sim.settle();
    assert_end(&sim, Phase::Failed, "BudgetExceeded");
    assert_eq!(sim.condition(conditions::BUDGET_AVAILABLE).0, "False");
}

#[test]
fn disruptions_do_not_count_as_retries_and_are_capped() {
    let mut sim = Sim::new(json!({ "retry": { "limit": 0 } }));
    for attempt in 1..=10 {
        sim.settle();
        assert_eq!(sim.attempt(), attempt);
        sim.pilot_starts();
        sim.pod.as_mut().unwrap().disrupted = Some("EvictionByEvictionAPI".to_owned());
        sim.pass();
        assert!(sim.gateway[&attempt].fenced, "fenced before anything else");
    }
    sim.settle();
    assert_eq!(sim.attempt(), 11);
    sim.pilot_starts();
    sim.pod.as_mut().unwrap().disrupted = Some("EvictionByEvictionAPI".to_owned());
    sim.settle();
    assert_end(&sim, Phase::Failed, "Disrupted");
    assert_eq!(sim.task.status.unwrap().disruptions, Some(10));
}

#[test]
fn a_result_that_was_handed_in_outlives_its_pod() {
    for gone in [true, false] {
        let mut sim = Sim::new(json!({}));
        sim.settle();
        sim.pilot_starts();
        sim.settle();
        sim.hands_in(None);
        if gone {
            sim.job_deleted();
        } else {
            sim.pod.as_mut().unwrap().disrupted = Some("the pod was deleted".to_owned());
        }
        sim.settle();
        assert_end(&sim, Phase::Succeeded, "Complete");
        assert_eq!(sim.created.len(), 1);
    }
}

#[test]
fn an_attempt_whose_pod_was_never_seen_ends_with_its_job() {
    let mut sim = Sim::new(json!({}));
    sim.settle();
    sim.pilot_starts();
    sim.hands_in(None);
    sim.pod = None;
    sim.settle();
    assert_end(&sim, Phase::Succeeded, "Complete");
    let status = sim.task.status.unwrap();
    assert!(status.job.is_some_and(|job| job.name.ends_with("-1")));
}

#[test]
fn a_job_deleted_by_hand_is_a_disruption() {
    let mut sim = Sim::new(json!({}));
    sim.settle();
    sim.pilot_starts();
    sim.settle();
    sim.job_deleted();
    sim.settle();
    assert!(sim.gateway[&1].fenced);
    assert_eq!(sim.attempt(), 2);
    assert_eq!(sim.created.len(), 2);
    assert_eq!(sim.task.status.unwrap().disruptions, Some(1));
}

#[test]
fn a_job_that_was_never_created_is_created_again() {
    let mut sim = Sim::new(json!({}));
    sim.pass();
    // Killed after the status and the open, before the Job.
    sim.jobs.clear();
    sim.created.clear();
    sim.settle();
    assert_eq!(sim.attempt(), 1);
    assert_eq!(sim.created.len(), 1);
}

#[test]
fn an_agent_changed_before_the_open_is_pinned_anew_and_after_it_is_not() {
    let mut sim = Sim::new(json!({}));
    sim.gateway_ip = false;
    sim.settle();
    let first = sim.task.status.clone().unwrap().pinned.unwrap();
    sim.agent.as_mut().unwrap().spec.instructions = "be quick".to_owned();
    sim.settle();
    let second = sim.task.status.clone().unwrap().pinned.unwrap();
    assert_ne!(first.agent, second.agent);
    sim.gateway_ip = true;
    sim.settle();
    sim.agent.as_mut().unwrap().spec.instructions = "be slow".to_owned();
    sim.fails(FailureClass::Internal);
    sim.settle();
    sim.later(10);
    let started = sim.pass().start.unwrap();
    assert!(started.resolved.assignment.is_none(), "the gateway has it");
    assert_eq!(sim.task.status.unwrap().pinned.unwrap(), second);
}

#[test]
fn the_gateway_is_told_who_created_the_task() {
    for requester in [Some("alice@acme"), None] {
        let mut sim = Sim::new(json!({ "requestedBy": requester }));
        let started = sim.pass().start.unwrap();
        assert_eq!(started.requested_by.as_deref(), requester);
    }
}

#[test]
fn the_gateway_is_told_the_tasks_labels_and_not_more_than_it_takes() {
    let mut sim = Sim::new(json!({}));
    let many = (0..40).map(|n| (format!("label-{n:02}"), n.to_string()));
    let step = (names::STEP_LABEL.to_owned(), "critic".to_owned());
    sim.task.metadata.labels = Some(many.chain([step]).collect());
    let labels = sim.pass().start.unwrap().labels;
    assert_eq!(labels.len(), oarmaster_protocol::admin::MAX_LABELS);
    assert_eq!(labels["label-00"], "0");
    // Others of its run find it by this one.
    assert_eq!(labels[oarmaster_protocol::message::STEP_LABEL], "critic");
}

#[test]
fn a_program_that_failed_shows_what_its_model_calls_took_of_the_budget() {
    for (pool, budget, class, expected) in [
        (
            json!({ "name": "default" }),
            json!({ "usd": "0.25" }),
            FailureClass::ToolFailed,
            "its model calls took $0.249 of spec.budget, $0.25; it did not work",
        ),
        (
            json!({ "name": "default" }),
            json!({ "tokens": 1000 }),
            FailureClass::ToolFailed,
            "its model calls took $0.249 of the Task's budget; it did not work",
        ),
        (
            json!({ "name": "default" }),
            json!({ "usd": "0.25" }),
            FailureClass::OutOfMemory,
            "it did not work",
        ),
        (
            json!(null),
            json!({ "usd": "0.25" }),
            FailureClass::ToolFailed,
            "it did not work",
        ),
    ] {
        let run = json!({ "command": ["true"], "pool": pool });
        let spec = json!({ "agent": null, "params": null, "run": run, "budget": budget });
        let mut sim = Sim::new(spec);
        sim.settle();
        sim.fails(class);
        let report = sim.gateway.get_mut(&1).unwrap();
        report.usage.sum.cost_pico = 249_000_000_000;
        sim.settle();
        let failure = sim.task.status.clone().unwrap().failure.unwrap();
        assert_eq!(failure.message, expected, "{pool} {budget} {class}");
    }
}

#[test]
fn a_deleted_agent_does_not_stop_a_retry() {
    let mut sim = Sim::new(json!({}));
    sim.settle();
    sim.fails(FailureClass::Internal);
    sim.settle();
    sim.agent = None;
    sim.pool = None;
    sim.later(10);
    sim.settle();
    assert_eq!(sim.attempt(), 2);
    assert_eq!(sim.created.len(), 2);
}

#[test]
fn the_running_time_is_counted_over_all_attempts() {
    let mut sim = Sim::new(
        json!({ "timeout": "60s", "retry": { "limit": 3, "backoff": { "base": "1h", "max": "2h" } } }),
    );
    sim.settle();
    sim.later(100); // waiting for the pod does not count
    sim.pilot_starts();
    sim.settle();
    sim.later(40);
    sim.fails(FailureClass::Internal);
    sim.settle();
    assert_eq!(sim.phase(), Phase::Waiting);
    sim.later(3600);
    let plan = sim.pass();
    assert_eq!(plan.start.unwrap().left, Duration::from_secs(20));
    sim.pilot_starts();
    sim.settle();
    sim.later(19);
    sim.settle();
    assert_eq!(sim.phase(), Phase::Running);
    sim.later(1);
    let plan = sim.pass();
    assert!(plan.fence.is_some());
    sim.settle();
    assert_end(&sim, Phase::Failed, "Timeout");
    assert_eq!(sim.task.status.unwrap().ran_for.unwrap().0, "1m");
}

#[test]
fn no_attempt_begins_without_time_left() {
    let mut sim = Sim::new(json!({ "timeout": "60s", "retry": { "limit": 3 } }));
    sim.settle();
    sim.pilot_starts();
    sim.later(61);
    sim.fails(FailureClass::Internal);
    sim.settle();
    assert_end(&sim, Phase::Failed, "Timeout");
}

#[test]
fn a_pilot_without_a_result_is_an_internal_failure_and_a_fenced_one_a_disruption() {
    let mut sim = Sim::new(json!({ "retry": { "limit": 0 } }));
    sim.settle();
    sim.pilot_starts();
    sim.pilot_ends(137);
    let plan = sim.pass();
    assert!(
        plan.fence.is_some(),
        "nobody ended the attempt at the gateway"
    );
    sim.settle();
    assert_end(&sim, Phase::Failed, "Internal");

    let mut sim = Sim::new(json!({ "retry": { "limit": 0 } }));
    sim.settle();
    sim.pilot_starts();
    sim.pilot_ends(3);
    sim.settle();
    assert_eq!(sim.attempt(), 2);
}
