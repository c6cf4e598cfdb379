//! Pools: who is asked first, what is remembered of failures, and what callers see of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use common::upstream::{Reply, Upstream};
use common::{World, ask, circuit, http_provider, members, usable};
use oarmaster_gateway::clock::since_epoch;
use oarmaster_protocol::admin::{CircuitHealth, KeyState, TaskBudget};
use serde_json::{Value, json};

/// Two providers, `one` and `two`, each with these fields more.
async fn two_providers(more: &Value) -> (World, Upstream, Upstream) {
    let world = World::start().await;
    let upstreams = (Upstream::start().await, Upstream::start().await);
    for (name, upstream) in [("one", &upstreams.0), ("two", &upstreams.1)] {
        let spec = with(http_provider(&upstream.url, &[]), more);
        world.provider("team", name, spec).await;
    }
    (world, upstreams.0, upstreams.1)
}

/// An object with more fields.
fn with(mut base: Value, more: &Value) -> Value {
    for (field, value) in more.as_object().unwrap() {
        base[field] = value.clone();
    }
    base
}

/// As [`two_providers`], and the pool `fast` of both with more of its spec.
async fn two(more: Value) -> (World, Upstream, Upstream) {
    let (world, one, two) = two_providers(&json!({})).await;
    let spec = with(json!({"members": members(&["one", "two"])}), &more);
    world.pool_with("team", "fast", spec).await;
    (world, one, two)
}

/// Status, provider, reason and hops of an answer.
fn told(response: &reqwest::Response) -> (u16, String, String, String) {
    let header = |name: &str| {
        let value = response.headers().get(name);
        value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
    };
    (
        response.status().as_u16(),
        header("x-oarmaster-provider"),
        header("x-oarmaster-reason"),
        header("x-oarmaster-hops"),
    )
}

fn answered(provider: &str, reason: &str, hops: u32) -> (u16, String, String, String) {
    (
        200,
        provider.to_owned(),
        reason.to_owned(),
        hops.to_string(),
    )
}

