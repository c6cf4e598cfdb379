//! Answers that a pool keeps: which are given again, to whom, and what that costs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use common::upstream::{Reply, Upstream, completion};
use common::{PILOT, UID, World, ask, assignment, members};
use oarmaster_protocol::admin::TaskBudget;
use oarmaster_protocol::journal::{Body, CallUsage};
use serde_json::{Value, json};

/// A pool team/fast that keeps answers.
async fn world(cache: Value) -> (World, Upstream) {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &["k"]).await;
    pool(&world, cache, json!({})).await;
    (world, upstream)
}

async fn pool(world: &World, cache: Value, more: Value) {
    let mut spec = json!({"members": members(&["up"]), "cache": {"mode": "Exact"}});
    for (from, into) in [(cache, "/cache"), (more, "")] {
        let into = spec.pointer_mut(into).unwrap().as_object_mut().unwrap();
        into.extend(from.as_object().unwrap().clone());
    }
    world.pool_with("team", "fast", spec).await;
}

/// A request whose answer is not drawn at random.
fn sure(text: &str) -> Value {
    let mut body = ask(text);
    body["temperature"] = json!(0);
    body
}

/// What the header says of the cache, with the status.
fn cache(answer: &reqwest::Response) -> (u16, String) {
    let header = answer.headers().get("x-oarmaster-cache");
    let header = header.map_or("", |value| value.to_str().unwrap());
    (answer.status().as_u16(), header.to_owned())
}

async fn asked(world: &World, token: &str, body: Value) -> (u16, String) {
    cache(&world.chat(token, body).await)
}

fn hit() -> (u16, String) {
    (200, "hit".to_owned())
}

fn miss() -> (u16, String) {
    (200, "miss".to_owned())
}

/// Not from the cache, and not for it.
fn apart() -> (u16, String) {
    (200, String::new())
}

/// A user who may use team/fast.
fn someone(world: &World, name: &str, account: &str) -> String {
    let token = format!("{name}-token");
    let audience = "oarmaster-gateway";
    world.kube.token(&token, account, audience, None);
    let may = format!("{account} use modelpools team/fast");
    world.kube.allow(&may);
    token
}

