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

/// Who may, all that is over, once it is said; and both are in the audit.
#[tokio::test]
async fn a_person_is_erased_by_whom_may_and_the_audit_says_so() {
    use oarmaster_protocol::read::{AuditAct, AuditRecord, ErasedLine};

    let world = world().await;
    let claim = world.task(TaskBudget::default()).await;
    let (status, ..) = world
        .call(&claim.session, claim.next_call, claim.next, "fix it")
        .await;
    assert_eq!(status, 200);
    world.gateway.store.fence(UID, 1, "done").await.unwrap();
    for user in ["nobody", "eraser"] {
        world.kube.token(user, user, "api-server", None);
    }
    world.kube.allow("eraser delete tasks/erase /");
    let requester = world.gateway.store.requested_by(UID).unwrap();
    let erase = async |user: &str, requester: &str, dry: bool| {
        let asked = format!("requester={requester}&dryRun={dry}");
        let url = format!("{}/read/v1/people?{asked}", world.read);
        let request = world.http.delete(url).bearer_auth(user);
        request.send().await.unwrap()
    };
    assert_eq!(erase("nobody", &requester, false).await.status(), 403);
    assert_eq!(erase("eraser", "", false).await.status(), 400);
    let erased =
        async |dry| -> ErasedLine { erase("eraser", &requester, dry).await.json().await.unwrap() };
    // It runs.
    world.kube.apply("tasks", task(UID, "Running"));
    let found = erased(false).await;
    assert_eq!(
        (found.tasks, &found.stay[..]),
        (0, &["team/fix".to_owned()][..])
    );
    world.kube.apply("tasks", task(UID, "Failed"));
    for dry in [true, false] {
        let store = &world.gateway.store;
        assert!(store.task_ref(UID).await.unwrap().is_some());
        let found = erased(dry).await;
        assert_eq!((found.tasks, found.stay.len()), (1, 0));
    }
    assert!(world.gateway.store.task_ref(UID).await.unwrap().is_none());

    world.gateway.audit.flush();
    world.gateway.store.flush().await.unwrap();
    let (sender, mut lines) = tokio::sync::mpsc::channel(1000);
    let store = &world.gateway.store;
    assert!(store.audited(0, i64::MAX, sender).await.unwrap());
    let mut seen: Vec<AuditRecord> = Vec::new();
    while let Some(line) = lines.recv().await {
        seen.extend((line.act == AuditAct::Erase).then_some(line));
    }
    let has = |who: &str, allowed, object: &str| {
        let same = |line: &&AuditRecord| {
            line.who == who && line.allowed == allowed && line.object == object
        };
        seen.iter().any(|line| same(&line))
    };
    assert!(has("nobody", false, "tasks/erase"), "{seen:?}");
    assert!(has("eraser", true, &requester), "{seen:?}");
    assert!(has("", true, &requester), "{seen:?}");
}
