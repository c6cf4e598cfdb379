//! Who called, read, was let in or refused is in the audit; what they said is not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use common::{PILOT, UID, World, ask, members, scripted};
use oarmaster_protocol::admin::TaskBudget;
use oarmaster_protocol::read::{AuditCheck, AuditRecord};
use serde_json::json;

async fn world() -> World {
    let world = World::start().await;
    world
        .provider(
            "team",
            "play",
            scripted(json!([{"reply": {"text": "a spoken secret"}}])),
        )
        .await;
    world.pool("team", "fast", members(&["play"])).await;
    world.kube.token("auditor", "auditor", "api-server", None);
    world.kube.allow("auditor get tasks/audit /");
    world
}

async fn read(world: &World, token: &str, path: &str) -> (u16, String) {
    let url = format!("{}/read/v1/{path}", world.read);
    let response = world.http.get(url).bearer_auth(token).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// The audit, without what the gateway's start says.
async fn audit(world: &World) -> Vec<AuditRecord> {
    world.gateway.audit.flush();
    world.gateway.store.flush().await.unwrap();
    let (status, text) = read(world, "auditor", "audit?from=0&to=9999999999999").await;
    assert_eq!(status, 200, "{text}");
    assert!(!text.contains("secret"), "{text}");
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.skip(1).collect()
}

/// The lines, and how often each came; a test may go on while a minute ends.
fn shown(records: &[AuditRecord]) -> Vec<String> {
    let mut lines: Vec<(String, u64)> = Vec::new();
    for record in records {
        let refused = if record.allowed { "" } else { "REFUSED " };
        let line = format!(
            "{} {refused}{}|{}|{}|{}",
            record.act.as_str(),
            record.who,
            record.namespace,
            record.object,
            record.reason,
        );
        match lines.iter_mut().find(|(known, _)| *known == line) {
            Some((_, count)) => *count += record.count,
            None => lines.push((line, record.count)),
        }
    }
    let line = |(line, count)| format!("{line}|{count}");
    lines.into_iter().map(line).collect()
}

#[tokio::test]
async fn calls_reads_and_refusals_are_there_and_nothing_of_what_was_said() {
    let world = world().await;
    world
        .kube
        .token("mallory", "mallory", "oarmaster-gateway", None);
    world.task(TaskBudget::default()).await;
    let app = world.user();
    assert_eq!(world.chat(app, ask("my secret")).await.status(), 200);
    for _ in 0..3 {
        let mut body = ask("x");
        body["model"] = json!("team/fast");
        assert_eq!(world.chat("mallory", body).await.status(), 403);
    }
    assert_eq!(world.chat("forged", ask("x")).await.status(), 401);
    let mut odd = ask("x");
    odd["model"] = json!("tell me a\nsecret");
    assert_eq!(world.chat("mallory", odd).await.status(), 403);
    let transcript = "namespaces/team/tasks/fix/transcript";
    for (reader, expected) in [("auditor", 403), ("bob", 200)] {
        world.kube.token("bob", "bob", "api-server", None);
        world.kube.allow("bob get tasks/transcript team/fix");
        assert_eq!(read(&world, reader, transcript).await.0, expected);
    }
    let user = "system:serviceaccount:team:app";
    let records = audit(&world).await;
    assert_eq!(
        shown(&records),
        [
            "openAttempt alice@acme|team|attempt 1 of fix, Job job-1||1".to_owned(),
            "claim alice@acme|team|attempt 1, pod job-1-x||1".to_owned(),
            format!("call {user}|team|team/fast: team/play m||1"),
            "callEnd ||call 1.0.0||1".to_owned(),
            "call REFUSED mallory||team/fast|forbidden|3".to_owned(),
            "identify REFUSED ||data|unauthenticated|1".to_owned(),
            "call REFUSED mallory||no pool|forbidden|1".to_owned(),
            "read REFUSED auditor|team|tasks/transcript fix|forbidden|1".to_owned(),
            "read bob|team|tasks/transcript fix||1".to_owned(),
            "read auditor||tasks/audit||1".to_owned(),
        ]
    );
    assert_eq!(records[1].task, UID);
}

#[tokio::test]
async fn a_call_is_refused_for_a_reason_that_is_told() {
    let world = world().await;
    let app = world.user();
    let pool = json!({"members": members(&["play"]), "suspend": true});
    world.pool_with("team", "fast", pool).await;
    assert_eq!(world.chat(app, ask("x")).await.status(), 503);
    world.pool("team", "fast", members(&["play"])).await;
    let little = TaskBudget {
        pico_usd: Some(1),
        tokens: None,
        ..TaskBudget::default()
    };
    let claim = world.task(little).await;
    let (status, ..) = world.call(&claim.session, 0, claim.next, "x").await;
    assert_eq!(status, 429);
    world
        .gateway
        .store
        .fence(UID, 1, "cancelled")
        .await
        .unwrap();
    assert_eq!(world.chat(PILOT, ask("x")).await.status(), 409);
    let user = "system:serviceaccount:team:app";
    let mut refused = audit(&world).await;
    refused.retain(|record| !record.allowed);
    assert_eq!(
        shown(&refused),
        [
            format!("call REFUSED {user}|team|team/fast|suspended|1"),
            "call REFUSED alice@acme|team|team/fast|budget_exceeded|1".to_owned(),
            "identify REFUSED system:serviceaccount:team:oarmaster-sandbox||data|fenced|1"
                .to_owned(),
        ]
    );
}

#[tokio::test]
async fn the_audit_is_for_who_may_see_it_and_says_whether_it_is_whole() {
    let world = world().await;
    world.kube.token("bob", "bob", "api-server", None);
    world.kube.allow("bob get tasks/usage /");
    for path in ["audit?from=0&to=1", "audit/verify"] {
        let (status, text) = read(&world, "bob", path).await;
        assert_eq!(status, 403, "{text}");
        assert!(text.contains("tasks/audit"), "{text}");
    }
    let (status, text) = read(&world, "auditor", "audit/verify?frame=0").await;
    assert_eq!(status, 200, "{text}");
    let check: AuditCheck = serde_json::from_str(&text).unwrap();
    assert_eq!(check.broken, None);
    assert!(check.frames >= 2, "{check:?}");
    let records = audit(&world).await;
    assert_eq!(records[0].frame, 1);
    assert_eq!(check.asked.unwrap().hash, records[0].before);
}
