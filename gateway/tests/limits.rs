//! What a pool's owner allows its callers: all together, and each by itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use common::upstream::{Reply, Upstream, completion};
use common::{World, ask, members};
use oarmaster_protocol::admin::TaskBudget;
use serde_json::{Value, json};

async fn world(limits: Value) -> (World, Upstream) {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &["k"]).await;
    let mut spec = limits;
    spec["members"] = members(&["up"]);
    world.pool_with("team", "fast", spec).await;
    (world, upstream)
}

/// A second user who may use team/fast.
fn other(world: &World) -> &'static str {
    let name = "system:serviceaccount:team:other";
    world
        .kube
        .token("other-token", name, "oarmaster-gateway", None);
    world
        .kube
        .allow(&format!("{name} use modelpools team/fast"));
    "other-token"
}

/// Status, seconds to wait, and message.
async fn refusal(answer: reqwest::Response) -> (u16, u64, String) {
    let status = answer.status().as_u16();
    let wait = answer.headers().get("retry-after");
    let wait = wait.map_or(0, |wait| wait.to_str().unwrap().parse().unwrap());
    let body: Value = answer.json().await.unwrap();
    let error = &body["error"];
    (status, wait, error["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn each_caller_has_its_own_limit_and_is_told_which() {
    let (world, upstream) = world(json!({"callerLimits": {"requestsPerMinute": 2}})).await;
    let (user, other) = (world.user(), other(&world));
    for _ in 0..2 {
        assert_eq!(world.chat(user, ask("hi")).await.status(), 200);
    }
    let (status, wait, message) = refusal(world.chat(user, ask("hi")).await).await;
    assert_eq!(status, 429, "{message}");
    assert!((1..=30).contains(&wait), "{wait}");
    assert!(
        message.contains("team/fast") && message.contains("spec.callerLimits.requestsPerMinute"),
        "{message}"
    );
    assert_eq!(world.chat(other, ask("hi")).await.status(), 200);
    assert_eq!(upstream.got().len(), 3, "nothing was asked for the refused");
    let line = r#"oarmaster_limit_refusals_total{pool="team/fast",whose="callerLimits",limit="requestsPerMinute"} 1"#;
    let metrics = world.metrics().await;
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn a_refusal_is_in_the_callers_own_words() {
    let (world, _upstream) = world(json!({"limits": {"requestsPerMinute": 1}})).await;
    let user = world.user();
    assert_eq!(world.chat(user, ask("hi")).await.status(), 200);
    let answer = world.post("/v1/messages", user, ask("hi")).await;
    assert_eq!(answer.status(), 429);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(
        (&body["type"], &body["error"]["type"]),
        (&json!("error"), &json!("rate_limit_error")),
        "{body}"
    );
    let streamed =
        json!({"model": "fast", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let (status, _, message) = refusal(world.chat(user, streamed).await).await;
    assert_eq!(status, 429, "{message}");
}

#[tokio::test]
async fn a_caller_has_so_many_calls_at_once() {
    let (world, upstream) = world(json!({"callerLimits": {"concurrency": 1}})).await;
    let (user, other) = (world.user(), other(&world));
    upstream.reply(Reply::Held(completion("late", 1, 1)));
    let running = world.chat(user, ask("slow"));
    tokio::pin!(running);
    let refused = async {
        while upstream.got().is_empty() {
            tokio::task::yield_now().await;
        }
        refusal(world.chat(user, ask("hi")).await).await
    };
    let (status, wait, message) = tokio::select! {
        _ = &mut running => panic!("the held call has ended"),
        refused = refused => refused,
    };
    assert_eq!((status, wait), (429, 1), "{message}");
    assert!(message.contains("callerLimits.concurrency"), "{message}");
    assert_eq!(world.chat(other, ask("hi")).await.status(), 200);
    upstream.release();
    assert_eq!(running.await.status(), 200);
    assert_eq!(world.chat(user, ask("hi")).await.status(), 200);
}

#[tokio::test]
async fn the_call_of_a_task_waits_for_its_turn() {
    let (world, upstream) = world(json!({"limits": {"concurrency": 1}})).await;
    let claim = world.task(TaskBudget::default()).await;
    let user = world.user();
    upstream.reply(Reply::Held(completion("late", 1, 1)));
    let running = world.chat(user, ask("slow"));
    let waiting = async {
        while upstream.got().is_empty() {
            tokio::task::yield_now().await;
        }
        let waits = world.call(&claim.session, claim.next_call, claim.next, "hi");
        tokio::pin!(waits);
        // It is refused to nobody who waits: a caller who does not is, meanwhile.
        tokio::select! {
            ended = &mut waits => panic!("it did not wait: {ended:?}"),
            refused = world.chat(user, ask("hi")) => assert_eq!(refused.status(), 429),
        }
        upstream.release();
        waits.await
    };
    let (running, (status, _, body)) = tokio::join!(running, waiting);
    assert_eq!((running.status().as_u16(), status), (200, 200), "{body}");
    assert_eq!(upstream.got().len(), 2);
}

#[tokio::test]
async fn what_a_budget_refuses_takes_nothing() {
    let (world, _upstream) = world(json!({"limits": {"requestsPerMinute": 1}})).await;
    let claim = world
        .task(TaskBudget {
            tokens: Some(1),
            ..TaskBudget::default()
        })
        .await;
    let (status, _, body) = world
        .call(&claim.session, claim.next_call, claim.next, "hi")
        .await;
    assert_eq!(status, 429, "{body}");
    assert_eq!(body["error"]["code"], "budget_exceeded", "{body}");
    assert_eq!(world.chat(world.user(), ask("hi")).await.status(), 200);
}
