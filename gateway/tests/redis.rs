//! What holds with and without Redis, what two gateways share through it, and what they do without it when it is gone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use common::redis::Server;
use common::upstream::{Reply, Upstream};
use common::{World, ask, circuit, members};
use oarmaster_gateway::state::Gateway;
use oarmaster_protocol::admin::CircuitHealth;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A pool team/fast at the upstream that keeps answers, with these limits. The same calls make the same objects in each world.
async fn prepare(world: &World, upstream: &Upstream, limits: &Value) {
    world.upstream(upstream, &["k"]).await;
    let mut spec = limits.clone();
    spec["members"] = members(&["up"]);
    spec["cache"] = json!({"mode": "Exact"});
    world.pool_with("team", "fast", spec).await;
}

async fn with_redis(server: &Server, upstream: &Upstream, limits: &Value) -> World {
    let world = World::with_redis(&server.url()).await;
    prepare(&world, upstream, limits).await;
    world.until(answers).await;
    world
}

/// Two gateways of one Redis.
async fn two(server: &Server, upstream: &Upstream, limits: &Value) -> [World; 2] {
    [
        with_redis(server, upstream, limits).await,
        with_redis(server, upstream, limits).await,
    ]
}

fn answers(gateway: &Gateway) -> bool {
    gateway.redis.as_ref().unwrap().answers()
}

fn sure(text: &str) -> Value {
    let mut body = ask(text);
    body["temperature"] = json!(0);
    body
}

/// Status and what the header says of the cache.
async fn asked(world: &World, body: Value) -> (u16, String) {
    let answer = world.chat(world.user(), body).await;
    let header = answer.headers().get("x-oarmaster-cache");
    let header = header
        .map_or("", |value| value.to_str().unwrap())
        .to_owned();
    (answer.status().as_u16(), header)
}

fn hit() -> (u16, String) {
    (200, "hit".to_owned())
}

fn miss() -> (u16, String) {
    (200, "miss".to_owned())
}

/// What both back ends hold.
async fn contract(world: &World, upstream: &Upstream) {
    // Answers.
    upstream.reply(Reply::answer("first"));
    assert_eq!(asked(world, sure("hi")).await, miss());
    assert_eq!(asked(world, sure("hi")).await, hit());
    upstream.reply(Reply::error(400, "bad", "wrong"));
    assert_eq!(asked(world, sure("ho")).await.0, 400);
    assert_eq!(asked(world, sure("ho")).await, miss());
    // Three requests passed; a fourth passes, a fifth does not, and hits are none.
    assert_eq!(asked(world, ask("x")).await.0, 200);
    let refused = world.chat(world.user(), ask("x")).await;
    let wait = refused.headers()["retry-after"].to_str().unwrap();
    assert!((1..=15).contains(&wait.parse::<u64>().unwrap()), "{wait}");
    assert_eq!(refused.status(), 429);
    let text = refused.text().await.unwrap();
    assert!(text.contains("callerLimits.requestsPerMinute"), "{text}");
    assert_eq!(asked(world, sure("hi")).await, hit());
}

const LIMITS: &str = r#"{"callerLimits": {"requestsPerMinute": 4, "tokensPerMinute": 1000000}}"#;

fn limits() -> Value {
    serde_json::from_str(LIMITS).unwrap()
}

#[tokio::test]
async fn the_process_holds_the_contract_alone() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    prepare(&world, &upstream, &limits()).await;
    contract(&world, &upstream).await;
}

