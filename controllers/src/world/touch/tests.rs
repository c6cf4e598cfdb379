use super::*;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc::unbounded_channel;

fn waiting(namespace: &str, phase: &str, created: i64) -> Guard<Task> {
    let created = Timestamp::from_second(created).unwrap().to_string();
    let task = json!({
        "apiVersion": "oarmaster.dev/v1alpha1",
        "kind": "Task",
        "metadata": {"name": "t", "namespace": namespace, "creationTimestamp": created},
        "spec": {"agent": {"name": "a"}},
        "status": {"phase": phase},
    });
    serde_json::from_value(task).unwrap()
}

#[test]
fn of_those_that_wait_for_their_turn_the_oldest_of_each_namespace_counts() {
    let now = Timestamp::from_second(1000).unwrap();
    let tasks = [
        waiting("a", "Queued", 900),
        waiting("a", "Queued", 700),
        waiting("a", "Queued", 800),
        waiting("b", "Queued", 1030),
        waiting("c", "Running", 0),
        waiting("c", "Pending", 0),
        waiting("c", "Succeeded", 0),
    ];
    let found = oldest(tasks.iter().filter_map(|task| queued(task, now)));
    let wanted = [
        ("a".to_owned(), Duration::from_secs(300)),
        // A clock that is behind.
        ("b".to_owned(), Duration::ZERO),
    ];
    assert_eq!(Vec::from_iter(found), wanted);
}

fn told(event: &Event<Guard<Task>>) -> Option<Gone> {
    let (to, mut told) = unbounded_channel();
    report_gone(event, &to);
    told.try_recv().ok()
}

fn task(conditions: Value) -> Guard<Task> {
    let task = json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task",
        "metadata": {"name": "fix", "namespace": "team", "uid": "uid-1"},
        "spec": {"agent": {"name": "coder"}},
        "status": {"attempt": 2, "conditions": conditions},
    });
    Guard(Ok(serde_json::from_value(task).unwrap()))
}

#[test]
fn what_may_have_been_deleted_is_told() {
    let over = json!([{"type": "Finished", "status": "True", "reason": "Any", "message": "", "lastTransitionTime": "2025-01-01T00:00:00Z"}]);
    let deleted = |conditions| told(&Event::Delete(task(conditions)));
    assert!(matches!(
        deleted(json!([])),
        Some(Gone::Task(task, Some(2))) if task.uid == "uid-1"
    ));
    assert!(matches!(deleted(over), Some(Gone::Task(_, None))));
    // A list shows what is there, and not what was deleted since the last one.
    assert!(matches!(told(&Event::InitDone), Some(Gone::Perhaps)));
    assert!(told(&Event::InitApply(task(json!([])))).is_none());
    assert!(told(&Event::Apply(task(json!([])))).is_none());
}
