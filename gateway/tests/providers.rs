//! Provider calls of callers that are no Task: streams, failures, keys.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use common::upstream::{Reply, Upstream, completion};
use common::{World, ask, http_provider, members, usable};
use oarmaster_gateway::state::Gateway;
use serde_json::{Value, json};
use std::cell::Cell;
use std::time::Duration;

fn chunk(delta: Value, finish: Value) -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "upstream-model", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": null})
}

fn usage_chunk() -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "upstream-model", "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}})
}

fn hello() -> Vec<Value> {
    vec![
        chunk(json!({"role": "assistant", "content": ""}), Value::Null),
        chunk(json!({"content": "Hel"}), Value::Null),
        chunk(json!({"content": "lo"}), Value::Null),
        chunk(json!({}), json!("stop")),
        usage_chunk(),
    ]
}

fn streamed(text: &str) -> Value {
    let mut body = ask(text);
    body["stream"] = json!(true);
    body
}

/// A pool `fast` whose first member is `bad` and whose second is `good`.
async fn two_members() -> (World, Upstream, Upstream) {
    let (world, bad, good) = (
        World::start().await,
        Upstream::start().await,
        Upstream::start().await,
    );
    let mut silent = http_provider(&bad.url, &[]);
    silent["timeouts"]["firstToken"] = json!("2s");
    world.provider("team", "bad", silent).await;
    world
        .provider("team", "good", http_provider(&good.url, &[]))
        .await;
    world.pool("team", "fast", members(&["bad", "good"])).await;
    (world, bad, good)
}

#[tokio::test]
async fn an_answer_passes_with_the_providers_own_bytes() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &["k1"]).await;
    let user = world.user();
    let request = r#"{"model":"team/fast", "messages":[ {"role":"user","content":"\u00e9 1.50"} ],"temperature":1.50, "unknown_field": {"a":1.0}}"#;
    let response = world
        .http
        .post(format!("{}/v1/chat/completions", world.data))
        .bearer_auth(user)
        .body(request)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.json::<Value>().await.unwrap()["id"], "up");
    assert_eq!(upstream.got()[0].path, "/v1/chat/completions");
    let sent = &upstream.got()[0].body;
    assert!(
        sent.contains(r#"[ {"role":"user","content":"\u00e9 1.50"} ]"#)
            && sent.contains(r#""temperature":1.50"#),
        "{sent}"
    );
    assert!(
        sent.contains(r#""unknown_field":{"a":1.0}"#)
            && sent.contains(r#""model":"m""#)
            && !sent.contains("max_tokens"),
        "{sent}"
    );
    let total = world.gateway.store.sdk_total();
    assert_eq!(
        (total.calls, total.sum.cost_pico),
        (1, 10 * 1_000_000 + 5 * 2_000_000)
    );
}

#[tokio::test]
async fn a_stream_passes_and_usage_is_metered_and_stripped() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &[]).await;
    let user = world.user();
    upstream.reply(Reply::events(&hello(), true, false));
    let response = world.chat(user, streamed("hi")).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = response.text().await.unwrap();
    assert!(
        text.contains("Hel") && text.ends_with("data: [DONE]\n\n"),
        "{text}"
    );
    assert!(
        !text.contains("usage"),
        "the caller did not ask for usage: {text}"
    );
    let sent: Value = serde_json::from_str(&upstream.got()[0].body).unwrap();
    assert_eq!(sent["stream_options"]["include_usage"], true);
    assert_eq!(world.gateway.store.sdk_total().sum.output_tokens, 5);

    upstream.reply(Reply::events(&hello(), true, false));
    let mut body = streamed("hi");
    body["stream_options"] = json!({"include_usage": true});
    let text = world.chat(user, body).await.text().await.unwrap();
    assert!(text.contains("\"completion_tokens\":5"), "{text}");
}

#[tokio::test]
async fn a_cut_stream_ends_with_an_error_and_never_cleanly() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &[]).await;
    let user = world.user();
    let overloaded = json!({"error": {"message": "overloaded", "type": "overloaded_error"}});
    let start = &hello()[..2];
    for (reply, word) in [
        (Reply::events(start, false, true), "broke"),
        (Reply::events(start, false, false), "ended before"),
        (
            Reply::events(&[start, &[overloaded]].concat(), false, false),
            "overloaded",
        ),
        (
            Reply::events(&[start, &[json!("no chunk")]].concat(), true, false),
            "no chat completion chunk",
        ),
        (
            Reply::Pieces {
                kind: "text/event-stream",
                pieces: vec![
                    (0, format!("data: {}\n\n", start[1]).into_bytes()),
                    (5000, vec![]),
                ],
                cut: false,
            },
            "nothing came in time",
        ),
    ] {
        let before = world.gateway.store.sdk_total();
        upstream.reply(reply);
        let response = world.chat(user, streamed("hi")).await;
        assert_eq!(response.status(), 200, "{word}");
        let text = response.text().await.unwrap();
        assert!(
            text.contains("Hel") && text.contains("event: error\n") && text.contains(word),
            "{word}: {text}"
        );
        assert!(!text.contains("[DONE]"), "{word}: {text}");
        let after = world.gateway.store.sdk_total();
        assert!(
            after.sum.estimated && after.calls == before.calls + 1,
            "booked at its bound: {word}"
        );
    }
    let metrics = world.metrics().await;
    assert!(
        metrics.contains(r#"outcome="Transient"} 5"#) && !metrics.contains(r#"outcome="ok""#),
        "{metrics}"
    );
}

