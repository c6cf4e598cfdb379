//! A Task's way through the gateway: open, claim, call, record, end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use common::upstream::{Reply, Upstream, completion};
use common::{OPERATOR, PILOT, UID, World, ask, circuit, http_provider, members, scripted, usable};
use oarmaster_protocol::admin::{CircuitHealth, TaskBudget};
use oarmaster_protocol::journal::{Body, MAX_RECORD_BYTES};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

async fn scripted_world(rules: Value) -> World {
    let world = World::start().await;
    world.provider("team", "play", scripted(rules)).await;
    world.pool("team", "fast", members(&["play"])).await;
    world
}

#[tokio::test]
async fn a_scripted_call_is_answered_recorded_and_repeated() {
    let world = scripted_world(json!([
        {"when": {"turn": 0, "prompt": "^fix"}, "reply": {"text": "you said ${last}", "usage": {"inputTokens": 1000, "outputTokens": 10}}},
    ]))
    .await;
    let claim = world
        .task(TaskBudget {
            pico_usd: Some(1_000_000_000_000),
            tokens: None,
            ..TaskBudget::default()
        })
        .await;

    let (status, next, answer) = world
        .call(&claim.session, claim.next_call, claim.next, "fix it")
        .await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        answer["choices"][0]["message"]["content"],
        "you said fix it"
    );
    assert_eq!(answer["usage"]["prompt_tokens"], 1000);
    assert_eq!(
        next,
        Some(claim.next + 2),
        "an Open and an Answer were written"
    );

    let again = world
        .call(&claim.session, claim.next_call, claim.next, "fix it")
        .await;
    assert_eq!(
        again,
        (200, next, answer),
        "a repeated number is the recorded answer, byte for byte"
    );

    let (status, _, body) = world
        .call(
            &claim.session,
            claim.next_call,
            claim.next,
            "fix something else",
        )
        .await;
    assert_eq!((status, &body["error"]["code"]), (409, &json!("diverged")));

    let usage = world.gateway.store.usage(UID).await.unwrap();
    assert_eq!(
        (usage.calls, usage.sum.input_tokens, usage.sum.output_tokens),
        (1, 1000, 10)
    );
    assert_eq!(
        usage.sum.cost_pico,
        1000 * 1_000_000 + 10 * 2_000_000,
        "USD 1 and 2 per million"
    );
    assert_eq!(usage.reserved_pico, 0);
}

#[tokio::test]
async fn no_rule_is_the_callers_fault_and_costs_nothing() {
    let world = scripted_world(json!([{"when": {"turn": 7}, "reply": {"text": "late"}}])).await;
    let claim = world.task(TaskBudget::default()).await;
    let (status, next, body) = world
        .call(&claim.session, claim.next_call, claim.next, "fix it")
        .await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (400, &json!("invalid_request"))
    );
    assert!(
        body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("no rule of the script holds for turn 0"),
        "{body}"
    );
    assert_eq!(next, Some(claim.next + 2), "the pilot can go on from here");
    assert_eq!(
        world.gateway.store.usage(UID).await.unwrap().sum.cost_pico,
        0
    );
}

#[tokio::test]
async fn the_output_limit_is_written_in_and_the_model_spliced() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &["k1"]).await;
    let claim = world.task(TaskBudget::default()).await;
    let body = json!({"model": "fast", "temperature": 0.20, "messages": [{"role": "user", "content": "a  b"}]});
    let (status, _, answer) = world
        .call_with(&claim.session, claim.next_call, claim.next, body)
        .await;
    assert_eq!(status, 200, "{answer}");
    let sent: Value = serde_json::from_str(&upstream.got()[0].body).unwrap();
    assert_eq!(
        (&sent["model"], &sent["max_tokens"]),
        (&json!("m"), &json!(200))
    );
    assert_eq!(upstream.got()[0].key, "k1");
}