#[tokio::test]
async fn who_answered_and_why_is_told() {
    let (world, one, _) = two(json!({})).await;
    let user = world.user();
    let first = world.chat(user, ask("hi")).await;
    assert_eq!(first.headers()["x-oarmaster-model"], "m");
    assert_eq!(told(&first), answered("team/one", "Priority", 1));
    one.reply(Reply::error(500, "", "broken"));
    let second = world.chat(user, ask("hi")).await;
    assert_eq!(told(&second), answered("team/two", "Failover", 2));
    let metrics = world.metrics().await;
    for (provider, reason, count) in [("one", "Priority", 2), ("two", "Failover", 1)] {
        let line = format!(
            r#"oarmaster_model_choices_total{{pool="team/fast",provider="team/{provider}",model="m",reason="{reason}"}} {count}"#
        );
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn a_lane_that_asked_to_wait_is_left_alone_and_shown() {
    let (world, one, two) = two(json!({})).await;
    let user = world.user();
    one.reply(Reply::error(429, "rate_limit_exceeded", "slow down"));
    for reason_and_hops in [("Failover", 2), ("Failover", 1), ("Failover", 1)] {
        let answer = world.chat(user, ask("hi")).await;
        let (reason, hops) = reason_and_hops;
        assert_eq!(told(&answer), answered("team/two", reason, hops));
    }
    assert_eq!((one.got().len(), two.got().len()), (1, 3));
    let one = circuit(&world.gateway, "one");
    assert!(matches!(one, CircuitHealth::Open { until_ms } if until_ms > 0));
    assert_eq!(circuit(&world.gateway, "two"), CircuitHealth::Closed);
}

#[tokio::test]
async fn that_a_lane_may_be_tried_again_is_told_without_a_request() {
    // It reopens before the next telling of circuits is due.
    let breaker = json!({"cooldown": "1s", "maxCooldown": "1s"});
    let (world, one, _) = two(json!({ "breaker": breaker })).await;
    let user = world.user();
    assert_eq!(world.chat(user, ask("hi")).await.status(), 200);
    let mut changes = world.gateway.health.changes();
    one.reply(Reply::error(429, "rate_limit_exceeded", "slow down"));
    assert_eq!(world.chat(user, ask("hi")).await.status(), 200);
    let told = async {
        for _ in 0..2 {
            let (_, provider) = changes.recv().await.unwrap();
            assert_eq!(provider, "one");
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), told)
        .await
        .expect("told that it opened, and that it may be tried");
    assert_eq!(circuit(&world.gateway, "one"), CircuitHealth::HalfOpen);
}

#[tokio::test]
async fn failures_open_the_breaker_and_then_nobody_waits_for_them() {
    let breaker = json!({"errorPercent": 50, "window": "10m", "minRequests": 3, "cooldown": "10m", "maxCooldown": "1h"});
    let (world, one, two) = two(json!({ "breaker": breaker })).await;
    let user = world.user();
    for _ in 0..3 {
        one.reply(Reply::error(500, "", "broken"));
        let answer = world.chat(user, ask("hi")).await;
        assert_eq!(told(&answer), answered("team/two", "Failover", 2));
    }
    for _ in 0..3 {
        two.reply(Reply::error(502, "", "broken, too"));
        let answer = world.chat(user, ask("hi")).await;
        assert_eq!(answer.status(), 502);
    }
    // Both are out: refused at once, with a time.
    let refused = world.chat(user, ask("hi")).await;
    let wait = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!((1..=600).contains(&wait.parse::<u64>().unwrap()), "{wait}");
    assert_eq!(refused.status(), 503);
    let text = refused.text().await.unwrap();
    assert!(text.contains("ModelPool team/fast"), "{text}");
    assert_eq!((one.got().len(), two.got().len()), (3, 6));
    let metrics = world.metrics().await;
    for line in [
        "oarmaster_failovers_total{pool=\"team/fast\",class=\"Transient\"} 3",
        "oarmaster_breaker_state{provider=\"team/one\",model=\"m\"} 2",
        "oarmaster_breaker_state{provider=\"team/two\",model=\"m\"} 2",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn hops_are_bounded() {
    let (world, one, two) = two(json!({"failover": {"maxHops": 1}})).await;
    let user = world.user();
    one.reply(Reply::error(500, "", "broken"));
    let answer = world.chat(user, ask("hi")).await;
    assert_eq!(answer.status(), 502);
    assert!(answer.text().await.unwrap().contains("broken"));
    assert!(two.got().is_empty());
}

#[tokio::test]
async fn a_key_without_money_is_left_alone_with_every_model() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &["poor", "rich"]).await;
    let user = world.user();
    upstream.reply(Reply::error(429, "insufficient_quota", "no money"));
    for _ in 0..2 {
        assert_eq!(world.chat(user, ask("hi")).await.status(), 200);
    }
    let keys: Vec<String> = upstream.got().into_iter().map(|got| got.key).collect();
    assert_eq!(keys, ["poor", "rich", "rich"]);
    assert_eq!(usable(&world.gateway, "team", "up"), 1);
    let report = world.gateway.health.report();
    assert_eq!(report.providers[0].keys[0].state, KeyState::Exhausted);
    // Somebody paid, or took another account's key.
    world.kube.secret("team", "poor", &[("key", b"paid")]);
    world
        .until(|gateway| usable(gateway, "team", "up") == 2)
        .await;
}

#[tokio::test]
async fn the_cheapest_and_the_free_come_first() {
    let world = World::start().await;
    let upstream = Upstream::start().await;
    let mut spec = http_provider(&upstream.url, &[]);
    let model = |name: &str, price: &str| json!({"name": name, "pricing": {"inputPerMillion": price, "outputPerMillion": price}});
    let mut free = model("free", "0");
    free["freeQuota"] = json!({"requestsPerDay": 1});
    spec["models"] = json!([model("dear", "3"), model("cheap", "1"), free]);
    world.provider("team", "up", spec).await;
    let members: Vec<Value> = ["dear", "cheap", "free"]
        .iter()
        .map(|model| json!({"provider": {"name": "up"}, "model": model}))
        .collect();
    let user = world.user();
    for (pool, strategy) in [("fast", "FreeFirst"), ("low", "Cheapest")] {
        let spec = json!({"strategy": strategy, "members": members});
        world.pool_with("team", pool, spec).await;
    }
    world
        .kube
        .allow("system:serviceaccount:team:app use modelpools team/low");
    let mut asked = Vec::new();
    for pool in ["fast", "fast", "low"] {
        let mut body = ask("hi");
        body["model"] = json!(format!("team/{pool}"));
        let answer = world.chat(user, body).await;
        let model = answer.headers()["x-oarmaster-model"].to_str().unwrap();
        asked.push(format!("{model} {}", told(&answer).2));
    }
    assert_eq!(asked, ["free Free", "cheap Cheapest", "free Cheapest"]);
}

#[tokio::test]
async fn an_alias_means_its_pool_and_tells_nobody_else_which() {
    let (world, one, _) = two(json!({"aliases": ["gpt-4o"]})).await;
    let user = world.user();
    let mut body = ask("hi");
    body["model"] = json!("gpt-4o");
    assert_eq!(world.chat(user, body.clone()).await.status(), 200);
    assert!(one.got()[0].body.contains(r#""model":"m""#));
    world.kube.token(
        "stranger",
        "system:serviceaccount:team:other",
        "oarmaster-gateway",
        None,
    );
    let refused = world.chat("stranger", body).await;
    assert_eq!(refused.status(), 403);
    let text = refused.text().await.unwrap();
    assert!(
        text.contains("alias gpt-4o") && !text.contains("fast"),
        "{text}"
    );
}

#[tokio::test]
async fn a_suspended_pool_takes_no_calls_until_it_is_resumed() {
    let (world, one, _) = two(json!({"suspend": true})).await;
    let user = world.user();
    let refused = world.chat(user, ask("hi")).await;
    assert_eq!(refused.status(), 503);
    let text = refused.text().await.unwrap();
    assert!(
        text.contains("suspended") && text.contains("kubectl patch"),
        "{text}"
    );
    assert!(one.got().is_empty());
    world.pool("team", "fast", members(&["one"])).await;
    assert_eq!(world.chat(user, ask("hi")).await.status(), 200);
}

#[tokio::test]
async fn a_tasks_call_outlasts_a_failure_that_passes() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &["k"]).await;
    let claim = world.task(TaskBudget::default()).await;
    upstream.reply(Reply::error(503, "overloaded", "later"));
    let (status, next, body) = world
        .call(&claim.session, claim.next_call, claim.next, "hi")
        .await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(upstream.got().len(), 2, "asked again by itself");
    assert!(next.is_some_and(|next| next > claim.next));

    // A wrong request is not asked again, however long the call may wait.
    upstream.reply(Reply::error(400, "bad", "temperature is wrong"));
    let next = next.unwrap();
    let (status, ..) = world
        .call(&claim.session, claim.next_call + 1, next, "hi")
        .await;
    assert_eq!((status, upstream.got().len()), (400, 3));
}

#[tokio::test]
async fn what_the_owner_allows_is_kept_and_the_rest_goes_elsewhere() {
    let limits = json!({"limits": {"requestsPerMinute": 2}});
    let (world, one, two) = two_providers(&limits).await;
    world.pool("team", "fast", members(&["one", "two"])).await;
    let user = world.user();
    for _ in 0..4 {
        assert_eq!(world.chat(user, ask("hi")).await.status(), 200);
    }
    assert_eq!((one.got().len(), two.got().len()), (2, 2));
    let refused = world.chat(user, ask("hi")).await;
    let wait = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!((1..=30).contains(&wait.parse::<u64>().unwrap()), "{wait}");
    assert_eq!(refused.status(), 429);
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["error"]["code"], "rate_limited", "{body}");
}

#[tokio::test]
async fn a_picture_goes_to_a_model_that_reads_pictures() {
    let (world, one, two) = (
        World::start().await,
        Upstream::start().await,
        Upstream::start().await,
    );
    let mut members = Vec::new();
    for (name, upstream, model) in [("one", &one, "gpt-3.5-turbo"), ("two", &two, "gpt-4o")] {
        let more = json!({"type": "OpenAI", "models": [{"name": model}]});
        let spec = with(http_provider(&upstream.url, &[]), &more);
        world.provider("team", name, spec).await;
        members.push(json!({"provider": {"name": name}, "model": model}));
    }
    world.pool("team", "fast", json!(members)).await;
    let user = world.user();
    let answer = world.chat(user, ask("hi")).await;
    assert_eq!(told(&answer), answered("team/one", "Priority", 1));
    let mut body = ask("hi");
    let picture = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}});
    body["messages"][0]["content"] = json!([picture]);
    let answer = world.chat(user, body.clone()).await;
    assert_eq!(told(&answer), answered("team/two", "Priority", 1));
    assert_eq!((one.got().len(), two.got().len()), (1, 1));
    // The provider's word is the last, where nobody else has one.
    two.reply(Reply::error(500, "", "broken"));
    let answer = world.chat(user, body).await;
    assert_eq!(told(&answer), answered("team/one", "Failover", 2));
}

