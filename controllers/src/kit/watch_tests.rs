use super::{Cache, Facts, Stored, drive, only_task};
use futures::stream;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::runtime::watcher::{Error, Event};
use serde_json::json;
use std::cell::RefCell;
use tokio::sync::watch as flag;

fn pod(name: &str, task: &str) -> Pod {
    serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "team", "labels": { "oarmaster.dev/task-uid": task } },
    }))
    .unwrap()
}

async fn run<C: Cache<Pod>>(cache: C, events: Vec<Event<Pod>>) -> (Vec<String>, bool) {
    let touched = RefCell::new(Vec::new());
    let (sender, receiver) = flag::channel(false);
    let events = stream::iter(events.into_iter().map(Ok::<_, Error>));
    let tell = |pod: &Pod| touched.borrow_mut().push(pod.name_any());
    drive("pods", events, cache, tell, sender).await;
    let ready = *receiver.borrow();
    (touched.into_inner(), ready)
}

#[tokio::test]
async fn nobody_is_told_of_a_list_before_it_is_complete() {
    let (store, cache) = Stored::new();
    let (touched, ready) = run(cache, vec![Event::Init, Event::InitApply(pod("a", "1"))]).await;
    assert!(touched.is_empty() && !ready);
    assert!(store.state().is_empty());
}

#[tokio::test]
async fn after_a_new_list_those_that_are_gone_are_told_too() {
    let (pods, cache) = Facts::new(Pod::name_any, only_task);
    let (touched, ready) = run(
        cache,
        vec![
            Event::Init,
            Event::InitApply(pod("a", "1")),
            Event::InitApply(pod("b", "1")),
            Event::InitDone,
            Event::Init,
            Event::InitApply(pod("b", "1")),
            Event::InitDone,
        ],
    )
    .await;
    assert!(ready);
    assert_eq!(touched.iter().filter(|name| *name == "a").count(), 2);
    assert_eq!(pods.of("1"), ["b"]);
}

#[tokio::test]
async fn facts_follow_changes_and_are_found_by_task() {
    let (pods, cache) = Facts::new(Pod::name_any, only_task);
    run(
        cache,
        vec![
            Event::Init,
            Event::InitDone,
            Event::Apply(pod("a", "1")),
            Event::Apply(pod("b", "2")),
            Event::Apply(pod("c", "2")),
            Event::Delete(pod("b", "2")),
        ],
    )
    .await;
    assert_eq!(pods.of("1"), ["a"]);
    assert_eq!(pods.of("2"), ["c"]);
    assert!(pods.of("3").is_empty());
}

#[tokio::test]
async fn nobody_is_told_of_what_is_not_kept() {
    let (pods, cache) = Facts::new(|pod: &Pod| pod.annotations().len(), only_task);
    let mut annotated = pod("a", "1");
    annotated.annotations_mut().insert("k".into(), "v".into());
    let mut later = annotated.clone();
    later.metadata.resource_version = Some("9".into());
    let (touched, _) = run(
        cache,
        vec![
            Event::Init,
            Event::InitDone,
            Event::Apply(pod("a", "1")),
            Event::Apply(annotated),
            Event::Apply(later.clone()),
            Event::Delete(later),
        ],
    )
    .await;
    assert_eq!(touched.len(), 3, "appeared, changed, went");
    assert!(pods.of("1").is_empty());
}