#[tokio::test]
async fn what_the_watch_has_not_brought_yet_is_asked_for_again() {
    let world = World::start().await;
    let reply = json!([{"reply": {"text": "hi"}}]);
    let provider = json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "ModelProvider", "metadata": {"namespace": "team", "name": "play"},
        "spec": scripted(reply.clone()),
    });
    let pool = json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "ModelPool", "metadata": {"namespace": "team", "name": "fast"},
        "spec": {"members": [{"provider": {"name": "play"}, "model": "m"}]},
    });
    let claim = world.task(TaskBudget::default()).await;
    let call = || world.call(&claim.session, claim.next_call, claim.next, "hello");
    let (status, _, body) = call().await;
    assert_eq!((status, &body["error"]["code"]), (404, &json!("not_found")));
    world.kube.apply_unseen("modelpools", pool.clone());
    // What was not there is asked for again after a moment.
    let differs = async |from: u16| {
        let asked = async {
            loop {
                let (status, _, body) = call().await;
                if status != from {
                    return (status, body);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let limit = Duration::from_secs(60);
        tokio::time::timeout(limit, asked).await.unwrap()
    };
    let (status, body) = differs(404).await;
    assert_eq!(status, 503, "a pool that exists is no failure: {body}");
    world.kube.apply("modelpools", pool);
    world
        .until(|gateway| !gateway.snapshot.load().pools.is_empty())
        .await;
    let (status, _, body) = call().await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (502, &json!("model_unavailable")),
        "{body}"
    );
    world.kube.apply_unseen("modelproviders", provider);
    let (status, body) = differs(502).await;
    assert_eq!(status, 503, "{body}");
    world.provider("team", "play", scripted(reply)).await;
    let (status, _, body) = call().await;
    assert_eq!(status, 200, "{body}");
}

#[tokio::test]
async fn a_budget_is_refused_before_the_call_and_fields_without_bound_are() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &[]).await;
    let claim = world
        .task(TaskBudget {
            pico_usd: Some(1_000_000),
            tokens: None,
            ..TaskBudget::default()
        })
        .await;
    let (status, _, body) = world
        .call(&claim.session, claim.next_call, claim.next, "hello")
        .await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (429, &json!("budget_exceeded")),
        "{body}"
    );
    for field in [
        "service_tier",
        "web_search_options",
        "prediction",
        "models",
        "something_new",
    ] {
        let mut request = ask("hello");
        request[field] = json!({"x": 1});
        let (status, _, body) = world
            .call_with(&claim.session, claim.next_call, claim.next, request)
            .await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (400, &json!("unbounded_cost")),
            "{field}: {body}"
        );
    }
    let mut image = ask("hello");
    image["messages"][0]["content"] =
        json!([{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]);
    let (_, _, body) = world
        .call_with(&claim.session, claim.next_call, claim.next, image)
        .await;
    assert_eq!(body["error"]["code"], "unbounded_cost");
    assert!(upstream.got().is_empty(), "nothing left for the provider");
}

