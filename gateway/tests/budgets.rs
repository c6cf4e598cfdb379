//! Budgets over all callers: who is stopped, what they are told, and what goes on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use common::upstream::{Reply, Upstream, completion};
use common::{OPERATOR, World, ask, http_provider, scripted};
use oarmaster_protocol::admin::{BudgetReport, TaskBudget};
use serde_json::{Value, json};

/// Less than the worst case of any call of these tests, which is some hundred microdollars.
const TOO_LITTLE: &str = "0.0001";

fn budget(usd: &str, more: &Value) -> Value {
    let mut spec = json!({"window": "Total", "usd": usd});
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    spec
}

async fn upstream_world() -> (World, Upstream) {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &[]).await;
    (world, upstream)
}

async fn refusal(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let body = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default()) // a framework's refusal is text
}

async fn reports(world: &World) -> Vec<BudgetReport> {
    let url = format!("{}/admin/v1/budgets", world.admin);
    let response = world.http.get(url).bearer_auth(OPERATOR).send();
    response.await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn a_caller_is_told_which_budget_has_no_room_until_when_and_for_what() {
    let (world, upstream) = upstream_world().await;
    let user = world.user();
    let month = json!({"per": "Requester", "window": "Month"});
    world.budget("people", budget(TOO_LITTLE, &month)).await;
    for stream in [false, true] {
        let mut body = ask("hello");
        body["stream"] = json!(stream);
        let response = world.chat(user, body).await;
        let wait: u64 = response.headers()["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((1..=31 * 86_400).contains(&wait), "{wait}");
        let (status, body) = refusal(response).await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (429, &json!("window_exceeded"))
        );
        assert_eq!(body["error"]["type"], "rate_limit_error");
        let text = body["error"]["message"].as_str().unwrap();
        let start = "people/month (requester/system:serviceaccount:team:app): $0.00 spent and $0.00 reserved of $0.0001, resets 20";
        assert!(text.starts_with(start), "{text}");
        assert!(
            text.contains("-01T00:00Z, the next call needs up to $0.00"),
            "{text}"
        );
    }
    assert!(upstream.got().is_empty(), "nothing left for the provider");
    // Somebody else has a counter of their own, and a raise is enough.
    world.budget("people", budget("1", &month)).await;
    assert_eq!(world.chat(user, ask("hello")).await.status(), 200);
    let found = reports(&world).await;
    assert_eq!(
        (found.len(), found[0].name.as_str(), found[0].exceeded),
        (1, "people", 0)
    );
    let counter = &found[0].counters[0];
    // 10 input tokens at USD 1 and 5 output tokens at USD 2 per million.
    assert_eq!((counter.spent_pico, counter.reserved_pico), (20_000_000, 0));
}

#[tokio::test]
async fn without_a_reset_there_is_nothing_to_wait_for() {
    let (world, _upstream) = upstream_world().await;
    let user = world.user();
    world.budget("all", budget(TOO_LITTLE, &json!({}))).await;
    let response = world.chat(user, ask("hello")).await;
    assert!(!response.headers().contains_key("retry-after"));
    let (status, body) = refusal(response).await;
    assert_eq!(status, 429);
    assert!(
        body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("never resets")
    );
    let metrics = world.metrics().await;
    assert!(
        metrics.contains("oarmaster_budget_refusals_total{budget=\"all\"} 1"),
        "{metrics}"
    );
    let found = reports(&world).await;
    assert_eq!(found[0].counter_count, 0, "a refusal alone is no counter");
}

#[tokio::test]
async fn a_tasks_call_is_refused_otherwise_than_by_its_own_budget_and_goes_on_after_a_raise() {
    let (world, upstream) = upstream_world().await;
    world
        .budget("teams", budget(TOO_LITTLE, &json!({"per": "Namespace"})))
        .await;
    world
        .budget("agents", budget("1", &json!({"per": "Agent"})))
        .await;
    let claim = world.task(TaskBudget::default()).await;
    let call = || world.call(&claim.session, claim.next_call, claim.next, "hello");
    let (status, next, body) = call().await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (429, &json!("window_exceeded"))
    );
    assert_eq!(next, Some(claim.next), "nothing was written");
    assert!(upstream.got().is_empty());
    world
        .budget("teams", budget("1", &json!({"per": "Namespace"})))
        .await;
    let (status, _, body) = call().await;
    assert_eq!(status, 200, "{body}");
    let found = reports(&world).await;
    let keys: Vec<_> = found
        .iter()
        .map(|budget| budget.counters[0].key.as_str())
        .collect();
    assert_eq!(keys, ["agent/team/agent", "namespace/team"]);
    assert!(
        found
            .iter()
            .all(|budget| budget.counters[0].spent_pico == 20_000_000)
    );
}

