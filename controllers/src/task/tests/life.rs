//! A Task's life, step by step.

use super::sim::{Sim, assert_end, idle};
use crate::kit::events::Reason;
use crate::task::plan::{hindered, plan};
use crate::task::pod::{Pilot, Pull};
use oarmaster_crds::LocalRef;
use oarmaster_crds::conditions;
use oarmaster_crds::kinds::task::{DesiredState, Phase, ReplayMode, ReplaySpec};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::admin::{Isolated, TaskBudget};
use serde_json::json;
use std::time::Duration;

/// The NetworkPolicy of a new namespace is not counted: it is no part of a Task's plan (`network::ensure`).
#[test]
fn a_task_of_one_attempt_takes_five_writes_and_one_for_the_service_account_of_a_new_namespace() {
    let mut sim = Sim::new(json!({}));
    sim.settle();
    assert_eq!(sim.phase(), Phase::Pending);
    assert_eq!(sim.attempt(), 1);
    sim.pilot_starts();
    sim.settle();
    assert_eq!(sim.phase(), Phase::Running);
    sim.later(42);
    sim.hands_in(None);
    sim.settle();
    assert_eq!(sim.phase(), Phase::Running, "the pilot has not ended yet");
    sim.pilot_ends(0);
    sim.settle();
    assert_end(&sim, Phase::Succeeded, "Complete");
    assert_eq!(sim.writes, 6, "one of them made the ServiceAccount");
    assert_eq!(sim.created.len(), 1);
    let status = sim.task.status.clone().unwrap();
    assert_eq!(status.ran_for.unwrap().0, "42s");
    assert_eq!(
        status.output,
        Some(json!({ "text": "done", "nothing": null }))
    );
    assert!(status.failure.is_none());

    let mut second = Sim::new(json!({}));
    second.service_account = true;
    second.settle();
    second.pilot_starts();
    second.settle();
    second.succeeds();
    second.settle();
    assert_eq!(second.writes, 5);
}

#[test]
fn a_settled_task_needs_nothing_at_any_time() {
    let mut sim = Sim::new(json!({}));
    sim.settle();
    sim.succeeds();
    sim.settle();
    for seconds in [0, 1, 60, 86_400, 10_000_000] {
        sim.later(seconds);
        let plan = plan(&sim.task, &sim.observe());
        assert!(idle(&plan), "{plan:?}");
        assert_eq!(plan.next, None);
    }
}

#[test]
fn a_pilot_that_ended_before_it_was_seen_running_needs_one_write_less() {
    let mut sim = Sim::new(json!({}));
    sim.service_account = true;
    sim.settle();
    sim.succeeds();
    sim.settle();
    assert_end(&sim, Phase::Succeeded, "Complete");
    assert_eq!(sim.writes, 4);
    assert!(sim.task.status.unwrap().started_at.is_some());
}

#[test]
fn what_is_missing_is_waited_for_and_named() {
    let mut sim = Sim::new(json!({
        "files": [{ "path": "a.txt", "configMap": { "name": "texts", "key": "a" } }],
    }));
    let (agent, pool, class) = (sim.agent.take(), sim.pool.take(), sim.class.take());
    sim.settle();
    assert_eq!(sim.phase(), Phase::Pending);
    let (status, why, message) = sim.condition(conditions::ACCEPTED);
    assert_eq!(
        (status.as_str(), why.as_str()),
        ("False", "RefsNotResolved")
    );
    assert!(
        message.contains("Agent coder does not exist in namespace team"),
        "{message}"
    );
    assert!(message.contains("ConfigMap texts"), "{message}");
    assert_eq!(sim.attempt(), 0);
    sim.agent = agent;
    sim.later(5);
    sim.settle();
    assert!(
        sim.condition(conditions::ACCEPTED)
            .2
            .contains("ModelPool default")
    );
    sim.pool = pool;
    sim.class = class;
    sim.later(5);
    sim.settle();
    assert!(
        sim.condition(conditions::ACCEPTED)
            .2
            .contains("ConfigMap texts")
    );
    sim.config_maps.insert(
        "texts".to_owned(),
        [("a".to_owned(), "x".to_owned())].into(),
    );
    sim.settle();
    assert_eq!(sim.attempt(), 1);
    assert_eq!(sim.condition(conditions::ACCEPTED).0, "True");
}