#[tokio::test]
async fn a_failed_hop_is_followed_by_the_next_member_and_both_are_in_the_journal() {
    let (world, bad, good) = (
        World::start().await,
        Upstream::start().await,
        Upstream::start().await,
    );
    world
        .provider("team", "bad", common::http_provider(&bad.url, &[]))
        .await;
    world
        .provider("team", "good", common::http_provider(&good.url, &[]))
        .await;
    world
        .pool(
            "team",
            "fast",
            json!([
                {"provider": {"name": "good"}, "model": "m", "priority": 1},
                {"provider": {"name": "bad"}, "model": "m", "priority": 0},
            ]),
        )
        .await;
    bad.reply(Reply::error(500, "oops", "internal"));
    let claim = world.task(TaskBudget::default()).await;
    let (status, next, body) = world
        .call(&claim.session, claim.next_call, claim.next, "hello")
        .await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        next,
        Some(claim.next + 4),
        "two Opens, a CallFailed, an Answer"
    );
    let records = world.gateway.store.records(UID, claim.next, 10).await;
    let records = records.unwrap();
    let choices: Vec<(&str, &str)> = records
        .iter()
        .filter_map(|record| match &record.body {
            Body::Open {
                provider, reason, ..
            } => Some((provider.as_str(), reason.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(
        choices,
        [("team/bad", "Priority"), ("team/good", "Failover")]
    );
    let usage = world.gateway.store.usage(UID).await.unwrap();
    assert!(
        usage.sum.estimated,
        "nobody knows what a 500 cost: it is booked at its reservation"
    );
    assert_eq!((bad.got().len(), good.got().len()), (1, 1));
}

#[tokio::test]
async fn without_usage_the_reservation_is_booked() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &[]).await;
    upstream.reply(Reply::json(200, json!({"choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]})));
    let claim = world.task(TaskBudget::default()).await;
    let (status, _, _) = world
        .call(&claim.session, claim.next_call, claim.next, "hello")
        .await;
    assert_eq!(status, 200);
    let usage = world.gateway.store.usage(UID).await.unwrap();
    assert!(usage.sum.estimated);
    assert_eq!(usage.sum.output_tokens, 100, "the request's limit");
}

#[tokio::test]
async fn a_call_goes_on_when_the_pilot_is_gone_and_is_found_again() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &[]).await;
    upstream.reply(Reply::Held(completion("late", 10, 5)));
    let claim = world.task(TaskBudget::default()).await;
    tokio::select! {
        answer = world.call(&claim.session, claim.next_call, claim.next, "hello") => panic!("{answer:?}"),
        () = world.until(|_| upstream.got().len() == 1) => {} // the pilot leaves before the answer
    }
    let ((status, _, answer), ()) = tokio::join!(
        world.call(&claim.session, claim.next_call, claim.next, "hello"),
        async { upstream.release() }
    );
    assert_eq!(
        (status, &answer["choices"][0]["message"]["content"]),
        (200, &json!("late")),
        "{answer}"
    );
    assert_eq!(upstream.got().len(), 1, "asked once, paid once");
}

#[tokio::test]
async fn a_fenced_attempt_and_an_older_session_are_told_so() {
    let world = scripted_world(json!([{"reply": {"text": "hi"}}])).await;
    let claim = world.task(TaskBudget::default()).await;
    world.pod(2);
    world.open(2, TaskBudget::default()).await;
    let (status, _, body) = world
        .call(&claim.session, claim.next_call, claim.next, "hello")
        .await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (409, &json!("fenced")),
        "{body}"
    );
}

#[tokio::test]
async fn the_budget_holds_under_64_concurrent_calls() {
    let world = World::start().await;
    let upstream = Upstream::start().await;
    world.kube.secret("team", "key", &[("key", b"key")]);
    let provider = http_provider(&upstream.url, &["key"]);
    world.provider("team", "up", provider).await;
    let members = members(&["up"]);
    world.pool("team", "fast", members).await;
    world
        .until(|gateway| usable(gateway, "team", "up") == 1)
        .await;
    for _ in 0..64 {
        upstream.reply(Reply::Held(completion("hi", 1000, 100)));
    }
    // One call reserves about USD 0.0014 (its bytes, the constants, 100 output tokens) and costs USD 0.0012.
    let budget = 12_000_000_000;
    let claim = world
        .task(TaskBudget {
            pico_usd: Some(budget),
            tokens: None,
            ..TaskBudget::default()
        })
        .await;
    let (world, upstream, session) = (&world, &upstream, claim.session.as_str());
    let refused = &AtomicBool::new(false);
    let calls = (0..64u64).map(|index| async move {
        loop {
            let report = world.gateway.store.report(UID, 1).await.unwrap();
            assert!(
                report.usage.sum.cost_pico + report.usage.reserved_pico <= budget,
                "{report:?}"
            );
            let (status, _, body) = world
                .call(session, claim.next_call + index, report.next, "hello")
                .await;
            match (status, body["error"]["code"].as_str()) {
                (200, _) => return true,
                // No provider answers before the budget has refused a call: all that were admitted are open now.
                (429, Some("budget_exceeded")) => {
                    if !refused.swap(true, Ordering::Relaxed) {
                        let open = world.gateway.store.usage(UID).await.unwrap();
                        assert_eq!(open.sum.cost_pico, 0, "{open:?}");
                        assert!(open.reserved_pico > budget * 3 / 4, "{open:?}");
                        upstream.release();
                    }
                    return false;
                }
                // The call before has not begun yet, or another one wrote first.
                (400 | 409, _) if !refused.load(Ordering::Relaxed) => {}
                (400 | 409, _) => return false,
                other => panic!("{other:?}: {body}"),
            }
        }
    });
    let answered = futures::future::join_all(calls)
        .await
        .into_iter()
        .filter(|end| *end)
        .count();
    let usage = world.gateway.store.usage(UID).await.unwrap();
    assert_eq!(
        usage.sum.cost_pico,
        answered as u64 * 1_200_000_000,
        "what was answered was paid, and nothing else"
    );
    assert!(
        (8..=10).contains(&answered),
        "{answered} of USD 0.012 at 0.0012 each"
    );
}

#[tokio::test]
async fn artifacts_and_the_result_reach_the_reader() {
    let world = scripted_world(json!([{"reply": {"text": "hi"}}])).await;
    let claim = world.task(TaskBudget::default()).await;
    let put = |name: &str, bytes: Vec<u8>| {
        world
            .http
            .put(format!("{}/task/v1/artifacts/{name}", world.data))
            .bearer_auth(PILOT)
            .header("oarmaster-session", &claim.session)
            .body(bytes)
            .send()
    };
    let stored: Value = put("src", b"<script>".to_vec())
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(stored["size"], 8);
    let large = put("large", vec![0; (32 << 20) + 1]).await.unwrap();
    assert_eq!(large.status(), 413);

    let end = json!({"next": claim.next, "records": [{"kind": "result", "outcome": {"output": {"text": "done"}, "artifacts": [stored]}}]});
    let post = |path: &str, body: &Value| {
        world
            .http
            .post(format!("{}/task/v1/{path}", world.data))
            .bearer_auth(PILOT)
            .header("oarmaster-session", &claim.session)
            .json(body)
            .send()
    };
    let not_a_result =
        json!({"next": claim.next, "records": [{"kind": "observation", "text": "x"}]});
    assert_eq!(post("result", &not_a_result).await.unwrap().status(), 400);

    world.kube.token("reader", "bob", "api-server", None);
    for subresource in ["transcript", "artifacts", "usage"] {
        world
            .kube
            .allow(&format!("bob get tasks/{subresource} team/fix"));
    }
    let read = |path: &str| {
        world
            .http
            .get(format!(
                "{}/read/v1/namespaces/team/tasks/fix/{path}",
                world.read
            ))
            .bearer_auth("reader")
            .send()
    };
    let follow = read("transcript?follow=true").await.unwrap();
    assert_eq!(post("result", &end).await.unwrap().status(), 200);
    let text = follow.text().await.unwrap(); // ends by itself with the result
    let kinds: Vec<String> = text
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["kind"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(kinds, ["opened", "claimed", "result"]);

    let file = read("artifacts/src").await.unwrap();
    assert_eq!(file.headers()["content-type"], "application/octet-stream");
    assert_eq!(file.headers()["x-content-type-options"], "nosniff");
    assert_eq!(file.bytes().await.unwrap(), &b"<script>"[..]);
    let usage: Value = read("usage").await.unwrap().json().await.unwrap();
    assert_eq!(usage["calls"], 0);
    assert_eq!(read("usage?uid=another").await.unwrap().status(), 404);
    let other = world
        .http
        .get(format!(
            "{}/read/v1/namespaces/team/tasks/other/usage",
            world.read
        ))
        .bearer_auth("reader")
        .send()
        .await
        .unwrap();
    assert_eq!(
        other.status(),
        403,
        "another Task's name needs another permission"
    );
}

#[tokio::test]
async fn the_operator_hears_of_changes() {
    let world = scripted_world(json!([{"reply": {"text": "hi"}}])).await;
    let mut changes = world
        .http
        .get(format!("{}/admin/v1/changes", world.admin))
        .bearer_auth(OPERATOR)
        .send()
        .await
        .unwrap();
    let mut text = String::new();
    let mut until = async |word: &str| {
        while !text.contains(word) {
            let chunk = changes
                .chunk()
                .await
                .unwrap()
                .expect("the stream is endless");
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    until("hello").await;
    world.task(TaskBudget::default()).await;
    until(UID).await;
    world
        .provider(
            "team",
            "new",
            scripted(json!([{"when": {"last": "("}, "reply": {"text": "x"}}])),
        )
        .await;
    until("\"new\"").await;
    let health: Value = world
        .http
        .get(format!("{}/admin/v1/providers", world.admin))
        .bearer_auth(OPERATOR)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let bad = health["providers"]
        .as_array()
        .unwrap()
        .iter()
        .find(|provider| provider["name"] == "new")
        .unwrap();
    assert_eq!(bad["reachable"], Value::Null, "nothing was tried");
    assert!(
        bad["unusable"]
            .as_str()
            .unwrap()
            .contains("script.rules[0]: when.last"),
        "{bad}"
    );
}

/// What the headers of an answer say of a quota counts, even where the journal cannot take the answer.
#[tokio::test]
async fn an_answer_that_is_too_long_says_what_is_used_up() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &["k"]).await;
    let claim = world.task(TaskBudget::default()).await;
    upstream.reply(
        Reply::answer(&"x".repeat(MAX_RECORD_BYTES))
            .header("x-ratelimit-remaining", "0")
            .header("x-ratelimit-reset", "600"),
    );
    let (status, _, body) = world
        .call(&claim.session, claim.next_call, claim.next, "hi")
        .await;
    assert_eq!(status, 400, "{body}");
    assert!(body.to_string().contains("larger than a record"), "{body}");
    let usage = world.gateway.store.usage(UID).await.unwrap();
    assert_eq!(usage.sum.input_tokens, 10, "what it cost is booked");
    let circuit = circuit(&world.gateway, "up");
    assert!(matches!(circuit, CircuitHealth::Open { .. }), "{circuit:?}");
}

/// What one Task asks for, however much and on however many connections, is answered at its pace. That it waits keeps nobody else.
#[tokio::test]
async fn a_task_that_floods_the_gateway_waits_and_others_do_not() {
    // The flood takes six seconds by its pace, which is long for one call of somebody else on any machine.
    const REQUESTS: u32 = 800;
    const BURST: u32 = 500;
    let world = scripted_world(json!([{"reply": {"text": "hello"}}])).await;
    world.task(TaskBudget::default()).await;
    let user = world.user();
    let begun = std::time::Instant::now();
    let flood = (0..REQUESTS).map(|_| async {
        let url = format!("{}/task/v1/assignment", world.data);
        let answer = world.http.get(url).bearer_auth(PILOT).send().await;
        assert_eq!(answer.unwrap().status(), 200);
    });
    let mut flood = std::pin::pin!(futures::future::join_all(flood));
    let other = async { assert_eq!(world.chat(user, ask("hello")).await.status(), 200) };
    tokio::select! {
        biased;
        () = other => {}
        _ = &mut flood => panic!("another caller waited for the Task"),
    }
    flood.await;
    let least = Duration::from_millis(20) * (REQUESTS - BURST - 2);
    assert!(begun.elapsed() >= least, "{:?}", begun.elapsed());
}

/// The operator tells a Task that does not fit from whatever else may go wrong by the code.
#[tokio::test]
async fn a_task_that_has_no_room_below_another_is_not_opened() {
    let world = scripted_world(json!([])).await;
    world
        .task(TaskBudget {
            tasks: Some(1),
            ..TaskBudget::default()
        })
        .await;
    let open = async |uid: &str| {
        let mut assignment = common::assignment();
        assignment["task"] = json!({"namespace": "team", "name": uid, "uid": uid});
        let request = json!({"runsIn": {"job": "job"}, "assignment": assignment, "budget": {}, "parent": UID});
        let url = format!("{}/admin/v1/attempts/{uid}/1", world.admin);
        let request = world.http.put(url).bearer_auth(OPERATOR).json(&request);
        let answer = request.send().await.unwrap();
        (
            answer.status().as_u16(),
            answer.json::<Value>().await.unwrap(),
        )
    };
    assert_eq!(open("first").await.0, 200);
    assert_eq!(open("first").await.0, 200, "it counts once");
    let (status, refused) = open("second").await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (429, &json!("budget_exceeded"))
    );
    let text = refused["error"]["message"].as_str().unwrap();
    assert!(
        text.contains("may have 1 Task below it and has 1"),
        "{text}"
    );
}