#[tokio::test]
async fn before_the_first_content_the_next_member_answers() {
    let error = json!({"error": {"message": "overloaded"}});
    for reply in [
        Reply::error(503, "overloaded", "later"),
        Reply::error(429, "rate_limit_exceeded", "slow down"),
        Reply::error(404, "model_not_found", "gone"),
        Reply::events(&hello()[..1], false, true),
        Reply::events(&hello()[..1], true, false),
        Reply::events(std::slice::from_ref(&error), true, false),
        Reply::Plain(200, "text/html", "<html>login</html>".into()),
        Reply::json(200, error),
        Reply::Silence,
    ] {
        // Each in a world of its own: some of them are remembered.
        let (world, bad, good) = two_members().await;
        let user = world.user();
        bad.reply(reply);
        good.reply(Reply::events(&hello(), true, false));
        let text = world.chat(user, streamed("hi")).await.text().await.unwrap();
        assert!(
            text.contains("Hel") && text.ends_with("data: [DONE]\n\n") && !text.contains("error"),
            "{text}"
        );
        assert_eq!((bad.got().len(), good.got().len()), (1, 1));
    }
}

#[tokio::test]
async fn the_callers_fault_is_told_and_asked_of_nobody_else() {
    let (world, bad, good) = two_members().await;
    let user = world.user();
    for (status, code) in [
        (400, "bad_value"),
        (422, "bad"),
        (400, "context_length_exceeded"),
    ] {
        bad.reply(Reply::error(status, code, "temperature is wrong"));
        let response = world.chat(user, ask("hi")).await;
        assert_eq!(response.status(), 400);
        assert!(
            response
                .text()
                .await
                .unwrap()
                .contains("temperature is wrong")
        );
    }
    assert!(good.got().is_empty());
    assert_eq!(
        world.gateway.store.sdk_total().calls,
        0,
        "a refusal costs nothing"
    );
}

#[tokio::test]
async fn an_answer_beyond_measure_is_a_failure_of_its_member() {
    let (world, bad, good) = two_members().await;
    let user = world.user();
    for (size, served) in [(7 << 20, &bad), (8 << 20, &good)] {
        bad.reply(Reply::json(200, completion(&"x".repeat(size), 1, 1)));
        let before = served.got().len();
        assert_eq!(world.chat(user, ask("hi")).await.status(), 200);
        assert_eq!(served.got().len(), before + 1, "{size}");
    }
    assert_eq!((bad.got().len(), good.got().len()), (2, 1));
}