#[test]
fn the_pool_of_a_run_is_waited_for_as_an_agents() {
    let run = json!({ "command": ["true"], "pool": { "name": "default" } });
    let mut sim = Sim::new(json!({ "agent": null, "params": null, "run": run }));
    let mut pool = sim.pool.take();
    sim.settle();
    let waits = |sim: &Sim, what: &str| {
        let (status, _, message) = sim.condition(conditions::ACCEPTED);
        assert!(status == "False" && message.contains(what), "{message}");
        assert_eq!(sim.attempt(), 0);
    };
    waits(&sim, "ModelPool default does not exist");
    pool.as_mut().unwrap().spec.suspend = true;
    sim.pool = pool;
    sim.later(5);
    sim.settle();
    waits(&sim, "ModelPool default is suspended");
    sim.pool.as_mut().unwrap().spec.suspend = false;
    sim.later(5);
    sim.settle();
    assert_eq!(sim.attempt(), 1);
}

#[test]
fn a_pool_or_class_that_is_not_ready_is_waited_for() {
    let mut sim = Sim::new(json!({}));
    sim.pool.as_mut().unwrap().status = None;
    sim.settle();
    assert!(
        sim.condition(conditions::ACCEPTED)
            .2
            .contains("ModelPool default is not ready")
    );
    let mut sim = Sim::new(json!({}));
    sim.pool.as_mut().unwrap().spec.suspend = true; // its status still says that it is ready
    sim.settle();
    assert!(
        sim.condition(conditions::ACCEPTED)
            .2
            .contains("ModelPool default is suspended")
    );
    assert_eq!(sim.attempt(), 0);
    let mut sim = Sim::new(json!({}));
    sim.class.as_mut().unwrap().status = None;
    sim.settle();
    assert!(
        sim.condition(conditions::ACCEPTED)
            .2
            .contains("SandboxClass default is not ready")
    );
    assert_eq!(sim.attempt(), 0);
}

#[test]
fn an_attempt_waits_for_the_gateways_address() {
    let mut sim = Sim::new(json!({}));
    sim.gateway_ip = false;
    sim.settle();
    assert!(sim.created.is_empty());
    assert!(sim.condition(conditions::READY).2.contains("gateway"));
    sim.gateway_ip = true;
    sim.settle();
    assert_eq!(sim.created.len(), 1);
}

#[test]
fn a_cancelled_task_is_fenced_first_and_stays_cancelled() {
    let mut sim = Sim::new(json!({}));
    sim.settle();
    sim.pilot_starts();
    sim.settle();
    sim.later(7);
    sim.cancel();
    let plan = sim.pass();
    assert_eq!(plan.fence.as_ref().map(|fence| fence.0), Some(1));
    assert_eq!(
        plan.status.as_ref().unwrap().ran_for.as_ref().unwrap().0,
        "7s"
    );
    assert_eq!(plan.delete_jobs.len(), 1);
    assert_eq!(plan.notes[0].reason, Reason::Cancelled);
    sim.settle();
    assert_end(&sim, Phase::Cancelled, "Cancelled");
    sim.later(100_000);
    assert!(idle(&sim.pass()));
}

#[test]
fn a_task_cancelled_before_it_began_or_while_it_waits_ends() {
    let mut sim = Sim::new(json!({ "state": "Cancelled" }));
    sim.settle();
    assert_end(&sim, Phase::Cancelled, "Cancelled");
    assert!(sim.created.is_empty());

    let mut sim = Sim::new(json!({}));
    sim.settle();
    sim.fails(FailureClass::Internal);
    sim.settle();
    sim.cancel();
    let plan = sim.pass();
    let (attempt, fence) = plan.fence.unwrap();
    assert_eq!(attempt, 1);
    assert!(
        fence.ends.is_some(),
        "the gateway is told that no other follows"
    );
    assert!(!sim.gateway[&1].fenced, "the failed attempt is over");
    sim.settle();
    assert_end(&sim, Phase::Cancelled, "Cancelled");
}