#[tokio::test]
async fn free_members_go_on_where_the_budget_says_so() {
    for (on_exceeded, free, status) in [
        ("FreeOnly", true, 200),
        ("Stop", true, 429),
        ("FreeOnly", false, 429),
    ] {
        let (world, upstream) = upstream_world().await;
        let user = world.user();
        let mut spec = scripted(json!([{"reply": {"text": "for nothing"}}]));
        let price = if free { "0" } else { "5" };
        spec["models"] =
            json!([{"name": "m", "pricing": {"inputPerMillion": price, "outputPerMillion": "0"}}]);
        world.provider("team", "free", spec).await;
        world
            .provider("team", "dear", http_provider(&upstream.url, &[]))
            .await;
        let member = |provider: &str| json!({"provider": {"name": provider}, "model": "m"});
        world
            .pool(
                "team",
                "fast",
                json!([member("up"), member("dear"), member("free")]),
            )
            .await;
        world
            .budget(
                "all",
                budget(TOO_LITTLE, &json!({"onExceeded": on_exceeded})),
            )
            .await;
        for stream in [false, true] {
            let mut body = ask("hello");
            body["stream"] = json!(stream);
            let response = world.chat(user, body).await;
            assert_eq!(response.status(), status, "{on_exceeded} {free} {stream}");
            let text = response.text().await.unwrap();
            let told = if status == 200 {
                "for"
            } else {
                "all/total (cluster)"
            };
            assert!(text.contains(told), "{text}");
        }
        assert!(upstream.got().is_empty(), "no member that costs is asked");
    }
}

#[tokio::test]
async fn under_a_budget_a_callers_cost_has_a_bound() {
    let (world, upstream) = upstream_world().await;
    let user = world.user();
    let mut unbounded = ask("hello");
    unbounded["service_tier"] = json!("priority");
    unbounded.as_object_mut().unwrap().remove("max_tokens");
    assert_eq!(world.chat(user, unbounded.clone()).await.status(), 200);
    let sent: Value = serde_json::from_str(&upstream.got()[0].body).unwrap();
    assert_eq!(
        sent.get("max_tokens"),
        None,
        "without a budget the bytes stay as they are"
    );
    world.budget("all", budget("1", &json!({}))).await;
    let (status, body) = refusal(world.chat(user, unbounded.clone()).await).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (400, &json!("unbounded_cost"))
    );
    unbounded.as_object_mut().unwrap().remove("service_tier");
    assert_eq!(world.chat(user, unbounded).await.status(), 200);
    let sent: Value = serde_json::from_str(&upstream.got()[1].body).unwrap();
    assert!(sent["max_tokens"].is_u64(), "{sent}");
}

