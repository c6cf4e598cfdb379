//! What the writes of a run are called.

use http::Method;
use oarmaster_e2e::crash::requests::writes;
use oarmaster_e2e::proxy::Seen;
use serde_json::{Value, json};

#[test]
fn what_a_write_of_a_workflow_is_called() {
    let api = "/apis/oarmaster.dev/v1alpha1/namespaces/space/";
    let kept = "POST /apis/apps/v1/namespaces/space/controllerrevisions";
    let sent = "POST /apis/events.k8s.io/v1/namespaces/space/events";
    let elsewhere = "POST /apis/oarmaster.dev/v1alpha1/namespaces/other/tasks";
    let named = |name: &str| json!({"metadata": {"name": name}});
    let opens = |name: &str| json!({"assignment": {"task": {"namespace": "space", "name": name}}});
    let owned = json!({"metadata": {
        "ownerReferences": [{"name": "r1"}], "labels": {"oarmaster.dev/step": "ship"},
    }});
    let event = |kind: &str, name: &str| {
        let about = json!({"kind": kind, "name": name});
        json!({"regarding": about, "reason": "StepStarted", "action": "Stepr1-left-abc"})
    };
    let status = |status: Value| {
        let version = json!({"op": "replace", "path": "/metadata/resourceVersion", "value": "7"});
        let fields = status.as_object().unwrap().iter().map(
            |(field, value)| json!({"op": "add", "path": format!("/status/{field}"), "value": value}),
        );
        Value::Array([version].into_iter().chain(fields).collect())
    };
    let active = |active: Value| status(json!({"steps": {"progress": "1/7", "active": [active]}}));
    let ended = json!({"progress": "7/7", "ending": {"phase": "Succeeded"}});
    let ended = status(json!({"steps": ended, "finishedAt": "now"}));
    let seen = active(json!({"name": "ship", "uid": "u2", "phase": "Waiting"}));
    let unseen = active(json!({"name": "ship", "phase": "Waiting"}));
    let phase = |phase: &str| status(json!({"phase": phase}));
    let cases = [
        ("PUT /admin/v1/attempts/u1/1/fence", json!({}), ""),
        (
            "PUT /admin/v1/attempts/u1/1",
            opens("r1-left-abc"),
            "left: open",
        ),
        (
            "PUT /admin/v1/attempts/u1/1/fence",
            json!({}),
            "left: fence",
        ),
        ("PUT /admin/v1/attempts/u3/1", opens("r11"), ""),
        ("POST /admin/v1/room", json!({}), ""),
        (kept, owned.clone(), "run: keep workflow"),
        ("POST tasks", named("r1-left-abc"), "make left"),
        (
            "POST tasks",
            named("r1-deploy-abc-inner-def"),
            "make deploy/inner",
        ),
        ("POST tasks", named("r11-left-abc"), ""),
        (elsewhere, named("r1-left-abc"), ""),
        ("POST approvals", owned, "make ship"),
        (
            "PATCH tasks/r1/status",
            unseen,
            "run: write status 1/7 ship (not seen)",
        ),
        ("PATCH tasks/r1/status", seen, "run: write status 1/7 ship"),
        (
            "PATCH tasks/r1-deploy-abc/status",
            ended,
            "deploy: write status 7/7 ends as Succeeded ended",
        ),
        ("PATCH tasks/r1-left-abc/status", phase("Running"), ""),
        (
            "PATCH tasks/r1-left-abc",
            json!({"spec": {"state": "Paused"}}),
            "left: tell Paused",
        ),
        (
            "PATCH approvals/r1-ship-abc-1/status",
            phase("Waiting"),
            "ship/1: Waiting",
        ),
        (
            "PATCH approvals/r1-ship-abc-1/status",
            status(json!({})),
            "",
        ),
        (
            sent,
            event("Task", "r1"),
            "run: send event StepStarted of left",
        ),
        (sent, event("Task", "r1-left-abc"), ""),
        (sent, event("Workflow", "r1"), ""),
        ("GET tasks/r1", json!({}), ""),
    ];
    let name = writes("space", "r1");
    for (request, body, called) in cases {
        let (method, path) = request.split_once(' ').unwrap();
        let path = match path.strip_prefix('/') {
            Some(_) => path.to_owned(),
            None => format!("{api}{path}"),
        };
        let (method, body) = (
            Method::from_bytes(method.as_bytes()).unwrap(),
            body.to_string(),
        );
        let seen = Seen {
            method: &method,
            path: &path,
            body: body.as_bytes(),
        };
        assert_eq!(name(&seen).unwrap_or_default(), called, "{request} {body}");
    }
}
