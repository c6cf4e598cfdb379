//! A pool whose first provider does nothing but fail, in every way there is: callers hardly notice. `OARMASTER_FAULTS=full` asks ten thousand
//! times each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use common::upstream::{Reply, Upstream};
use common::{World, ask, http_provider, members};
use futures::StreamExt;
use serde_json::{Value, json};

/// Callers at once.
const CALLERS: usize = 2;
/// A stream that breaks after its first content is lost to its caller. There are as many as it takes for the breaker to open, those on their way
/// then, and the single ones that try again later: under one in a thousand of ten thousand.
const MOST_LOST: usize = 9;

fn times() -> usize {
    if std::env::var("OARMASTER_FAULTS").is_ok_and(|value| value == "full") {
        10_000
    } else {
        200
    }
}

fn chunk(text: &str, end: Option<&str>) -> Value {
    json!({
        "id": "up", "object": "chat.completion.chunk", "created": 1, "model": "upstream-model",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": end}],
    })
}

fn counted() -> Value {
    json!({
        "id": "up", "object": "chat.completion.chunk", "created": 1, "model": "upstream-model", "choices": [],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    })
}

/// Whether the caller got the whole answer.
async fn served(world: &World, user: &str, number: usize) -> bool {
    let mut body = ask("hi");
    let stream = number.is_multiple_of(2);
    body["stream"] = json!(stream);
    let response = world.chat(user, body).await;
    if response.status() != 200 {
        return false;
    }
    let text = response.text().await.unwrap_or_default();
    if stream {
        text.ends_with("data: [DONE]\n\n") && text.contains("ok") && !text.contains("error")
    } else {
        serde_json::from_str::<Value>(&text).unwrap()["choices"][0]["message"]["content"] == "ok"
    }
}

/// Asks a pool whose first provider is at `bad` and whose second is sound. Returns how many callers got no answer.
async fn lost(bad: &str, more: &Value) -> usize {
    let (world, good) = (World::start().await, Upstream::start().await);
    good.when_streamed(Reply::events(
        &[chunk("ok", None), chunk("", Some("stop")), counted()],
        true,
        false,
    ));
    let mut spec = http_provider(bad, &[]);
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    world.provider("team", "bad", spec).await;
    let spec = http_provider(&good.url, &[]);
    world.provider("team", "good", spec).await;
    world.pool("team", "fast", members(&["bad", "good"])).await;
    let user = world.user();
    let (times, world) = (times(), &world);
    let served = futures::stream::iter(0..times)
        .map(|number| served(world, user, number))
        .buffer_unordered(CALLERS);
    let answers = served.filter(|served| std::future::ready(*served)).count();
    let answers = answers.await;
    let total = world.gateway.store.sdk_total();
    let billed = u64::try_from(good.got().len()).unwrap() * 5;
    assert!(total.sum.output_tokens >= billed, "{total:?} {billed}");
    times - answers
}

async fn lost_to(reply: Reply, more: Value) -> usize {
    let bad = Upstream::start().await;
    bad.always(reply);
    let lost = lost(&bad.url, &more).await;
    assert!(!bad.got().is_empty(), "it was asked first");
    lost
}

#[tokio::test]
async fn a_provider_that_refuses_connections() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(lost(&nobody, &json!({})).await, 0);
}

#[tokio::test]
async fn a_provider_that_says_nothing() {
    let soon = json!({"timeouts": {"firstToken": "1s", "response": "1s"}});
    assert_eq!(lost_to(Reply::Silence, soon).await, 0);
}

#[tokio::test]
async fn a_provider_that_fails_with_a_status() {
    for reply in [
        Reply::error(429, "rate_limit_exceeded", "slow down"),
        Reply::error(500, "server_error", "sorry"),
    ] {
        assert_eq!(lost_to(reply, json!({})).await, 0);
    }
}

#[tokio::test]
async fn a_provider_that_fails_with_the_status_of_success() {
    let reply = Reply::error(200, "server_error", "sorry");
    assert_eq!(lost_to(reply, json!({})).await, 0);
}

#[tokio::test]
async fn a_provider_that_breaks_off_in_the_middle() {
    let cut = Reply::events(&[chunk("o", None)], false, true);
    let lost = lost_to(cut, json!({})).await;
    assert!(lost <= MOST_LOST, "{lost} lost");
}
