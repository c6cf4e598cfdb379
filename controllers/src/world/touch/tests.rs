use super::{oldest, queued};
use crate::kit::context::Guard;
use jiff::Timestamp;
use oarmaster_crds::Task;
use serde_json::json;
use std::time::Duration;

fn task(namespace: &str, phase: &str, created: i64) -> Guard<Task> {
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
        task("a", "Queued", 900),
        task("a", "Queued", 700),
        task("a", "Queued", 800),
        task("b", "Queued", 1030),
        task("c", "Running", 0),
        task("c", "Pending", 0),
        task("c", "Succeeded", 0),
    ];
    let found = oldest(tasks.iter().filter_map(|task| queued(task, now)));
    let wanted = [
        ("a".to_owned(), Duration::from_secs(300)),
        // A clock that is behind.
        ("b".to_owned(), Duration::ZERO),
    ];
    assert_eq!(Vec::from_iter(found), wanted);
}
