//! `spec.queue`: the Job of a Task waits until Kueue lets it run.

use super::job::installation;
use super::sim::{Sim, assert_end, idle};
use crate::task::job;
use crate::task::pod::{InQueue, JobEnd, JobFacts};
use k8s_openapi::api::batch::v1::Job;
use oarmaster_crds::conditions;
use oarmaster_crds::kinds::task::Phase;
use oarmaster_protocol::FailureClass;
use serde_json::{Value, json};

fn queued() -> Sim {
    let mut sim = Sim::new(json!({ "queue": "team-queue", "timeout": "10m" }));
    sim.settle();
    sim
}

fn waits(sim: &Sim) {
    assert_eq!(sim.phase(), Phase::Queued);
    let (status, why, text) = sim.condition(conditions::READY);
    assert_eq!((&*status, &*why), ("False", "InQueue"));
    assert!(
        text.contains("waits in queue team-queue until Kueue"),
        "{text}"
    );
    assert_eq!(sim.condition(conditions::FINISHED).0, "False");
}

#[test]
fn the_job_is_suspended_and_has_the_label_and_its_pod_has_not() {
    let mut sim = Sim::new(json!({ "queue": "team-queue" }));
    let start = sim.pass().start.expect("no start");
    let job = job::build(&sim.task, &start, &installation(), "sha256:0");
    let labels = job.metadata.labels.unwrap();
    assert_eq!(labels["kueue.x-k8s.io/queue-name"], "team-queue");
    let spec = job.spec.unwrap();
    assert_eq!(spec.suspend, Some(true));
    let of_pod = spec.template.metadata.unwrap().labels.unwrap();
    assert!(
        !of_pod.contains_key("kueue.x-k8s.io/queue-name"),
        "{of_pod:?}"
    );

    let mut sim = Sim::new(json!({}));
    let start = sim.pass().start.expect("no start");
    let job = job::build(&sim.task, &start, &installation(), "sha256:0");
    assert_eq!(job.spec.unwrap().suspend, None);
    assert!(
        !job.metadata
            .labels
            .unwrap()
            .contains_key("kueue.x-k8s.io/queue-name")
    );
}

#[test]
fn a_task_with_a_queue_has_a_job_where_shared_pilots_could_run_it() {
    for (queue, jobs) in [(Value::Null, 0), (json!("team-queue"), 1)] {
        let mut sim = Sim::new(json!({ "queue": queue }));
        sim.agent.as_mut().unwrap().spec.tools.clear();
        sim.settle();
        assert_eq!(sim.created.len(), jobs);
    }
}

#[test]
fn while_it_waits_no_time_runs_and_then_it_runs_as_any() {
    let mut sim = queued();
    waits(&sim);
    assert_eq!(sim.created.len(), 1);
    for _ in 0..5 {
        sim.later(86_400);
        let plan = sim.pass();
        assert!(idle(&plan), "{plan:?}");
        assert_eq!(plan.next, None, "nothing but Kueue is waited for");
        waits(&sim);
    }
    sim.let_run();
    sim.settle();
    assert_eq!(sim.phase(), Phase::Pending);
    assert_eq!(sim.condition(conditions::READY).1, "Starting");
    sim.later(60);
    sim.pilot_starts();
    sim.settle();
    assert_eq!(sim.phase(), Phase::Running);
    sim.later(540);
    sim.succeeds();
    sim.settle();
    assert_end(&sim, Phase::Succeeded, "Complete");
    assert_eq!(sim.task.status.unwrap().ran_for.unwrap().0, "9m");
}

#[test]
fn the_time_in_which_a_pod_is_to_start_begins_when_it_may() {
    let mut sim = queued();
    sim.later(86_400);
    sim.let_run();
    sim.pod_created();
    sim.settle();
    sim.later(299);
    sim.settle();
    assert_eq!(sim.phase(), Phase::Pending);
    sim.later(1);
    sim.settle();
    assert_end(&sim, Phase::Failed, FailureClass::StartFailed.as_str());
}

#[test]
fn one_that_is_suspended_before_it_began_waits_on_and_afterwards_is_disrupted() {
    let mut sim = queued();
    sim.let_run();
    sim.pod_created();
    sim.settle();
    sim.evicted();
    sim.settle();
    waits(&sim);
    assert_eq!(sim.attempt(), 1);

    sim.let_run();
    sim.pilot_starts();
    sim.settle();
    assert_eq!(sim.phase(), Phase::Running);
    sim.evicted();
    sim.settle();
    waits(&sim);
    assert_eq!((sim.attempt(), sim.created.len()), (2, 2), "it waits anew");
    let status = sim.task.status.clone().unwrap();
    assert_eq!((status.disruptions, status.retries), (Some(1), None));
    assert!(sim.gateway[&1].fenced);
    sim.let_run();
    sim.succeeds();
    sim.settle();
    assert_end(&sim, Phase::Succeeded, "Complete");
}

#[test]
fn a_task_in_a_queue_can_be_paused_and_cancelled() {
    let mut sim = queued();
    sim.task.spec.state = oarmaster_crds::kinds::task::DesiredState::Paused;
    sim.settle();
    assert_eq!(sim.phase(), Phase::Paused);
    assert!(sim.jobs.is_empty());
    sim.task.spec.state = oarmaster_crds::kinds::task::DesiredState::Running;
    sim.settle();
    waits(&sim);
    sim.cancel();
    sim.settle();
    assert_end(&sim, Phase::Cancelled, "Cancelled");
    assert!(sim.jobs.is_empty());
}

#[test]
fn whether_a_job_was_let_run_is_read_from_its_status() {
    let job = |labels: Value, status: Value| -> Job {
        serde_json::from_value(json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": { "name": "j", "uid": "u", "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z" },
            "status": status,
        }))
        .unwrap()
    };
    let label = json!({ "kueue.x-k8s.io/queue-name": "q" });
    let suspended = |status: &str| json!([{ "type": "Suspended", "status": status, "lastTransitionTime": "2026-01-02T00:00:00Z" }]);
    let at = |text: &str| {
        Some(InQueue::Runs {
            since: text.parse().unwrap(),
        })
    };
    let started = "2026-01-03T00:00:00Z";
    for (labels, status, queue, ended) in [
        (json!({}), json!({ "startTime": started }), None, None),
        (label.clone(), json!({}), Some(InQueue::Waits), None),
        (
            label.clone(),
            json!({ "conditions": suspended("True") }),
            Some(InQueue::Waits),
            Some(JobEnd::Suspended),
        ),
        (
            label.clone(),
            json!({ "conditions": suspended("False"), "startTime": started }),
            at("2026-01-02T00:00:00Z"),
            None,
        ),
        (
            label.clone(),
            json!({ "startTime": started }),
            at(started),
            None,
        ),
        (
            json!({}),
            json!({ "conditions": suspended("True") }),
            None,
            Some(JobEnd::Suspended),
        ),
    ] {
        let facts = JobFacts::of(&job(labels, status.clone()));
        assert_eq!((facts.queue, facts.ended), (queue, ended), "{status}");
    }
}