#[test]
fn a_paused_task_has_no_pod_and_goes_on_without_a_retry() {
    let mut sim = Sim::new(json!({ "retry": { "limit": 0 } }));
    sim.settle();
    sim.pilot_starts();
    sim.settle();
    sim.later(7);
    sim.state(DesiredState::Paused);
    let plan = sim.pass();
    assert_eq!(plan.fence.as_ref().map(|fence| fence.0), Some(1));
    assert_eq!(plan.delete_jobs.len(), 1);
    assert_eq!(plan.notes[0].reason, Reason::Paused);
    sim.settle();
    assert_eq!(sim.phase(), Phase::Paused);
    assert!(!sim.finished() && sim.jobs.is_empty());
    sim.later(100_000);
    assert!(idle(&sim.pass()), "its time does not run");

    sim.state(DesiredState::Running);
    sim.settle();
    assert_eq!(sim.attempt(), 2);
    let status = sim.task.status.clone().unwrap();
    assert_eq!(
        status.retries.unwrap_or(0) + status.disruptions.unwrap_or(0),
        0
    );
    assert_eq!(status.ran_for.unwrap().0, "7s");

    // Before it began, and again while it waits.
    let mut sim = Sim::new(json!({ "state": "Paused" }));
    sim.settle();
    assert_eq!(sim.phase(), Phase::Paused);
    assert!(sim.created.is_empty());
    sim.state(DesiredState::Running);
    sim.settle();
    assert_eq!(sim.attempt(), 1);
    sim.fails(FailureClass::Internal);
    sim.settle();
    sim.state(DesiredState::Paused);
    sim.settle();
    sim.later(3600);
    assert_eq!((sim.phase(), sim.attempt()), (Phase::Paused, 1));
    sim.state(DesiredState::Cancelled);
    sim.settle();
    assert_end(&sim, Phase::Cancelled, "Cancelled");
}

/// What had ended before the pause was seen counts.
#[test]
fn a_pause_that_comes_too_late_changes_nothing() {
    let mut sim = Sim::new(json!({}));
    sim.settle();
    sim.pilot_starts();
    sim.settle();
    sim.succeeds();
    sim.state(DesiredState::Paused);
    sim.settle();
    assert_eq!(sim.phase(), Phase::Succeeded);
}

/// What it continues must be there, have ended, and have been an agent's.
#[test]
fn a_follow_up_waits_for_the_task_that_it_continues() {
    let mut sim = Sim::new(json!({ "continueFrom": { "name": "earlier" } }));
    sim.settle();
    let (status, _, message) = sim.condition(conditions::ACCEPTED);
    assert_eq!(status, "False");
    assert!(message.contains("earlier"), "{message}");

    let mut earlier = Sim::new(json!({}));
    earlier.settle();
    sim.earlier = Some(earlier.task.clone());
    sim.later(6); // a message alone is written a little later
    sim.settle();
    let (_, _, message) = sim.condition(conditions::ACCEPTED);
    assert!(message.contains("has not ended yet"), "{message}");

    earlier.pilot_starts();
    earlier.settle();
    earlier.succeeds();
    earlier.settle();
    sim.earlier = Some(earlier.task.clone());
    let start = sim.pass().start.unwrap();
    let continues = start.resolved.assignment.unwrap().continues.unwrap();
    assert_eq!(continues.uid, "uid-1");

    let mut sim = Sim::new(json!({ "continueFrom": { "name": "earlier" } }));
    let mut ran = earlier.task;
    (ran.spec.agent, ran.spec.run) = (None, Some(Default::default()));
    sim.earlier = Some(ran);
    sim.settle();
    assert_end(&sim, Phase::Failed, "InvalidInput");
}

/// A replay needs no sandbox beside it, and no model that answers; what goes on with the model after it needs both.
#[test]
fn a_replay_begins_with_what_another_task_has_done() {
    let mut earlier = Sim::new(json!({}));
    earlier.settle();
    earlier.pilot_starts();
    earlier.settle();
    earlier.succeeds();
    earlier.settle();
    for (mode, live, sandbox) in [("Recorded", false, false), ("RecordedThenLive", true, true)] {
        let replay = json!({ "task": { "name": "earlier" }, "mode": mode });
        let mut sim = Sim::new(json!({ "replay": replay }));
        sim.earlier = Some(earlier.task.clone());
        let resolved = sim.pass().start.unwrap().resolved;
        assert_eq!(resolved.sandbox.is_some(), sandbox, "{mode}");
        let assignment = resolved.assignment.unwrap();
        assert_eq!(assignment.continues.unwrap().uid, "uid-1");
        assert_eq!(assignment.replay.unwrap().live, live);
        // It is part of what the model is told.
        assert!(assignment.sandbox.is_some());
    }
    for (field, spec) in [
        (
            "replay",
            json!({ "replay": { "task": { "name": "earlier" } } }),
        ),
        (
            "continueFrom",
            json!({ "continueFrom": { "name": "earlier" } }),
        ),
    ] {
        let mut sim = Sim::new(spec);
        let mut replayed = earlier.task.clone();
        replayed.spec.replay = Some(ReplaySpec {
            task: LocalRef::new("first"),
            mode: ReplayMode::Recorded,
            until: None,
        });
        sim.earlier = Some(replayed);
        sim.settle();
        assert_end(&sim, Phase::Failed, "InvalidInput");
        let message = sim.task.status.unwrap().failure.unwrap().message;
        let wanted = format!("{field}: Task earlier has no record to begin with: it is a replay");
        assert_eq!(message, wanted);
    }
}