#[tokio::test]
async fn a_refused_key_is_out_until_its_secret_changes() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &["first", "second"]).await;
    let user = world.user();
    upstream.reply(Reply::error(
        401,
        "invalid_api_key",
        "Incorrect API key provided: first",
    ));
    assert_eq!(world.chat(user, ask("hi")).await.status(), 200);
    assert_eq!(world.chat(user, ask("hi")).await.status(), 200);
    let keys: Vec<String> = upstream.got().into_iter().map(|got| got.key).collect();
    assert_eq!(keys, ["first", "second", "second"]);
    let report = serde_json::to_value(world.gateway.health.report()).unwrap();
    assert_eq!(report["providers"][0]["keys"][0]["state"], "Invalid");
    assert!(!report.to_string().contains("provided: first"), "{report}");

    world.kube.secret("team", "first", &[("key", b"rotated\n")]);
    world
        .until(|gateway| usable(gateway, "team", "up") == 2)
        .await;
    assert_eq!(world.chat(user, ask("hi")).await.status(), 200);
    assert_eq!(upstream.got().last().unwrap().key, "rotated");
}

#[tokio::test]
async fn keys_change_under_load_and_nobody_notices() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &["only"]).await;
    let user = world.user();
    let over = Cell::new(false);
    let load = async || {
        while !over.get() {
            assert_eq!(world.chat(user, ask("hi")).await.status(), 200);
        }
    };
    let rotate = async {
        for round in 1..=20 {
            let key = format!("key-{round}");
            world
                .kube
                .secret("team", "only", &[("key", key.as_bytes())]);
            let arrives = async {
                while upstream.got().last().is_none_or(|got| got.key != key) {
                    assert_eq!(world.chat(user, ask("hi")).await.status(), 200);
                }
            };
            let arrives = tokio::time::timeout(Duration::from_secs(5), arrives);
            arrives.await.expect("a new key is used within 5 s");
        }
        over.set(true);
    };
    tokio::join!(load(), load(), load(), rotate);
    let mut keys: Vec<String> = upstream.got().into_iter().map(|got| got.key).collect();
    keys.dedup();
    // Requests of two keys overlap for a moment; none comes with one that is long gone.
    let number = |key: &String| key.strip_prefix("key-").map_or(0, |n| n.parse().unwrap());
    let numbers: Vec<i32> = keys.iter().map(number).collect();
    let newest = numbers.iter().scan(0, |newest, number| {
        *newest = *number.max(newest);
        Some(*newest)
    });
    let late = newest.zip(&numbers).map(|(newest, number)| newest - number);
    assert!(late.max().unwrap() <= 1, "{numbers:?}");
    assert_eq!(numbers.last(), Some(&20));
}

#[tokio::test]
async fn each_bad_secret_has_its_state_and_recovers() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.kube.forbid_secret("team", "forbidden", true);
    for (name, value) in [
        ("empty", &b""[..]),
        ("lines", b"a\nb"),
        ("bytes", b"\xff\xfe"),
        ("space", b"a b"),
        ("fine", b"k\r\n"),
    ] {
        world.kube.secret("team", name, &[("key", value)]);
    }
    world.kube.secret("team", "nokey", &[("other", b"x")]);
    let names = [
        "missing",
        "forbidden",
        "empty",
        "lines",
        "bytes",
        "space",
        "nokey",
        "fine",
    ];
    world
        .provider("team", "up", http_provider(&upstream.url, &names))
        .await;
    world.pool("team", "fast", members(&["up"])).await;
    world
        .until(|gateway| {
            let report = serde_json::to_value(gateway.health.report()).unwrap();
            let states: Vec<&str> = report["providers"][0]["keys"]
                .as_array()
                .unwrap()
                .iter()
                .map(|key| key["state"].as_str().unwrap())
                .collect();
            states
                == [
                    "SecretMissing",
                    "SecretForbidden",
                    "SecretInvalid",
                    "SecretInvalid",
                    "SecretInvalid",
                    "SecretInvalid",
                    "SecretInvalid",
                    "Ok",
                ]
        })
        .await;
    let report = serde_json::to_value(world.gateway.health.report()).unwrap();
    let message = report["providers"][0]["keys"][1]["message"]
        .as_str()
        .unwrap();
    assert!(
        message.ends_with("kubectl create rolebinding oarmaster-gateway-keys --namespace team --clusterrole=oarmaster-gateway-keys --serviceaccount=oarmaster-system:oarmaster-gateway"),
        "{message}"
    );
    world.kube.secret("team", "missing", &[("key", b"here")]);
    world.kube.secret("team", "forbidden", &[("key", b"now")]);
    world.kube.forbid_secret("team", "forbidden", false);
    world
        .until(|gateway| usable(gateway, "team", "up") == 3)
        .await;
    world.kube.delete("secrets", "team", "missing");
    world
        .until(|gateway| usable(gateway, "team", "up") == 2)
        .await;
}