#[tokio::test]
async fn keys_are_drawn_by_their_weights_and_one_without_comes_after_the_others() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    for key in ["large", "small", "spare"] {
        world.kube.secret("team", key, &[("key", key.as_bytes())]);
    }
    let mut spec = http_provider(&upstream.url, &["large", "small", "spare"]);
    for (at, weight) in [3, 1, 0].into_iter().enumerate() {
        spec["keys"][at]["weight"] = json!(weight);
    }
    world.provider("team", "up", spec).await;
    world.pool("team", "fast", members(&["up"])).await;
    world
        .until(|gateway| usable(gateway, "team", "up") == 3)
        .await;
    let user = world.user();
    let asked = |key: &str| upstream.got().iter().filter(|got| got.key == key).count();
    // That a share of a quarter gets none of a hundred is as good as impossible, and so is that it gets more than the rest.
    for _ in 0..100 {
        assert_eq!(world.chat(user, ask("hi")).await.status(), 200);
    }
    let (large, small) = (asked("large"), asked("small"));
    assert!(large > small && small > 0, "{large} {small}");
    assert_eq!(asked("spare"), 0);
    // Each key has its own health.
    for _ in ["large", "small"] {
        upstream.reply(Reply::error(401, "invalid_api_key", "no"));
    }
    assert_eq!(world.chat(user, ask("hi")).await.status(), 200);
    assert_eq!(asked("spare"), 1);
}