#[test]
fn a_finished_task_is_deleted_when_its_time_has_come() {
    let mut sim = Sim::new(json!({ "ttlAfterFinished": "1h" }));
    sim.settle();
    sim.succeeds();
    sim.settle();
    let plan = sim.pass();
    assert_eq!(plan.next, Some(Duration::from_secs(3600)));
    sim.later(3600);
    assert!(sim.pass().delete_task);
}

#[test]
fn usage_is_written_at_most_every_five_seconds_and_late_usage_after_the_end() {
    let mut sim = Sim::new(json!({}));
    sim.settle();
    sim.pilot_starts();
    sim.settle();
    let before = sim.writes;
    for call in 1..=50 {
        sim.later(i64::from(call % 2)); // every other second
        let report = sim.gateway.get_mut(&1).unwrap();
        report.usage.calls += 1;
        report.usage.sum.input_tokens += 100;
        report.usage.sum.cost_pico += 1_500_000;
        sim.settle();
    }
    assert!(
        (4..=6).contains(&(sim.writes - before)),
        "{}",
        sim.writes - before
    );
    sim.succeeds();
    sim.settle();
    let report = sim.gateway.get_mut(&1).unwrap();
    report.usage.sum.output_tokens += 7;
    sim.later(6);
    sim.settle();
    let usage = sim.task.status.clone().unwrap().usage.unwrap();
    assert_eq!(
        (
            usage.calls,
            usage.input_tokens,
            usage.output_tokens,
            usage.total_tokens
        ),
        (50, 5000, 7, 5007)
    );
    assert_eq!(usage.usd, "0.000075");
    assert_end(&sim, Phase::Succeeded, "Complete");
}

#[test]
fn isolation_is_told_as_it_was_found() {
    let mut sim = Sim::new(json!({}));
    sim.settle();
    sim.pilot_starts();
    sim.gateway.get_mut(&1).unwrap().isolated = Some(Isolated {
        proven: false,
        message: "a socket opened".to_owned(),
    });
    sim.settle();
    let (status, why, message) = sim.condition(conditions::ISOLATED);
    assert_eq!(
        (status.as_str(), why.as_str(), message.as_str()),
        ("False", "Unproven", "a socket opened")
    );

    let mut sim = Sim::new(json!({}));
    sim.agent.as_mut().unwrap().spec.tools.clear();
    sim.settle();
    assert_eq!(sim.condition(conditions::ISOLATED).1, "NotNeeded");
}

#[test]
fn a_job_that_the_api_server_refuses_is_told_and_tried_again() {
    let mut sim = Sim::new(json!({}));
    sim.pass();
    sim.jobs.clear(); // the POST was refused
    sim.created.clear();
    sim.later(15);
    let status = hindered(&sim.task, &sim.observe(), "exceeded quota").unwrap();
    sim.task.status = Some(status);
    assert_eq!(sim.condition(conditions::READY).1, "Starting");
    assert_eq!(sim.condition(conditions::READY).2, "exceeded quota");
    assert_eq!(hindered(&sim.task, &sim.observe(), "exceeded quota"), None);
    sim.settle();
    assert_eq!(sim.created.len(), 1);
    assert_eq!(sim.attempt(), 1);
}

#[test]
fn a_raised_budget_is_told_to_the_gateway_once() {
    let mut sim = Sim::new(json!({ "budget": { "usd": "0.25" } }));
    sim.settle();
    sim.pilot_starts();
    sim.settle();
    sim.task.spec.budget.as_mut().unwrap().usd = Some(oarmaster_crds::Usd("0.5".to_owned()));
    sim.task.metadata.generation = Some(2);
    let plan = sim.pass();
    assert_eq!(
        plan.budget,
        Some(TaskBudget {
            pico_usd: Some(500_000_000_000),
            tokens: None,
            ..TaskBudget::default()
        })
    );
    sim.settle();
    assert_eq!(sim.raised, 1);
}

#[test]
fn a_pod_that_cannot_start_is_told_early() {
    let mut sim = Sim::new(json!({}));
    sim.settle();
    sim.pod_created();
    sim.pod.as_mut().unwrap().stuck =
        Some("container exec: InvalidImageName: no such name".to_owned());
    sim.settle();
    assert_end(&sim, Phase::Failed, "StartFailed");
    assert!(sim.condition(conditions::READY).2.contains("no such name"));
}