#[tokio::test]
async fn endpoints_that_do_not_answer_say_so() {
    let world = World::start().await;
    let user = world.user();
    for (name, url, word, forbidden) in [
        (
            "metadata",
            "http://169.254.169.254/v1",
            "private address",
            true,
        ),
        ("v6", "http://[fd00::1]/v1", "private address", true),
        (
            "refused",
            "http://127.0.0.1:1/v1",
            "failed to connect",
            false,
        ),
    ] {
        world.provider("team", name, http_provider(url, &[])).await;
        world.pool("team", "fast", members(&[name])).await;
        let told = |gateway: &Gateway| {
            let report = gateway.health.report();
            report.providers.into_iter().any(|provider| {
                let silent = provider.reachable.is_some_and(|seen| !seen.ok);
                provider.name == name
                    && (provider.unusable.is_some(), silent) == (forbidden, !forbidden)
            })
        };
        world.until(told).await;
        let response = world.chat(user, ask("hi")).await;
        assert_eq!(response.status(), 502);
        let text = response.text().await.unwrap();
        assert!(text.contains(word), "{text}");
        assert!(
            told(&world.gateway),
            "{name}: a caller's hop changed what the probe found"
        );
    }
    assert_eq!(
        world.gateway.store.sdk_total().calls,
        0,
        "nothing left, nothing is booked"
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_a_model_without_price_not_asked() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &["k1"]).await;
    let user = world.user();
    upstream.reply(Reply::Plain(307, "text/plain", String::new()));
    let response = world.chat(user, ask("hi")).await;
    assert_eq!(response.status(), 502);
    assert!(
        response
            .text()
            .await
            .unwrap()
            .contains("redirects are not followed")
    );

    let mut spec = http_provider(&upstream.url, &[]);
    spec["models"][0].as_object_mut().unwrap().remove("pricing");
    world.provider("team", "free", spec).await;
    world.pool("team", "fast", members(&["free"])).await;
    let response = world.chat(user, ask("hi")).await;
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"]["code"], "unknown_price");
    assert_eq!(upstream.got().len(), 1);
}

#[tokio::test]
async fn a_caller_who_leaves_is_billed_for_what_came() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &[]).await;
    let user = world.user();
    let mut pieces: Vec<(u64, Vec<u8>)> = hello()
        .iter()
        .map(|event| (100, format!("data: {event}\n\n").into_bytes()))
        .collect();
    pieces.push((0, b"data: [DONE]\n\n".to_vec()));
    upstream.reply(Reply::Pieces {
        kind: "text/event-stream",
        pieces,
        cut: false,
    });
    let mut response = world.chat(user, streamed("hi")).await;
    response.chunk().await.unwrap();
    drop(response);
    world
        .until(|gateway| gateway.store.sdk_total().sum.output_tokens == 5)
        .await;
    assert!(!world.gateway.store.sdk_total().sum.estimated);
}