/// As [`two`] with `FreeFirst`; the provider `one` costs nothing.
async fn free_first() -> (World, Upstream, Upstream) {
    let (world, one, two) = two(json!({"strategy": "FreeFirst"})).await;
    let mut free = http_provider(&one.url, &[]);
    free["models"][0]["pricing"] = json!({"inputPerMillion": "0", "outputPerMillion": "0"});
    world.provider("team", "one", free).await;
    (world, one, two)
}

#[tokio::test]
async fn a_quota_that_a_provider_says_is_used_up_is_not_asked_for() {
    let spent = |reply: Reply| {
        reply
            .header("x-ratelimit-remaining", "0")
            .header("x-ratelimit-reset", "600")
    };
    let daily = json!({"error": {"code": 429, "message": "Rate limit exceeded: free-models-per-day", "metadata": {
        "headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "4102444800000"}}}});
    let stream = Reply::events(
        &[json!({"choices": [{"index": 0, "delta": {"content": "ok"}, "finish_reason": "stop"}]})],
        true,
        false,
    );
    for (reply, streams, first) in [
        (spent(Reply::answer("last")), false, "team/one"),
        (spent(stream), true, "team/one"),
        // The same call goes on after a refusal.
        (Reply::json(429, daily), false, "team/two"),
        (
            Reply::error(429, "", "slow down").header("retry-after", "600"),
            false,
            "team/two",
        ),
    ] {
        let (world, one, two) = free_first().await;
        let user = world.user();
        one.reply(reply);
        let mut body = ask("hi");
        body["stream"] = json!(streams);
        let response = world.chat(user, body).await;
        assert_eq!(response.headers()["x-oarmaster-provider"], first);
        response.bytes().await.unwrap();
        // It comes after the others, which is no failover, until it is there again.
        let answer = world.chat(user, ask("hi")).await;
        assert_eq!(told(&answer), answered("team/two", "Cheapest", 1));
        assert_eq!(one.got().len(), 1);
        let circuit = circuit(&world.gateway, "one");
        let CircuitHealth::Open { until_ms } = circuit else {
            panic!("{circuit:?}");
        };
        let wait = until_ms - i64::try_from(since_epoch().as_millis()).unwrap();
        assert!((500_000..=86_400_000).contains(&wait), "{wait}");
        drop(two);
    }
}

#[tokio::test]
async fn another_key_has_a_quota_of_its_own() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &["only"]).await;
    let user = world.user();
    let slow = Reply::error(429, "rate_limit_exceeded", "slow down");
    upstream.reply(slow.header("retry-after", "600"));
    for _ in 0..2 {
        let refused = world.chat(user, ask("hi")).await;
        assert!(refused.headers().contains_key("retry-after"));
        assert_ne!(refused.status(), 200);
    }
    assert_eq!(upstream.got().len(), 1);
    world.kube.secret("team", "only", &[("key", b"another")]);
    world
        .until(|gateway| matches!(circuit(gateway, "up"), CircuitHealth::Closed))
        .await;
    assert_eq!(world.chat(user, ask("hi")).await.status(), 200);
    assert_eq!(upstream.got().last().unwrap().key, "another");
}

#[tokio::test]
async fn callers_are_told_when_a_used_up_quota_is_there_again() {
    let (world, one, _) = two(json!({"members": members(&["one"])})).await;
    let user = world.user();
    one.reply(
        Reply::answer("last")
            .header("x-ratelimit-remaining-tokens", "0")
            .header("x-ratelimit-reset-tokens", "1m26.4s"),
    );
    assert_eq!(world.chat(user, ask("hi")).await.status(), 200);
    let refused = world.chat(user, ask("hi")).await;
    assert_eq!(refused.status(), 429);
    let wait = refused.headers()["retry-after"].to_str().unwrap();
    assert!((80..=87).contains(&wait.parse::<u64>().unwrap()), "{wait}");
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["error"]["code"], "rate_limited", "{body}");
    assert!(
        body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("is used up, as their providers say"),
        "{body}"
    );
    assert_eq!(one.got().len(), 1);
}
