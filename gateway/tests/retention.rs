//! What is no longer kept goes, when its Task is over; a full volume is said before and by nothing else.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use common::{UID, World, ask, members, scripted};
use oarmaster_gateway::retention;
use oarmaster_protocol::admin::TaskBudget;
use oarmaster_store::Limits;
use serde_json::json;
use std::sync::atomic::Ordering;

const DAY: i64 = 24 * 3_600_000;

async fn world() -> World {
    let world = World::start().await;
    let rules = scripted(json!([{"reply": {"text": "a spoken secret"}}]));
    world.provider("team", "play", rules).await;
    world.pool("team", "fast", members(&["play"])).await;
    world
}

fn task(uid: &str, phase: &str) -> serde_json::Value {
    let meta = json!({"namespace": "team", "name": "fix", "uid": uid});
    let spec = json!({"run": {"language": "python", "code": "1"}});
    json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task", "metadata": meta, "spec": spec, "status": {"phase": phase},
    })
}

#[tokio::test]
async fn a_journal_goes_when_its_task_is_over_and_was_kept_for_its_time() {
    let world = world().await;
    let claim = world.task(TaskBudget::default()).await;
    let (status, ..) = world
        .call(&claim.session, claim.next_call, claim.next, "fix it")
        .await;
    assert_eq!(status, 200);
    world.gateway.store.fence(UID, 1, "paused").await.unwrap();
    let there = || async { world.gateway.store.task_ref(UID).await.unwrap().is_some() };
    let pass = || retention::pass(&world.gateway, &world.client);
    for (ahead, object, stays) in [
        (0, Some(task(UID, "Succeeded")), true),
        // It waits, for money or for a person, however long.
        (31 * DAY, Some(task(UID, "Waiting")), true),
        // Nobody can say.
        (31 * DAY, Some(json!("down")), true),
        (31 * DAY, Some(task(UID, "Failed")), false),
    ] {
        world.ahead.store(ahead, Ordering::SeqCst);
        let down = object == Some(json!("down"));
        world.kube.down(down);
        if let Some(object) = object.filter(|_| !down) {
            world.kube.apply("tasks", object);
        }
        pass().await;
        assert_eq!(there().await, stays, "after {} days", ahead / DAY);
    }
    // What it cost is still summed up.
    let query = oarmaster_store::CostQuery {
        namespace: Some("team".into()),
        by: oarmaster_protocol::read::CostBy::Namespace,
        label: None,
        from_ms: 0,
        to_ms: i64::MAX,
    };
    assert_eq!(world.gateway.store.costs(query).await.unwrap()[0].calls, 1);
}

#[tokio::test]
async fn a_task_that_was_deleted_or_made_anew_is_over() {
    for object in [None, Some(task("another", "Running"))] {
        let world = world().await;
        world.task(TaskBudget::default()).await;
        world.gateway.store.fence(UID, 1, "deleted").await.unwrap();
        world.ahead.store(31 * DAY, Ordering::SeqCst);
        if let Some(object) = object {
            world.kube.apply("tasks", object);
        }
        retention::pass(&world.gateway, &world.client).await;
        assert_eq!(world.gateway.store.task_ref(UID).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_full_volume_is_told_and_spends_nothing_new() {
    let world = world().await;
    let mut changes = world.gateway.health.changes();
    let full = Limits {
        log: 1,
        ..Limits::default()
    };
    world.gateway.store.limit(full);
    world.gateway.health.set_full(world.gateway.store.full());
    assert_eq!(
        changes.recv().await.unwrap(),
        ("team".into(), "play".into())
    );
    let report = world.gateway.health.report();
    let why = report.providers[0].unusable.clone().unwrap();
    assert!(
        why.contains("so nothing new is spent: expand the gateway's volume"),
        "{why}"
    );
    let response = world.chat(world.user(), ask("hello")).await;
    assert_eq!(response.status(), 503);
    let text = response.text().await.unwrap();
    assert!(text.contains("expand the gateway's volume"), "{text}");
    let metrics = world.metrics().await;
    assert!(
        metrics.contains("oarmaster_volume_limit_bytes{part=\"log\"} 1\n"),
        "{metrics}"
    );

    world.gateway.store.limit(Limits::default());
    world.gateway.health.set_full(world.gateway.store.full());
    assert_eq!(
        changes.recv().await.unwrap(),
        ("team".into(), "play".into())
    );
    assert_eq!(world.gateway.health.report().providers[0].unusable, None);
    assert_eq!(world.chat(world.user(), ask("hello")).await.status(), 200);
}
