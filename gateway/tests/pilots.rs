//! Attempts without a pod of their own: who is given one, for how long, and what a claim is worth.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use common::{OPERATOR, PILOT, RELEASE, UID, World, assignment, members, scripted};
use http::Method;
use oarmaster_gateway::pilots::Pilots;
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::admin::{AttemptReport, TaskBudget};
use oarmaster_protocol::task::Work;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

const SHARED: &str = "token-of-the-pilots";

async fn world() -> World {
    let world = World::start().await;
    world
        .provider("team", "play", scripted(json!([{"reply": {"text": "hi"}}])))
        .await;
    world.pool("team", "fast", members(&["play"])).await;
    let account = format!("system:serviceaccount:{RELEASE}:oarmaster-pilots");
    let pod = Some(("pilots-a", "uid-of-pilots-a"));
    world.kube.token(SHARED, &account, "oarmaster-gateway", pod);
    world
}

/// Opens an attempt for shared pilots.
async fn open(world: &World, namespace: &str, uid: &str) -> AttemptReport {
    let mut assigned = assignment();
    assigned["task"] = json!({"namespace": namespace, "name": uid, "uid": uid});
    let request =
        json!({"runsIn": "shared", "assignment": assigned, "budget": {}, "requestedBy": "alice"});
    let opened = world
        .http
        .put(format!("{}/admin/v1/attempts/{uid}/1", world.admin))
        .bearer_auth(OPERATOR)
        .json(&request)
        .send();
    let opened = opened.await.unwrap();
    assert_eq!(opened.status(), 200, "{}", opened.text().await.unwrap());
    opened.json().await.unwrap()
}

async fn report(world: &World, uid: &str) -> AttemptReport {
    world.gateway.store.report(uid, 1).await.unwrap()
}

/// The next attempt; there must be one.
async fn work(world: &World) -> Work {
    let answer = world.post("/task/v1/work", SHARED, Value::Null).await;
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    answer.json().await.unwrap()
}

fn waiting(world: &World) -> usize {
    world.gateway.pilots.waiting(&world.gateway.store)
}

