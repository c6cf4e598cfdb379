//! What a pilot needs to go on where another stopped: the journal, the parts of checkpoints, and the call that runs on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use common::{PILOT, UID, World, members, scripted};
use oarmaster_protocol::admin::TaskBudget;
use oarmaster_protocol::journal::{Blob, Body};
use oarmaster_protocol::task::Journal;
use serde_json::{Value, json};

async fn world() -> World {
    let world = World::start().await;
    let rules = json!([{"reply": {"text": "hi", "usage": {"inputTokens": 10, "outputTokens": 1}}}]);
    world.provider("team", "play", scripted(rules)).await;
    world.pool("team", "fast", members(&["play"])).await;
    world
}

fn ask(world: &World, method: &str, path: &str, session: &str) -> reqwest::RequestBuilder {
    let method = method.parse().unwrap();
    world
        .http
        .request(method, format!("{}/task/v1/{path}", world.data))
        .bearer_auth(PILOT)
        .header("oarmaster-session", session)
}

#[tokio::test]
async fn the_journal_is_read_in_pages_by_the_newest_session_alone() {
    let world = world().await;
    let claim = world.task(TaskBudget::default()).await;
    assert_eq!(claim.context_tokens, None, "nobody says it of this model");
    world
        .call(&claim.session, claim.next_call, claim.next, "fix it")
        .await;
    let page: Journal = ask(&world, "GET", "journal/0", &claim.session)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let seqs: Vec<u64> = page.records.iter().map(|record| record.seq).collect();
    assert_eq!(seqs, [0, 1, 2, 3]);
    assert!(matches!(page.records[3].body, Body::Answer { .. }));
    let rest = ask(&world, "GET", "journal/4", &claim.session);
    let rest: Journal = rest.send().await.unwrap().json().await.unwrap();
    assert_eq!(rest, Journal::default());
    for (session, path) in [("another", "journal/0"), (&*claim.session, "journal/x")] {
        let refused = ask(&world, "GET", path, session).send().await.unwrap();
        assert!(refused.status().is_client_error(), "{path}");
    }
}

/// The window is that of the member that takes the most, and unknown where it is unknown of one.
#[tokio::test]
async fn a_claim_says_how_much_the_pool_takes() {
    let world = World::start().await;
    let of = |tokens: Value| {
        let mut spec = scripted(json!([{"reply": {"text": "hi"}}]));
        spec["models"][0]["contextTokens"] = tokens;
        spec
    };
    world.provider("team", "small", of(json!(5000))).await;
    world.provider("team", "large", of(json!(9000))).await;
    world
        .pool("team", "fast", members(&["small", "large"]))
        .await;
    let claim = world.task(TaskBudget::default()).await;
    assert_eq!(claim.context_tokens, Some(9000));
}

#[tokio::test]
async fn parts_of_checkpoints_come_back_and_are_nobody_elses() {
    let world = world().await;
    let claim = world.task(TaskBudget::default()).await;
    let bytes = vec![7_u8; 3 << 20];
    let put = |bytes: Vec<u8>| {
        ask(&world, "PUT", "blobs", &claim.session)
            .body(bytes)
            .send()
    };
    let kept: Blob = put(bytes.clone()).await.unwrap().json().await.unwrap();
    assert_eq!(kept.digest, oarmaster_protocol::digest(&bytes));
    assert_eq!(put(vec![0; (8 << 20) + 1]).await.unwrap().status(), 413);
    let get = |digest: &str, session: &str| {
        ask(&world, "GET", &format!("blobs/{digest}"), session).send()
    };
    let back = get(&kept.digest, &claim.session).await.unwrap();
    assert_eq!(back.bytes().await.unwrap(), bytes);
    let wrong = get("sha256:00", &claim.session).await.unwrap();
    assert_eq!(wrong.status(), 404);
    let traversal = get("..%2f..%2flog", &claim.session).await.unwrap();
    assert_eq!(traversal.status(), 404);
    let stranger = get(&kept.digest, "another").await.unwrap();
    assert_eq!(stranger.status(), 409);
}

/// A follow-up reads the journal, and the workspace, of the Task that its assignment names, and of no other.
#[tokio::test]
async fn a_follow_up_reads_what_it_continues_and_nothing_else() {
    let world = world().await;
    let first = world.task(TaskBudget::default()).await;
    let kept = ask(&world, "PUT", "blobs", &first.session).body("kept");
    let kept: Blob = kept.send().await.unwrap().json().await.unwrap();
    let alone = ask(&world, "GET", "continued", &first.session);
    assert_eq!(alone.send().await.unwrap().status(), 404);

    let mut assignment = common::assignment();
    let (mine, theirs) = ("uid-follow", assignment["task"].clone());
    assignment["continues"] = theirs;
    assignment["task"] = json!({"namespace": "team", "name": "follow", "uid": mine});
    let store = &world.gateway.store;
    let request = json!({"runsIn": {"job": "follow-1"}, "assignment": assignment, "budget": {}});
    let request = serde_json::from_value(request).unwrap();
    store.open_attempt(mine, 1, request).await.unwrap();
    let assigned = world.gateway.assignments.get(store, mine, 1).await.unwrap();
    assert_eq!(assigned.continues.as_deref(), Some(UID));
    assert!(store.blob(mine, &kept.digest).await.is_err(), "not its own");
}

/// The next attempt has the answer of the one before under the number that it had.
#[tokio::test]
async fn another_attempt_is_given_what_was_answered() {
    let world = world().await;
    let claim = world.task(TaskBudget::default()).await;
    let first = world
        .call(&claim.session, claim.next_call, claim.next, "fix it")
        .await;
    world.pod(2);
    let report = world.open(2, TaskBudget::default()).await;
    let claimed: Value = world
        .http
        .post(format!("{}/task/v1/claim", world.data))
        .bearer_auth(common::token(2))
        .json(&json!({"assignment": report.assignment, "nonce": "second"}))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let session = claimed["session"].as_str().unwrap();
    let again = world
        .http
        .post(format!("{}/v1/chat/completions", world.data))
        .bearer_auth(common::token(2))
        .header("oarmaster-session", session)
        .header("oarmaster-call", claim.next_call)
        .header("oarmaster-next", claimed["next"].as_u64().unwrap())
        .json(&json!({"model": "team/fast", "messages": [{"role": "user", "content": "fix it"}], "max_tokens": 100}))
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), 200);
    assert_eq!(again.json::<Value>().await.unwrap(), first.2);
    assert_eq!(world.gateway.store.usage(UID).await.unwrap().calls, 1);
}
