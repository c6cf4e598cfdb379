//! What is read from pods and Jobs.

use crate::task::pod::{JobEnd, JobFacts, Pilot, PodFacts, Pull};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

fn started(exec: &str) -> Value {
    json!({ "phase": "Running",
        "initContainerStatuses": [{ "name": exec, "image": "python:3.12-slim", "imageID": "docker.io/library/python@sha256:1", "ready": true, "restartCount": 0 }],
        "containerStatuses": [{ "name": "pilot", "image": "i", "imageID": "ghcr.io/x@sha256:2", "ready": true, "restartCount": 0,
            "state": { "running": { "startedAt": "2025-11-21T13:00:00Z" } } }] })
}

#[test]
fn the_image_is_that_of_the_sandbox_once_the_pilot_has_started() {
    let image = |status: Value| pod(status).image;
    assert_eq!(
        image(started("exec")).as_deref(),
        Some("docker.io/library/python@sha256:1")
    );
    assert_eq!(image(started("install")), None);
    let mut waiting = started("exec");
    waiting["containerStatuses"][0]["state"] =
        json!({ "waiting": { "reason": "PodInitializing" } });
    assert_eq!(image(waiting), None);
}

fn pod(status: Value) -> PodFacts {
    let pod: Pod = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "p", "creationTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": [{ "apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "job-uid", "controller": true }],
        },
        "status": status,
    }))
    .unwrap();
    PodFacts::of(&pod)
}

#[test]
fn a_pod_without_status_is_one_that_has_not_started() {
    let facts = pod(json!({}));
    assert_eq!(facts.pilot, Pilot::NotStarted);
    assert_eq!(facts.job_uid, "job-uid");
    assert_eq!(
        (facts.stuck, facts.unschedulable, facts.disrupted),
        (None, None, None)
    );
}

#[test]
fn waiting_reasons_of_any_container_are_read() {
    for reason in [
        "ErrImageNeverPull",
        "InvalidImageName",
        "CreateContainerError",
        "CreateContainerConfigError",
        "RunContainerError",
        "CrashLoopBackOff",
    ] {
        let facts = pod(json!({
            "initContainerStatuses": [{ "name": "exec", "ready": false, "restartCount": 0, "image": "x", "imageID": "",
                "state": { "waiting": { "reason": reason, "message": "why" } } }],
        }));
        assert_eq!(facts.stuck, Some(format!("container exec: {reason}: why")));
    }
    for reason in ["PodInitializing", "ContainerCreating"] {
        let facts = pod(json!({
            "containerStatuses": [{ "name": "pilot", "ready": false, "restartCount": 0, "image": "x", "imageID": "",
                "state": { "waiting": { "reason": reason } } }],
        }));
        assert_eq!(facts.stuck, None);
    }
}

#[test]
fn an_image_that_could_not_be_pulled_may_yet_be() {
    for reason in ["ErrImagePull", "ImagePullBackOff"] {
        let facts = pod(json!({
            "conditions": [{ "type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:07Z" }],
            "initContainerStatuses": [{ "name": "exec", "ready": false, "restartCount": 0, "image": "x", "imageID": "",
                "state": { "waiting": { "reason": reason, "message": "why" } } }],
        }));
        let pull = Pull {
            since: "2026-01-01T00:00:07Z".parse().unwrap(),
            why: format!("container exec: {reason}: why"),
        };
        assert_eq!((facts.pull, facts.stuck), (Some(pull), None));
    }
}

#[test]
fn an_install_that_failed_is_a_pod_that_cannot_start() {
    let facts = pod(json!({
        "phase": "Failed",
        "initContainerStatuses": [{ "name": "install", "ready": false, "restartCount": 0, "image": "x", "imageID": "",
            "state": { "terminated": { "exitCode": 1 } } }],
    }));
    assert!(
        facts
            .stuck
            .unwrap()
            .contains("install ended with exit code 1")
    );
}

#[test]
fn the_pilots_end_has_its_times() {
    let facts = pod(json!({
        "containerStatuses": [{ "name": "pilot", "ready": false, "restartCount": 0, "image": "x", "imageID": "",
            "state": { "terminated": { "exitCode": 0, "reason": "Completed",
                "startedAt": "2026-01-01T00:00:05Z", "finishedAt": "2026-01-01T00:00:09Z" } } }],
    }));
    let Pilot::Ended {
        started,
        finished,
        code,
        ..
    } = facts.pilot
    else {
        panic!()
    };
    assert_eq!((finished.duration_since(started).as_secs(), code), (4, 0));
}

#[test]
fn an_end_without_times_never_runs_from_1970() {
    let facts = pod(json!({
        "containerStatuses": [{ "name": "pilot", "ready": false, "restartCount": 0, "image": "x", "imageID": "",
            "state": { "terminated": { "exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": "1970-01-01T00:00:00Z" } } }],
    }));
    assert_eq!(
        facts.pilot.started().unwrap().to_string(),
        "2026-01-01T00:00:00Z"
    );
}

#[test]
fn what_stops_a_pod_from_outside_is_a_disruption() {
    let facts = pod(
        json!({ "conditions": [{ "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "m" }] }),
    );
    assert_eq!(facts.disrupted.as_deref(), Some("PreemptionByScheduler: m"));
    let facts = pod(json!({ "phase": "Failed", "reason": "NodeShutdown" }));
    assert_eq!(facts.disrupted.as_deref(), Some("NodeShutdown"));
    let facts = pod(json!({ "phase": "Running", "reason": "" }));
    assert_eq!(facts.disrupted, None);
    let facts = pod(
        json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1" }] }),
    );
    assert_eq!(
        facts.unschedulable.as_deref(),
        Some("no node takes the pod: 0/1")
    );
}

#[test]
fn a_jobs_end_is_read() {
    let job = |conditions: Value| {
        let job: Job = serde_json::from_value(json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "j", "uid": "u" },
            "status": { "conditions": conditions },
        }))
        .unwrap();
        JobFacts::of(&job).ended
    };
    assert_eq!(job(json!([])), None);
    assert_eq!(
        job(json!([{ "type": "Complete", "status": "True" }])),
        Some(JobEnd::Complete)
    );
    assert_eq!(job(json!([{ "type": "Failed", "status": "False" }])), None);
    assert_eq!(
        job(json!([{ "type": "Suspended", "status": "True" }])),
        Some(JobEnd::Suspended)
    );
    // FailureTarget comes before Failed, while pods still end: it is no end yet.
    assert_eq!(
        job(json!([{ "type": "FailureTarget", "status": "True" }])),
        None
    );
    assert!(matches!(
        job(json!([{ "type": "Failed", "status": "True", "reason": "x" }])),
        Some(JobEnd::Failed { .. })
    ));
}