/// What a call with this capability and session is answered.
async fn call(
    world: &World,
    work: &Work,
    session: &str,
    (method, path): (Method, &str),
    body: &Value,
) -> (u16, String) {
    let answer = world
        .http
        .request(method, format!("{}{path}", world.data))
        .bearer_auth(&work.capability.0)
        .header("oarmaster-session", session)
        .header("oarmaster-call", work.claim.next_call)
        .header("oarmaster-next", work.claim.next)
        .json(body)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn renew(world: &World, work: &Work) -> (u16, String) {
    let session = &work.claim.session;
    let path = (Method::POST, "/task/v1/renew");
    call(world, work, session, path, &Value::Null).await
}

async fn release(world: &World, work: &Work, failed: Option<&str>) -> (u16, String) {
    let session = &work.claim.session;
    let path = (Method::POST, "/task/v1/release");
    let body = json!({"session": session, "failed": failed});
    call(world, work, session, path, &body).await
}

fn later(world: &World, ms: i64) {
    world.ahead.fetch_add(ms, Ordering::SeqCst);
}

/// Every call that a pilot has, as it would be made first.
fn calls(work: &Work) -> [(Method, &'static str, Value); 9] {
    let note = json!({"kind": "note", "text": "x"});
    let result = json!({"kind": "result", "outcome": {"output": {"text": "done"}}});
    let next = work.claim.next;
    let ask = json!({"model": "team/fast", "messages": [{"role": "user", "content": "x"}], "max_tokens": 100});
    [
        (Method::GET, "/task/v1/assignment", Value::Null),
        (Method::GET, "/v1/models", Value::Null),
        (Method::POST, "/v1/chat/completions", ask),
        (
            Method::POST,
            "/task/v1/journal",
            json!({"next": next, "records": [note]}),
        ),
        (Method::PUT, "/task/v1/artifacts/a", json!("bytes")),
        (Method::GET, "/task/v1/egress", Value::Null),
        (Method::POST, "/task/v1/renew", Value::Null),
        (
            Method::POST,
            "/task/v1/result",
            json!({"next": next, "records": [result]}),
        ),
        (
            Method::POST,
            "/task/v1/release",
            json!({"session": work.claim.session}),
        ),
    ]
}

#[tokio::test]
async fn an_attempt_is_given_out_once_and_runs_to_its_result() {
    let world = world().await;
    let opened = open(&world, "team", "one").await;
    assert_eq!((opened.claimed_at_ms, waiting(&world)), (None, 1));
    let work = work(&world).await;
    assert_eq!((&*work.task_uid, work.attempt), ("one", 1));
    assert_eq!(work.assignment, opened.assignment);
    assert_eq!(waiting(&world), 0);
    assert!(report(&world, "one").await.claimed_at_ms.is_some());
    assert!(!format!("{work:?}").contains(&work.capability.0));

    let session = work.claim.session.clone();
    let [assigned, _, chat, ..] = calls(&work);
    let (status, text) = call(
        &world,
        &work,
        &session,
        (assigned.0, assigned.1),
        &assigned.2,
    )
    .await;
    assert_eq!(status, 200);
    assert_eq!(oarmaster_protocol::digest(text.as_bytes()), work.assignment);
    let (status, text) = call(&world, &work, &session, (chat.0, chat.1), &chat.2).await;
    assert_eq!(status, 200, "{text}");
    let next = report(&world, "one").await.next;
    let result = json!({"kind": "result", "outcome": {"output": {"text": "done"}}});
    let result = json!({"next": next, "records": [result]});
    let path = (Method::POST, "/task/v1/result");
    let (status, text) = call(&world, &work, &session, path, &result).await;
    assert_eq!(status, 200, "{text}");
    let ended = report(&world, "one").await;
    assert_eq!(ended.outcome.unwrap().output, Some(json!({"text": "done"})));
    assert_eq!(ended.usage.calls, 1);
    later(&world, 60_000);
    assert_eq!(waiting(&world), 0, "what has ended is nobody's work");
}

#[tokio::test]
async fn whoever_waits_is_woken_and_of_two_each_has_another_attempt() {
    let world = world().await;
    let opened = async {
        open(&world, "team", "one").await;
        open(&world, "team", "two").await;
    };
    let (first, second, ()) = tokio::join!(work(&world), work(&world), opened);
    let mut uids = [first.task_uid, second.task_uid];
    uids.sort();
    assert_eq!(uids, ["one", "two"]);
    assert_ne!(first.capability, second.capability);
}

#[tokio::test]
async fn namespaces_take_turns_and_in_each_the_oldest_comes_first() {
    let world = world().await;
    for (namespace, uid) in [
        ("a", "a1"),
        ("a", "a2"),
        ("a", "a3"),
        ("b", "b1"),
        ("c", "c1"),
    ] {
        open(&world, namespace, uid).await;
        later(&world, 1);
    }
    let mut order = Vec::new();
    for _ in 0..5 {
        order.push(work(&world).await.task_uid);
    }
    assert_eq!(order, ["a1", "b1", "c1", "a2", "a3"]);
}

#[tokio::test]
async fn a_claim_lasts_while_it_is_renewed_and_then_is_worth_nothing() {
    let world = world().await;
    open(&world, "team", "one").await;
    let first = work(&world).await;
    for _ in 0..3 {
        later(&world, 29_999);
        assert_eq!(renew(&world, &first).await.0, 204);
    }
    later(&world, 30_000);
    assert_eq!(
        renew(&world, &first).await.0,
        401,
        "it does not begin again"
    );
    assert_eq!(waiting(&world), 1);

    let second = work(&world).await;
    assert_eq!((&*second.task_uid, second.attempt), ("one", 1));
    assert_ne!(second.claim.session, first.claim.session);
    let before = report(&world, "one").await;
    for (method, path, body) in calls(&first) {
        // With the session of the other, too.
        for session in [&first.claim.session, &second.claim.session] {
            let (status, text) = call(&world, &first, session, (method.clone(), path), &body).await;
            assert_eq!(status, 401, "{path}: {text}");
        }
    }
    assert_eq!(
        report(&world, "one").await,
        before,
        "one journal, one spend"
    );
    let [.., chat, _, _, _, _, result, _] = calls(&second);
    let session = second.claim.session.clone();
    for (method, path, body) in [chat, result] {
        // The call wrote two records.
        let mut body = body;
        if let Some(next) = body.get_mut("next") {
            *next = json!(report(&world, "one").await.next);
        }
        let (status, text) = call(&world, &second, &session, (method, path), &body).await;
        assert_eq!(status, 200, "{path}: {text}");
    }
    assert_eq!(report(&world, "one").await.usage.calls, 1);
}

#[tokio::test]
async fn a_claim_is_for_its_own_attempt_alone() {
    let world = world().await;
    open(&world, "team", "one").await;
    open(&world, "team", "two").await;
    let (one, two) = (work(&world).await, work(&world).await);
    let before = report(&world, &two.task_uid).await;
    for (method, path, body) in calls(&one) {
        if path == "/task/v1/release" || path == "/task/v1/renew" {
            continue; // they are its own, whatever session is named
        }
        let (status, text) = call(&world, &one, &two.claim.session, (method, path), &body).await;
        let is_read = path == "/task/v1/assignment" || path == "/v1/models";
        assert!(
            (400..500).contains(&status) || is_read,
            "{path}: {status} {text}"
        );
        if path == "/task/v1/assignment" {
            assert_eq!(oarmaster_protocol::digest(text.as_bytes()), one.assignment);
        }
    }
    assert_eq!(report(&world, &two.task_uid).await, before);
    let (status, _) = renew(&world, &two).await;
    assert_eq!(status, 204);
}

#[tokio::test]
async fn nobody_else_is_given_work() {
    let world = world().await;
    world.pod(1);
    world.open(1, TaskBudget::default()).await;
    open(&world, "team", "one").await;
    let account = format!("system:serviceaccount:{RELEASE}:oarmaster-pilots");
    let other = "system:serviceaccount:team:oarmaster-pilots";
    let kube = &world.kube;
    kube.token("unbound", &account, "oarmaster-gateway", None);
    kube.token("elsewhere", other, "oarmaster-gateway", Some(("p", "u")));
    let user = world.user();
    for token in [PILOT, user, "unbound", "elsewhere"] {
        let answer = world.post("/task/v1/work", token, Value::Null).await;
        assert_eq!(answer.status(), 403, "{token}");
        for path in ["/task/v1/renew", "/task/v1/release"] {
            let answer = world.post(path, token, Value::Null).await;
            assert_eq!(answer.status(), 403, "{path} {token}");
        }
    }
    kube.token(
        "admins",
        &account,
        "oarmaster-gateway-admin",
        Some(("p", "u")),
    );
    let answer = world.post("/task/v1/work", "admins", Value::Null).await;
    assert_eq!(answer.status(), 401);
    assert_eq!(waiting(&world), 1);

    // The pilots' own token is worth nothing but work, and a claim nothing anywhere else.
    for path in ["/task/v1/claim", "/task/v1/journal"] {
        let answer = world.post(path, SHARED, json!({})).await;
        assert_eq!(answer.status(), 403, "{path}");
    }
    let work = work(&world).await;
    let claim = json!({"assignment": work.assignment, "nonce": "n"});
    let again = world
        .post("/task/v1/claim", &work.capability.0, claim)
        .await;
    assert_eq!(again.status(), 403);
    let answer = world
        .post("/task/v1/work", &work.capability.0, Value::Null)
        .await;
    assert_eq!(answer.status(), 401);
    for url in [
        format!("{}/read/v1/audit/verify", world.read),
        format!("{}/admin/v1/providers", world.admin),
    ] {
        let answer = world.http.get(&url).bearer_auth(&work.capability.0).send();
        assert_eq!(answer.await.unwrap().status(), 401, "{url}");
    }
    let guess = format!("{}0", work.capability.0);
    let answer = world.post("/task/v1/renew", &guess, Value::Null).await;
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn a_pod_has_no_shared_attempt_and_shared_pilots_no_pods() {
    let world = world().await;
    world.pod(1);
    let opened = open(&world, "team", UID).await;
    let claim = json!({"assignment": opened.assignment, "nonce": "n"});
    let answer = world.post("/task/v1/claim", PILOT, claim).await;
    assert_eq!(answer.status(), 403, "{}", answer.text().await.unwrap());
    assert_eq!(report(&world, UID).await.claimed_at_ms, None);

    let world = self::world().await;
    world.pod(1);
    world.open(1, TaskBudget::default()).await;
    assert_eq!(waiting(&world), 0);

    // What needs a sandbox is not opened for them.
    let mut assigned = assignment();
    assigned["sandbox"] = json!({"memoryBytes": 1, "diskBytes": 1, "maxProcesses": 1, "callTimeoutMs": 1, "requireLandlock": false});
    assigned["task"]["uid"] = json!("other");
    let request = json!({"runsIn": "shared", "assignment": assigned, "budget": {}});
    let refused = world
        .http
        .put(format!("{}/admin/v1/attempts/other/1", world.admin))
        .bearer_auth(OPERATOR)
        .json(&request)
        .send();
    assert_eq!(refused.await.unwrap().status(), 400);
}

#[tokio::test]
async fn an_attempt_that_is_fenced_is_over_for_its_pilot_and_for_all_others() {
    let world = world().await;
    open(&world, "team", "one").await;
    let work = work(&world).await;
    let store = &world.gateway.store;
    store.fence("one", 1, "cancelled").await.unwrap();
    for (method, path, body) in calls(&work) {
        let session = &work.claim.session;
        let (status, text) = call(&world, &work, session, (method, path), &body).await;
        assert_eq!(status, 409, "{path}: {text}");
        assert!(text.contains("fenced"), "{text}");
    }
    later(&world, 60_000);
    assert_eq!(waiting(&world), 0);
}

#[tokio::test]
async fn what_is_given_back_is_anothers_at_once_and_what_cannot_be_run_ends() {
    let world = world().await;
    open(&world, "team", "one").await;
    let first = work(&world).await;
    let (second, released) = tokio::join!(work(&world), release(&world, &first, None));
    assert_eq!(released.0, 204);
    assert_eq!(second.task_uid, "one");
    assert_eq!(renew(&world, &first).await.0, 401);
    assert_eq!(
        release(&world, &first, None).await.0,
        401,
        "not the other's"
    );
    assert_eq!(renew(&world, &second).await.0, 204);

    let why = "the assignment cannot be read";
    assert_eq!(release(&world, &second, Some(why)).await.0, 204);
    let failure = report(&world, "one").await.outcome.unwrap().failure;
    let failure = failure.unwrap();
    assert_eq!(
        (failure.class, &*failure.message),
        (FailureClass::Internal, why)
    );
    assert_eq!(waiting(&world), 0);
}

#[tokio::test]
async fn a_gateway_that_begins_anew_knows_the_claims_of_the_one_before() {
    let world = world().await;
    open(&world, "team", "one").await;
    open(&world, "team", "two").await;
    let held = work(&world).await;
    let anew = Pilots::new(&world.gateway.store);
    let holder = anew.holder(&held.capability.0).unwrap();
    assert_eq!((&*holder.task_uid, holder.attempt), (&*held.task_uid, 1));
    anew.renew(&held.capability.0).unwrap();
    assert_eq!(anew.waiting(&world.gateway.store), 1, "the other one");
    assert!(anew.holder("oarmaster-claim-guess").is_err());
}

#[tokio::test]
async fn the_queue_is_a_metric() {
    let world = world().await;
    open(&world, "team", "one").await;
    open(&world, "team", "two").await;
    work(&world).await;
    let metrics = world.metrics().await;
    assert!(metrics.contains("\noarmaster_pilot_queue 1\n"), "{metrics}");
}
