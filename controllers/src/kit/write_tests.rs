//! What a write of a status leaves alone.

use super::replacing;
use oarmaster_crds::kinds::task::Phase;
use oarmaster_crds::{Task, TaskStatus};
use serde_json::{Value, json};

fn written(stored: Value, change: impl FnOnce(&mut TaskStatus)) -> Value {
    let seen: Task = serde_json::from_value(stored.clone()).unwrap();
    let mut new = seen.status.clone().unwrap_or_default();
    change(&mut new);
    let patch = replacing("7", seen.status.as_ref(), &new).unwrap();
    let mut now = stored;
    json_patch::patch(&mut now, &patch).unwrap();
    assert_eq!(now["metadata"]["resourceVersion"], "7");
    let read: Task = serde_json::from_value(now.clone()).unwrap();
    assert_eq!(read.status, Some(new));
    now["status"].clone()
}

fn task(status: Option<Value>) -> Value {
    let mut task = json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task",
        "metadata": {"name": "fix", "namespace": "team", "resourceVersion": "7"},
        "spec": {"agent": {"name": "coder"}},
    });
    if let Some(status) = status {
        task["status"] = status;
    }
    task
}

#[test]
fn fields_of_a_newer_operator_stay() {
    let newer = json!({"foreseen": {"end": null}});
    let held = json!({"phase": "Running", "attempt": 2, "failure": {"class": "Internal", "message": "x"}, "newer": newer});
    let now = written(task(Some(held)), |status| {
        status.phase = Some(Phase::Succeeded);
        status.failure = None;
        status.output = Some(json!({"text": "done", "nothing": null}));
    });
    assert_eq!(now["newer"], newer);
    assert_eq!(now["phase"], "Succeeded");
    assert_eq!(now["attempt"], 2);
    assert_eq!(now["output"], json!({"text": "done", "nothing": null}));
    assert!(now.get("failure").is_none(), "{now}");
}

#[test]
fn a_status_that_is_not_there_or_empty_is_written() {
    for held in [None, Some(json!({})), Some(json!({"newer": 1}))] {
        let now = written(task(held.clone()), |status| status.attempt = Some(1));
        assert_eq!(now["attempt"], 1);
        let newer = held.as_ref().and_then(|held| held.get("newer"));
        assert_eq!(now.get("newer"), newer);
    }
}