#[tokio::test]
async fn a_namespace_comes_under_a_budget_with_its_label() {
    let (world, _upstream) = upstream_world().await;
    let user = world.user();
    let labelled = json!({"namespaces": {"matchLabels": {"team": "a"}}});
    world.budget("a", budget(TOO_LITTLE, &labelled)).await;
    assert_eq!(world.chat(user, ask("hello")).await.status(), 200);
    world.kube.namespace("team", json!({"team": "a"}));
    let mut status = 200;
    for _ in 0..1000 {
        status = world.chat(user, ask("hello")).await.status().as_u16();
        // 503: a call that began without a cap and found one at its hop.
        if ![200, 503].contains(&status) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(status, 429);
    world.kube.delete("budgets", "", "a");
    world
        .until(|gateway| gateway.budgets.load().rule("a").is_none())
        .await;
    assert_eq!(world.chat(user, ask("hello")).await.status(), 200);
}

#[tokio::test]
async fn what_was_spent_is_told_and_warned_of_once() {
    let (world, upstream) = upstream_world().await;
    let user = world.user();
    world
        .budget("all", budget("0.01", &json!({"warnAt": [5]})))
        .await;
    // 0.0003 each: the second reaches a twentieth.
    for _ in 0..2 {
        upstream.reply(Reply::json(200, completion("ok", 100, 100)));
        assert_eq!(world.chat(user, ask("hello")).await.status(), 200);
    }
    let warned = "oarmaster_budget_warnings_total{budget=\"all\",percent=\"5\"} 1";
    let metrics = world.metrics().await;
    assert!(metrics.contains(warned), "{metrics}");
    let metrics = world.metrics().await;
    assert!(
        metrics.contains("oarmaster_budget_remaining_ratio{budget=\"all\"} 0.94"),
        "{metrics}"
    );
    // Beyond its reservation: booked in full, and shown.
    upstream.reply(Reply::json(200, completion("ok", 10, 5000)));
    assert_eq!(world.chat(user, ask("hello")).await.status(), 200);
    let metrics = world.metrics().await;
    assert!(
        metrics.contains("oarmaster_overrun_usd_total{pool=\"team/fast\""),
        "{metrics}"
    );
    let found = reports(&world).await;
    assert_eq!(
        (found[0].exceeded, found[0].counters[0].spent_pico),
        (1, 10_610_000_000)
    );
    assert_eq!(world.chat(user, ask("hello")).await.status(), 429);
}

#[tokio::test]
async fn the_operator_is_told_before_it_gives_a_task_a_pod() {
    let (world, _upstream) = upstream_world().await;
    let room = async |query: Value| -> Value {
        let url = format!("{}/admin/v1/room", world.admin);
        let response = world.http.post(url).bearer_auth(OPERATOR).json(&query);
        let response = response.send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    };
    let task = json!({"namespace": "team", "name": "fix", "uid": common::UID});
    let first =
        json!({"task": task, "pool": "team/fast", "agent": "agent", "requestedBy": "alice@acme"});
    let per = json!({"per": "Agent", "window": "Day"});
    world.budget("agents", budget(TOO_LITTLE, &per)).await;
    assert_eq!(
        room(first.clone()).await,
        json!({}),
        "nobody has been refused yet"
    );
    let claim = world.task(TaskBudget::default()).await;
    let call = || world.call(&claim.session, claim.next_call, claim.next, "hello");
    assert_eq!(call().await.0, 429);
    for query in [first.clone(), json!({"task": task})] {
        let told = room(query).await;
        let text = told["blocked"]["message"].as_str().unwrap();
        assert!(
            text.starts_with("agents/day (agent/team/agent): $0.00 spent"),
            "{text}"
        );
        assert!(told["blocked"]["resetsMs"].is_i64(), "{told}");
    }
    let mut other = first;
    other["agent"] = json!("another");
    assert_eq!(room(other).await, json!({}));
    world.budget("agents", budget("1", &per)).await;
    assert_eq!(room(json!({"task": task})).await, json!({}));
    world.budget("agents", budget("0", &per)).await;
    assert!(room(json!({"task": task})).await["blocked"].is_object());
}

#[tokio::test]
async fn what_somebody_else_was_refused_keeps_no_task_from_its_pod() {
    let (world, upstream) = upstream_world().await;
    let user = world.user();
    world.budget("all", budget("0.01", &json!({}))).await;
    let mut large = ask("hello");
    large["max_tokens"] = json!(1_000_000);
    assert_eq!(world.chat(user, large).await.status(), 429);
    let task = json!({"namespace": "team", "name": "fix", "uid": common::UID});
    let query =
        json!({"task": task, "pool": "team/fast", "agent": "agent", "requestedBy": "alice@acme"});
    let url = format!("{}/admin/v1/room", world.admin);
    let response = world.http.post(url).bearer_auth(OPERATOR).json(&query);
    let told: Value = response.send().await.unwrap().json().await.unwrap();
    assert_eq!(told, json!({}), "nearly all is left");
    // The counter itself is shown as exceeded until a call fits again.
    assert_eq!(world.chat(user, ask("hello")).await.status(), 200);
    assert_eq!(reports(&world).await[0].exceeded, 0);
    assert_eq!(upstream.got().len(), 1);
}

#[tokio::test]
async fn a_cap_that_changes_counts_from_the_next_hop_of_a_running_call() {
    for (user_calls, code) in [(false, "window_exceeded"), (true, "internal")] {
        let (one, two) = (Upstream::start().await, Upstream::start().await);
        let world = World::start().await;
        for (name, upstream) in [("one", &one), ("two", &two)] {
            let spec = http_provider(&upstream.url, &[]);
            world.provider("team", name, spec).await;
        }
        let both = common::members(&["one", "two"]);
        world.pool("team", "fast", both).await;
        world
            .until(|gateway| gateway.snapshot.load().providers.len() == 2)
            .await;
        let user = world.user();
        let claim = world.task(TaskBudget::default()).await;
        one.reply(Reply::Held(json!({"no": "answer"})));
        let call = async {
            if user_calls {
                refusal(world.chat(user, ask("hello")).await).await
            } else {
                let call = world.call(&claim.session, claim.next_call, claim.next, "hello");
                let (status, _, body) = call.await;
                (status, body)
            }
        };
        let change = async {
            world.until(|_| one.got().len() == 1).await;
            world.budget("all", budget(TOO_LITTLE, &json!({}))).await;
            one.release();
        };
        let ((status, body), ()) = tokio::join!(call, change);
        // A caller whose request was not held to a cap asks once more; then it is.
        let expected = if user_calls { 503 } else { 429 };
        assert_eq!(
            (status, &body["error"]["code"]),
            (expected, &json!(code)),
            "{body}"
        );
        assert!(two.got().is_empty());
    }
}

#[tokio::test]
async fn costs_are_for_those_who_may_see_usage() {
    let (world, _upstream) = upstream_world().await;
    let user = world.user();
    assert_eq!(world.chat(user, ask("hello")).await.status(), 200);
    world.gateway.store.flush().await.unwrap();
    for reader in ["nobody", "bob", "carol"] {
        world.kube.token(reader, reader, "api-server", None);
    }
    world.kube.allow("bob get tasks/usage team/");
    world.kube.allow("carol get tasks/usage /");
    let get = async |reader: &str, place: &str, by: &str| {
        let time = "from=0&to=9999999999999";
        let url = format!("{}/read/v1{place}/costs?by={by}&{time}", world.read);
        let response = world.http.get(url).bearer_auth(reader).send();
        refusal(response.await.unwrap()).await
    };
    for (reader, place) in [
        ("nobody", ""),
        ("nobody", "/namespaces/team"),
        ("bob", ""),
        ("bob", "/namespaces/other"),
    ] {
        let (status, body) = get(reader, place, "requester").await;
        let code = &body["error"]["code"];
        assert_eq!(
            (status, code),
            (403, &json!("forbidden")),
            "{reader} {place}"
        );
        let text = body["error"]["message"].as_str().unwrap();
        assert!(text.contains("tasks/usage"), "{text}");
    }
    let (status, body) = get("bob", "/namespaces/team", "requester").await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body.as_array().unwrap().len(), 1, "{body}");
    let line = &body[0];
    assert_eq!(line["key"], "system:serviceaccount:team:app");
    let counted = (&line["calls"], &line["costPico"]);
    assert_eq!(counted, (&json!(1), &json!(20_000_000)));
    let (_, all) = get("carol", "", "model").await;
    assert_eq!(all[0]["key"], "team/up m");
    assert_eq!(get("carol", "", "weekday").await.0, 400);
}