#[test]
fn a_registrys_hiccup_ends_nothing_and_an_image_that_is_not_there_does() {
    let fails = |sim: &mut Sim| {
        let since = sim.now;
        let why = "container exec: ErrImagePull: no such host".to_owned();
        sim.pod.as_mut().unwrap().pull = Some(Pull { since, why });
        sim.later(6);
        sim.settle();
        assert!(
            sim.condition(conditions::READY).2.contains("no such host"),
            "shown while it lasts"
        );
        assert_eq!(sim.phase(), Phase::Pending);
    };
    let started = || {
        let mut sim = Sim::new(json!({}));
        sim.settle();
        sim.pod_created();
        sim
    };

    let mut sim = started();
    fails(&mut sim);
    sim.later(53);
    sim.settle();
    sim.pod.as_mut().unwrap().pull = None;
    sim.later(3600);
    sim.pilot_starts();
    sim.succeeds();
    sim.settle();
    assert_end(&sim, Phase::Succeeded, "Complete");

    let mut sim = started();
    fails(&mut sim);
    sim.later(54);
    sim.settle();
    assert_end(&sim, Phase::Failed, "StartFailed");
    let told = sim.condition(conditions::READY).2;
    assert!(told.contains("sandbox.image"), "{told}");
}

#[test]
fn a_pod_that_no_node_takes_has_the_classs_time() {
    let mut sim = Sim::new(json!({}));
    sim.settle();
    sim.pod_created();
    sim.pod.as_mut().unwrap().unschedulable = Some("no node takes the pod: 0/1 nodes".to_owned());
    sim.later(6);
    sim.settle();
    assert!(
        sim.condition(conditions::READY).2.contains("0/1 nodes"),
        "shown while it lasts"
    );
    sim.later(293);
    sim.settle();
    assert_eq!(sim.phase(), Phase::Pending);
    sim.later(1);
    sim.settle();
    assert_end(&sim, Phase::Failed, "StartFailed");
    assert!(sim.condition(conditions::READY).2.contains("0/1 nodes"));
}

#[test]
fn the_jobs_own_end_counts_where_the_pods_is_not_known() {
    for (reason, class) in [
        ("PodFailurePolicy", "Disrupted"),
        ("BackoffLimitExceeded", "Disrupted"),
        ("Suspended", "Disrupted"),
        ("DeadlineExceeded", "StartFailed"),
    ] {
        let mut sim = Sim::new(json!({}));
        sim.settle();
        sim.job_ends(reason);
        sim.pass();
        assert_eq!(sim.failure(), class, "{reason}");
        assert!(sim.gateway[&1].fenced);
    }
    let mut sim = Sim::new(json!({}));
    sim.settle();
    sim.pilot_starts();
    sim.settle();
    sim.job_ends("DeadlineExceeded");
    sim.settle();
    assert_end(&sim, Phase::Failed, "Timeout");
}

#[test]
fn a_failed_job_whose_pods_end_is_not_seen_yet_is_waited_for() {
    let mut sim = Sim::new(json!({}));
    sim.settle();
    sim.pilot_starts();
    sim.settle();
    sim.hands_in(Some((FailureClass::NotAccepted, "red")));
    sim.job_ends("BackoffLimitExceeded");
    sim.settle();
    assert_end(&sim, Phase::Failed, "NotAccepted");

    let mut sim = Sim::new(json!({}));
    sim.settle();
    sim.pilot_starts();
    sim.settle();
    sim.job_ends("BackoffLimitExceeded");
    sim.settle();
    assert_eq!(
        sim.phase(),
        Phase::Running,
        "the pod's word is still to come"
    );
    sim.pilot_ends(1);
    sim.settle();
    assert_eq!(sim.failure(), "Internal");
}

#[test]
fn of_two_pods_the_one_that_works_counts() {
    let mut sim = Sim::new(json!({}));
    sim.settle();
    sim.pilot_starts();
    let running = sim.pod.clone().unwrap();
    let mut ended = running.clone();
    ended.pilot = Pilot::Ended {
        started: sim.now,
        finished: sim.now,
        code: 3,
        reason: "Error".to_owned(),
    };
    let picked = crate::task::pod::PodFacts::pick(&[ended, running.clone()], &running.job_uid);
    assert_eq!(picked, Some(running));
}