#[tokio::test]
async fn it_holds_with_redis_and_another_gateway_knows_what_this_one_did() {
    let Some(server) = Server::start() else {
        return;
    };
    let upstream = Upstream::start().await;
    let [one, two] = two(&server, &upstream, &limits()).await;
    contract(&one, &upstream).await;
    assert_eq!(asked(&two, sure("hi")).await, hit());
    assert_eq!(asked(&two, ask("x")).await.0, 429);
    let keys = server.keys().await;
    assert!(!keys.is_empty());
    for (name, left) in keys {
        assert!(left > 0 && left <= 3_600_000, "{name} goes in {left} ms");
        let (tag, answer) = ("oarmaster:{pool/team/fast}:", "oarmaster:answer:");
        assert!(name.starts_with(tag) || name.starts_with(answer), "{name}");
    }
    let metrics = two.metrics().await;
    let line = r#"oarmaster_redis_operations_total{operation="get",outcome="ok"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn tokens_are_corrected_for_everybody() {
    let Some(server) = Server::start() else {
        return;
    };
    let upstream = Upstream::start().await;
    let limits = json!({"limits": {"tokensPerMinute": 200}});
    let world = with_redis(&server, &upstream, &limits).await;
    assert_eq!(asked(&world, ask("x")).await.0, 200);
    // More than 100 tokens were expected, which come back in more than 30 s; the answer had 15, which do in 4.5 s.
    let begun = Instant::now();
    loop {
        let keys = server.keys().await;
        let bucket = keys
            .iter()
            .find(|(name, _)| name.contains("tokensPerMinute"));
        if bucket.is_none_or(|(_, left)| *left <= 4500) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{keys:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_a_providers_owner_allows_is_for_all_gateways() {
    let Some(server) = Server::start() else {
        return;
    };
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let mut worlds = Vec::new();
    for _ in 0..2 {
        let world = World::with_redis(&server.url()).await;
        for (name, upstream) in [("one", &first), ("two", &second)] {
            let mut spec = common::http_provider(&upstream.url, &[]);
            spec["limits"] = json!({"requestsPerMinute": 2});
            world.provider("team", name, spec).await;
        }
        world.pool("team", "fast", members(&["one", "two"])).await;
        world.until(answers).await;
        worlds.push(world);
    }
    for number in 0..4 {
        let (status, _) = asked(&worlds[number % 2], ask("hi")).await;
        assert_eq!(status, 200, "{number}");
    }
    assert_eq!((first.got().len(), second.got().len()), (2, 2));
    for world in &worlds {
        let refused = world.chat(world.user(), ask("hi")).await;
        let wait = refused.headers()["retry-after"].to_str().unwrap();
        assert!((1..=30).contains(&wait.parse::<u64>().unwrap()), "{wait}");
        assert_eq!(refused.status(), 429);
    }
}

#[tokio::test]
async fn what_one_gateway_leaves_alone_the_others_do_too() {
    let Some(server) = Server::start() else {
        return;
    };
    let upstream = Upstream::start().await;
    let [one, two] = two(&server, &upstream, &json!({})).await;
    let slow = Reply::error(429, "rate_limit_exceeded", "slow down");
    upstream.reply(slow.header("retry-after", "600"));
    let refused = asked(&one, ask("x")).await;
    assert_ne!(refused.0, 200);
    two.until(|gateway| matches!(circuit(gateway, "up"), CircuitHealth::Open { .. }))
        .await;
    let refused = two.chat(two.user(), ask("x")).await;
    let wait = refused.headers()["retry-after"].to_str().unwrap();
    assert!(
        (500..=600).contains(&wait.parse::<u64>().unwrap()),
        "{wait}"
    );
    assert_eq!(refused.status(), 503);
    assert_eq!(upstream.got().len(), 1, "the second did not find out anew");
    // It is about this provider as it is now.
    let edited = common::http_provider(&upstream.url, &["k"]);
    two.provider("team", "up", edited).await;
    two.until(|gateway| common::usable(gateway, "team", "up") == 1)
        .await;
    assert_eq!(asked(&two, ask("x")).await.0, 200);
}

#[tokio::test]
async fn what_one_gateway_knows_to_be_used_up_the_others_do_not_ask_for() {
    let Some(server) = Server::start() else {
        return;
    };
    let upstream = Upstream::start().await;
    let [one, two] = two(&server, &upstream, &json!({})).await;
    let last = Reply::answer("last").header("x-ratelimit-remaining", "0");
    upstream.reply(last.header("x-ratelimit-reset", "600"));
    assert_eq!(asked(&one, ask("x")).await.0, 200);
    two.until(|gateway| matches!(circuit(gateway, "up"), CircuitHealth::Open { .. }))
        .await;
    assert_ne!(asked(&two, ask("x")).await.0, 200);
    assert_eq!(upstream.got().len(), 1, "the second did not find out anew");
}

/// Calls both gateways until `enough`; every call is answered, and the ledger has each.
async fn call_on(worlds: [&World; 2], upstream: &Upstream, mut enough: impl FnMut() -> bool) {
    let mut number = 0;
    while !enough() || number < 10 {
        for world in worlds {
            let mut body = sure(&format!("call {number}"));
            body["seed"] = json!(number % 7);
            let (status, _) = asked(world, body).await;
            assert_eq!(status, 200);
            number += 1;
        }
    }
    let mut booked = 0;
    for world in worlds {
        let metrics = world.metrics().await;
        let line = metrics
            .lines()
            .find(|line| line.contains("tokens_total") && line.contains(r#"kind="output""#));
        let count = line.and_then(|line| line.rsplit(' ').next());
        booked += count.map_or(0, |count| count.parse().unwrap());
    }
    assert_eq!(booked, 5 * upstream.got().len(), "each answer has 5 tokens");
}

#[tokio::test]
async fn without_redis_calls_go_on_and_money_is_as_it_was() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let upstream = Upstream::start().await;
    let many = json!({"limits": {"requestsPerMinute": 1_000_000}, "callerLimits": {"tokensPerMinute": 1_000_000_000}});
    let [one, two] = two(&server, &upstream, &many).await;
    let both = [&one, &two];
    call_on(both, &upstream, || true).await;

    server.flush().await;
    call_on(both, &upstream, || true).await;

    server.kill();
    call_on(both, &upstream, || !answers(&one.gateway)).await;
    let metrics = one.metrics().await;
    assert!(metrics.contains(r#"outcome="failed"#), "{metrics}");
    server.restart();
    one.until(answers).await;
    two.until(answers).await;
    call_on(both, &upstream, || true).await;

    server.pause();
    let paused = Instant::now();
    while paused.elapsed() < Duration::from_secs(10) {
        call_on(both, &upstream, || true).await;
    }
    server.go_on();
    one.until(answers).await;
    two.until(answers).await;
    call_on(both, &upstream, || true).await;
}

#[tokio::test]
async fn a_gateway_starts_and_serves_without_redis() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = format!("redis+unix://{}", dir.path().join("none").display());
    let (world, upstream) = (World::with_redis(&nowhere).await, Upstream::start().await);
    prepare(&world, &upstream, &limits()).await;
    contract(&world, &upstream).await;
    assert!(!answers(&world.gateway));
}