#[tokio::test]
async fn an_equal_request_is_answered_again_for_nothing() {
    let (world, upstream) = world(json!({})).await;
    let user = world.user();
    upstream.reply(Reply::answer("first"));
    let first = world.chat(user, sure("hi")).await;
    assert_eq!(cache(&first), miss());
    let spent = format!("{:?}", world.gateway.store.counters());
    let again = world
        .http
        .post(format!("{}/v1/chat/completions", world.data))
        .bearer_auth(user)
        .body(r#"{ "temperature":0, "messages":[ {"content":"hi", "role":"user"} ], "model":"team/fast","max_tokens":100, "stream":false }"#)
        .send()
        .await
        .unwrap();
    assert_eq!(cache(&again), hit());
    for (name, value) in [
        ("x-oarmaster-provider", "team/up"),
        ("x-oarmaster-model", "m"),
        ("x-oarmaster-reason", "Cache"),
        ("x-oarmaster-hops", "0"),
    ] {
        assert_eq!(again.headers()[name], value);
    }
    assert_eq!(
        first.bytes().await.unwrap(),
        again.bytes().await.unwrap(),
        "byte for byte"
    );
    assert_eq!(asked(&world, user, sure("ho")).await, miss());
    assert_eq!(upstream.got().len(), 2);
    assert_eq!(
        spent,
        format!("{:?}", world.gateway.store.counters()),
        "no Budget counts, so none has changed"
    );
    let metrics = world.metrics().await;
    for line in [
        r#"oarmaster_cache_requests_total{pool="team/fast",outcome="hit"} 1"#,
        r#"oarmaster_cache_requests_total{pool="team/fast",outcome="miss"} 2"#,
        // What was booked is that of the two that were asked.
        r#"oarmaster_tokens_total{pool="team/fast",provider="team/up",model="m",kind="output"} 10"#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn each_surface_has_its_own_answers() {
    let (world, upstream) = world(json!({})).await;
    let user = world.user();
    for path in ["/v1/chat/completions", "/v1/messages"] {
        for expected in [miss(), hit()] {
            let answer = world.post(path, user, sure("hi")).await;
            assert_eq!(cache(&answer), expected, "{path}");
        }
    }
    let mut other = sure("hi");
    other["user"] = json!("somebody");
    assert_eq!(
        asked(&world, user, other).await,
        miss(),
        "a server may go by it"
    );
    assert_eq!(upstream.got().len(), 3);
}

#[tokio::test]
async fn what_is_drawn_at_random_is_kept_only_where_the_pool_says_so() {
    let (world, _upstream) = world(json!({})).await;
    let user = world.user();
    let mut warm = ask("hi");
    warm["temperature"] = json!(0.7);
    for body in [ask("hi"), warm] {
        for _ in 0..2 {
            assert_eq!(asked(&world, user, body.clone()).await, apart());
        }
    }
    pool(&world, json!({"sampled": true}), json!({})).await;
    assert_eq!(asked(&world, user, ask("hi")).await, miss());
    assert_eq!(asked(&world, user, ask("hi")).await, hit());
}

#[tokio::test]
async fn a_caller_can_want_a_new_answer_or_none_kept() {
    let (world, upstream) = world(json!({})).await;
    let user = world.user();
    let with = async |control: &str| {
        let request = world
            .http
            .post(format!("{}/v1/chat/completions", world.data))
            .bearer_auth(user)
            .header("cache-control", control)
            .json(&sure("hi"));
        let answer = request.send().await.unwrap();
        (cache(&answer), answer.text().await.unwrap())
    };
    let said = |text: &str| Reply::answer(text);
    upstream.reply(said("one"));
    assert_eq!(with("max-age=60, No-Store").await.0, apart());
    upstream.reply(said("two"));
    assert_eq!(asked(&world, user, sure("hi")).await, miss(), "not kept");
    upstream.reply(said("three"));
    assert_eq!(with("no-store").await.0, apart(), "not given");
    upstream.reply(said("four"));
    let (told, body) = with("no-cache").await;
    assert_eq!(told, miss());
    assert!(body.contains("four"), "{body}");
    let (told, body) = with("max-stale").await;
    assert_eq!(told, hit());
    assert!(body.contains("four"), "the newer one is kept: {body}");
    assert_eq!(upstream.got().len(), 4);
}

#[tokio::test]
async fn what_is_no_whole_answer_is_not_kept() {
    let (world, upstream) = world(json!({})).await;
    let user = world.user();
    let mut cut = completion("cut", 1, 1);
    cut["choices"][0]["finish_reason"] = json!("length");
    let mut filtered = completion("", 1, 1);
    filtered["choices"][0]["finish_reason"] = json!("content_filter");
    let mut refused = completion("", 1, 1);
    refused["choices"][0]["message"]["refusal"] = json!("no");
    for body in [cut, filtered, refused] {
        upstream.reply(Reply::json(200, body));
        assert_eq!(asked(&world, user, sure("hi")).await, miss());
    }
    upstream.reply(Reply::error(400, "bad", "wrong"));
    assert_eq!(world.chat(user, sure("hi")).await.status(), 400);
    let mut calls = completion("", 1, 1);
    calls["choices"][0]["finish_reason"] = json!("tool_calls");
    upstream.reply(Reply::json(200, calls));
    assert_eq!(asked(&world, user, sure("hi")).await, miss());
    assert_eq!(asked(&world, user, sure("hi")).await, hit());

    // One that cannot be kept at all.
    let mut two = sure("hi");
    two["n"] = json!(2);
    let body = r#"{"model":"fast","temperature":0,"messages":[{"role":"user","content":"a","content":"b"}]}"#;
    let twice = || {
        let request = world
            .http
            .post(format!("{}/v1/chat/completions", world.data));
        request.bearer_auth(user).body(body).send()
    };
    for _ in 0..2 {
        assert_eq!(asked(&world, user, two.clone()).await, apart());
        assert_eq!(cache(&twice().await.unwrap()), apart());
    }
}

#[tokio::test]
async fn streams_go_past_it() {
    let (world, upstream) = world(json!({})).await;
    let user = world.user();
    assert_eq!(asked(&world, user, sure("hi")).await, miss());
    let mut streamed = sure("hi");
    streamed["stream"] = json!(true);
    let choice =
        |delta: Value, end: Value| json!({"choices": [{"delta": delta, "finish_reason": end}]});
    let events = [
        choice(json!({"content": "new"}), Value::Null),
        choice(json!({}), json!("stop")),
    ];
    upstream.reply(Reply::events(&events, true, false));
    let answer = world.chat(user, streamed).await;
    assert_eq!(cache(&answer), apart());
    assert!(answer.text().await.unwrap().contains("[DONE]"));
    assert_eq!(upstream.got().len(), 2);
}

#[tokio::test]
async fn equal_requests_at_once_are_one_and_a_failure_is_nobody_elses() {
    let (world, upstream) = world(json!({})).await;
    let user = world.user();
    upstream.reply(Reply::Held(completion("late", 1, 1)));
    let all = async {
        let calls = (0..5).map(|_| asked(&world, user, sure("hi")));
        futures::future::join_all(calls).await
    };
    let release = async {
        while upstream.got().is_empty() {
            tokio::task::yield_now().await;
        }
        upstream.release();
    };
    let (mut told, ()) = tokio::join!(all, release);
    told.sort();
    assert_eq!(told, [hit(), hit(), hit(), hit(), miss()]);
    assert_eq!(upstream.got().len(), 1);

    // The first is refused; whoever waited for it asks by itself.
    upstream.reply(Reply::error(400, "bad", "wrong"));
    let calls = (0..3).map(|_| asked(&world, user, sure("ho")));
    let told = futures::future::join_all(calls).await;
    let failed = told.iter().filter(|(status, _)| *status == 400).count();
    assert_eq!(failed, 1, "{told:?}");
}

#[tokio::test]
async fn who_may_not_use_the_pool_is_given_nothing() {
    let (world, _upstream) = world(json!({"per": "Pool"})).await;
    let user = world.user();
    let stranger = "system:serviceaccount:team:stranger";
    let audience = "oarmaster-gateway";
    world.kube.token("stranger", stranger, audience, None);
    assert_eq!(asked(&world, user, sure("hi")).await, miss());
    assert_eq!(world.chat("stranger", sure("hi")).await.status(), 403);
    pool(&world, json!({}), json!({"suspend": true})).await;
    assert_eq!(world.chat(user, sure("hi")).await.status(), 503);
}

#[tokio::test]
async fn answers_stay_among_those_who_share_them() {
    let (world, upstream) = world(json!({})).await;
    let user = world.user();
    let beside = someone(&world, "beside", "system:serviceaccount:team:beside");
    let other = someone(&world, "other", "system:serviceaccount:other:app");
    let mut body = sure("hi");
    body["model"] = json!("team/fast");
    assert_eq!(asked(&world, user, body.clone()).await, miss());
    assert_eq!(asked(&world, &beside, body.clone()).await, hit());
    assert_eq!(asked(&world, &other, body.clone()).await, miss());
    pool(&world, json!({"per": "Requester"}), json!({})).await;
    assert_eq!(asked(&world, user, body.clone()).await, miss());
    assert_eq!(asked(&world, &beside, body.clone()).await, miss());
    assert_eq!(asked(&world, &beside, body.clone()).await, hit());
    pool(&world, json!({"per": "Pool"}), json!({})).await;
    assert_eq!(asked(&world, user, body.clone()).await, miss());
    assert_eq!(asked(&world, &other, body.clone()).await, hit());

    // Another pool of the same members is another cache, and so is the pool with other members behind it.
    let may = "system:serviceaccount:team:app use modelpools team/twin";
    world.kube.allow(may);
    let spec = json!({"members": members(&["up"]), "cache": {"mode": "Exact", "per": "Pool"}});
    world.pool_with("team", "twin", spec).await;
    let mut twin = body.clone();
    twin["model"] = json!("twin");
    assert_eq!(asked(&world, user, twin).await, miss());
    world
        .provider("team", "up", common::http_provider(&upstream.url, &["k"]))
        .await;
    world
        .until(|gateway| common::usable(gateway, "team", "up") == 1)
        .await;
    assert_eq!(asked(&world, user, body).await, miss());
}

#[tokio::test]
async fn a_limit_of_the_pool_is_for_what_it_asks() {
    let (world, _upstream) = world(json!({})).await;
    pool(
        &world,
        json!({}),
        json!({"callerLimits": {"requestsPerMinute": 1}}),
    )
    .await;
    let user = world.user();
    assert_eq!(asked(&world, user, sure("hi")).await, miss());
    for _ in 0..3 {
        assert_eq!(asked(&world, user, sure("hi")).await, hit());
    }
    assert_eq!(world.chat(user, sure("ho")).await.status(), 429);
}

#[tokio::test]
async fn a_tasks_kept_answer_is_in_its_journal_and_costs_nothing() {
    let (world, upstream) = world(json!({"sampled": true})).await;
    let claim = world.task(TaskBudget::default()).await;
    upstream.reply(Reply::answer("first"));
    let (session, call) = (&claim.session, claim.next_call);
    let (status, next, first) = world.call(session, call, claim.next, "hi").await;
    assert_eq!(status, 200, "{first}");
    let (status, _, again) = world.call(session, call + 1, next.unwrap(), "hi").await;
    assert_eq!(status, 200, "{again}");
    assert_eq!(first["choices"], again["choices"]);
    assert_eq!(upstream.got().len(), 1);
    let records = world.gateway.store.records(UID, next.unwrap(), 10).await;
    let records = records.unwrap();
    let bodies: Vec<&Body> = records.iter().map(|record| &record.body).collect();
    let [
        Body::Open {
            provider,
            model,
            reason,
            reserved_pico,
            ..
        },
        Body::Answer {
            usage,
            message,
            finish_reason,
            ..
        },
    ] = bodies.as_slice()
    else {
        panic!("{bodies:?}");
    };
    assert_eq!(
        (provider.as_str(), model.as_str(), reason.as_str()),
        ("team/up", "m", "Cache")
    );
    assert_eq!((*reserved_pico, *usage), (0, CallUsage::default()));
    assert_eq!(
        (&message["content"], finish_reason.as_str()),
        (&json!("first"), "stop")
    );
    // An SDK's answers are others.
    assert_eq!(asked(&world, world.user(), ask("hi")).await, miss());
}

#[tokio::test]
async fn an_agent_can_do_without() {
    let (world, upstream) = world(json!({"sampled": true})).await;
    let mut without = assignment();
    without["target"]["agent"]["noCache"] = json!(true);
    world.pod(1);
    let open = json!({"runsIn": {"job": "job-1"}, "assignment": without, "budget": {}, "requestedBy": "alice@acme"});
    let opened = world
        .http
        .put(format!("{}/admin/v1/attempts/{UID}/1", world.admin))
        .bearer_auth(common::OPERATOR)
        .json(&open)
        .send()
        .await
        .unwrap();
    let report: Value = opened.json().await.unwrap();
    let claim = world
        .http
        .post(format!("{}/task/v1/claim", world.data))
        .bearer_auth(PILOT)
        .json(&json!({"assignment": report["assignment"], "nonce": "n1"}))
        .send()
        .await
        .unwrap();
    let claim: Value = claim.json().await.unwrap();
    let session = claim["session"].as_str().unwrap();
    let (call, mut next) = (
        claim["nextCall"].as_u64().unwrap(),
        claim["next"].as_u64().unwrap(),
    );
    for more in 0..2 {
        let (status, after, body) = world.call(session, call + more, next, "hi").await;
        assert_eq!(status, 200, "{body}");
        next = after.unwrap();
    }
    assert_eq!(upstream.got().len(), 2);
}
