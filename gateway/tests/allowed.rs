//! Pools and providers of other namespaces: granted, taken back while it runs, and granted again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use common::upstream::{Reply, Upstream};
use common::{OPERATOR, PILOT, UID, World, ask, assignment, http_provider, usable};
use oarmaster_protocol::task::Claim;
use serde_json::{Value, json};

/// The provider `other/up`, with a key, that allows these namespaces.
async fn allow(world: &World, upstream: &Upstream, name: &str, allowed: Value) {
    let mut spec = http_provider(&upstream.url, &["k1"]);
    spec["allowedNamespaces"] = allowed;
    world.provider("other", name, spec).await;
    world
        .until(|gateway| usable(gateway, "other", name) == 1)
        .await;
}

/// A world with the pool `team/fast` of these providers of `other`, which allow nobody yet.
async fn world_with(names: &[&str]) -> (World, Upstream) {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world
        .kube
        .secret("other", "k1", &[("key", b"secret-of-other")]);
    for name in names {
        allow(&world, &upstream, name, json!({})).await;
    }
    let members: Value = names
        .iter()
        .map(|name| json!({"provider": {"name": name, "namespace": "other"}, "model": "m"}))
        .collect();
    world.pool("team", "fast", members).await;
    (world, upstream)
}

async fn refusal(response: reqwest::Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    let text = body["error"]["message"].as_str().unwrap_or_default();
    (status, text.to_owned())
}

/// Sets the labels of a namespace and waits until the gateway has them.
async fn label(world: &World, namespace: &str, labels: Value) {
    world.kube.namespace(namespace, labels.clone());
    let labels = serde_json::from_value(labels).unwrap();
    world
        .until(|gateway| gateway.budgets.load().labels(namespace) == Some(&labels))
        .await;
}

const NOT_ALLOWED: &str = "ModelProvider up does not exist in namespace other, or does not allow namespace team: its owner can create it, or set spec.allowedNamespaces to {from: All}";

#[tokio::test]
async fn a_provider_serves_another_namespace_while_it_allows_it() {
    let (world, upstream) = world_with(&["up"]).await;
    let user = world.user();
    for allowed in [false, true, false, true] {
        let from = if allowed { "All" } else { "Same" };
        allow(&world, &upstream, "up", json!({ "from": from })).await;
        let before = upstream.got().len();
        let response = world.chat(user, ask("hi")).await;
        if allowed {
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["x-oarmaster-provider"], "other/up");
            // The key stays where it is: the gateway reads it there.
            assert_eq!(upstream.got().last().unwrap().key, "secret-of-other");
        } else {
            let (status, text) = refusal(response).await;
            assert_eq!(status, 502);
            assert!(text.starts_with(NOT_ALLOWED), "{text}");
            assert_eq!(upstream.got().len(), before, "nothing left");
        }
    }
    // The same text where there is none.
    let absent = json!([{"provider": {"name": "none", "namespace": "other"}, "model": "m"}]);
    world.pool("team", "fast", absent).await;
    let (status, text) = refusal(world.chat(user, ask("hi")).await).await;
    assert_eq!(
        (
            status,
            text.replace("ModelProvider none", "ModelProvider up")
        ),
        (502, refused_text(&world, &upstream, user).await)
    );
}

async fn refused_text(world: &World, upstream: &Upstream, user: &str) -> String {
    allow(world, upstream, "up", json!({})).await;
    let named = json!([{"provider": {"name": "up", "namespace": "other"}, "model": "m"}]);
    world.pool("team", "fast", named).await;
    refusal(world.chat(user, ask("hi")).await).await.1
}

#[tokio::test]
async fn a_namespace_is_chosen_by_its_labels_as_they_are_now() {
    let (world, upstream) = world_with(&["up"]).await;
    let user = world.user();
    let selector = json!({"from": "Selector", "selector": {"matchLabels": {"models": "shared"}}});
    allow(&world, &upstream, "up", selector).await;
    for (labels, status) in [
        (json!({}), 502),
        (json!({"models": "shared"}), 200),
        (json!({"models": "none"}), 502),
        (json!({"models": "shared", "x": "y"}), 200),
    ] {
        label(&world, "team", labels.clone()).await;
        let response = world.chat(user, ask("hi")).await;
        assert_eq!(response.status(), status, "{labels}");
    }
}

#[tokio::test]
async fn an_answer_that_was_kept_goes_with_what_is_taken_back() {
    let (world, upstream) = world_with(&["up"]).await;
    let user = world.user();
    let selector = json!({"from": "Selector", "selector": {"matchLabels": {"models": "shared"}}});
    allow(&world, &upstream, "up", selector).await;
    let provider = json!({"name": "up", "namespace": "other"});
    let pool = json!({"members": [{"provider": provider, "model": "m"}], "cache": {"mode": "Exact", "sampled": true}});
    world.pool_with("team", "fast", pool).await;
    for (labels, expected) in [
        (json!({"models": "shared"}), (200, "miss")),
        (json!({"models": "shared", "x": "y"}), (200, "hit")),
        (json!({"models": "none"}), (502, "")),
        (json!({"models": "shared"}), (200, "hit")),
    ] {
        label(&world, "team", labels.clone()).await;
        let response = world.chat(user, ask("hi")).await;
        let header = response.headers().get("x-oarmaster-cache");
        let header = header.map_or("", |value| value.to_str().unwrap());
        assert_eq!((response.status().as_u16(), header), expected, "{labels}");
    }
    assert_eq!(upstream.got().len(), 1);
}

#[tokio::test]
async fn what_is_taken_back_during_a_call_is_not_asked_after_the_hop_under_way() {
    let (world, upstream) = world_with(&["first", "second"]).await;
    let user = world.user();
    for name in ["first", "second"] {
        allow(&world, &upstream, name, json!({"from": "All"})).await;
    }
    let held = json!({"error": {"message": "broken", "type": "x"}});
    upstream.reply(Reply::Held(held));
    let call = world.chat(user, ask("hi"));
    let revoke = async {
        world.until(|_| upstream.got().len() == 1).await;
        allow(&world, &upstream, "second", json!({})).await;
        upstream.release();
    };
    let (response, ()) = tokio::join!(call, revoke);
    let (status, text) = refusal(response).await;
    assert_eq!(status, 502, "{text}");
    assert!(text.contains("other/first"), "{text}");
    assert_eq!(upstream.got().len(), 1, "the second was not asked");
    allow(&world, &upstream, "second", json!({"from": "All"})).await;
    upstream.reply(Reply::error(500, "", "broken"));
    let response = world.chat(user, ask("hi")).await;
    assert_eq!(response.headers()["x-oarmaster-provider"], "other/second");
}

/// The pool `other/fast`, with its provider there.
async fn pool(world: &World, upstream: &Upstream, allowed: Value) {
    allow(world, upstream, "up", json!({})).await;
    let spec = json!({"members": common::members(&["up"]), "allowedNamespaces": allowed});
    world.pool_with("other", "fast", spec).await;
}

/// Opens and claims attempt 1 of a Task of `team` whose agent's pool is `other/fast`.
async fn task(world: &World) -> Claim {
    world.pod(1);
    let mut assigned = assignment();
    assigned["target"]["agent"]["model"] = json!("other/fast");
    let open = json!({"runsIn": {"job": "job-1"}, "assignment": assigned, "budget": {}, "requestedBy": "alice"});
    let path = format!("{}/admin/v1/attempts/{UID}/1", world.admin);
    let opened = world.http.put(path).bearer_auth(OPERATOR).json(&open);
    let report: Value = opened.send().await.unwrap().json().await.unwrap();
    let body = json!({"assignment": report["assignment"], "nonce": "n1"});
    let response = world.post("/task/v1/claim", PILOT, body).await;
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

#[tokio::test]
async fn a_tasks_pool_of_another_namespace_is_there_while_it_allows_the_tasks() {
    let (world, upstream) = world_with(&[]).await;
    pool(&world, &upstream, json!({})).await;
    world
        .budget(
            "teams",
            json!({"window": "Total", "usd": "1", "per": "Namespace"}),
        )
        .await;
    let claim = task(&world).await;
    let mut body = ask("hello");
    body["model"] = json!("other/fast");
    let text = "ModelPool fast does not exist in namespace other, or does not allow namespace team";
    let (mut call, mut next) = (claim.next_call, claim.next);
    let selector = json!({"from": "Selector", "selector": {"matchLabels": {"models": "shared"}}});
    label(&world, "team", json!({"models": "shared"})).await;
    for (allowed, status) in [
        (json!({}), 404),
        (selector, 200),
        (json!({"from": "Same"}), 404),
        (json!({"from": "All"}), 200),
    ] {
        pool(&world, &upstream, allowed).await;
        let (found, after, answer) = world
            .call_with(&claim.session, call, next, body.clone())
            .await;
        assert_eq!(found, status, "{answer}");
        if status == 200 {
            (call, next) = (call + 1, after.unwrap());
        } else {
            let said = answer["error"]["message"].as_str().unwrap();
            assert!(said.starts_with(text), "{said}");
        }
    }
    assert_eq!(upstream.got().len(), 2);
    // The namespace of the Task pays, not the pool's.
    let counters = world.gateway.store.counters();
    let keys: Vec<_> = counters
        .iter()
        .map(|counter| counter.id.key.clone())
        .collect();
    assert_eq!(keys, ["namespace/team"]);
    // The same is said of a pool that there is not.
    world.kube.delete("modelpools", "other", "fast");
    let id = ("other".to_owned(), "fast".to_owned());
    world
        .until(|gateway| !gateway.snapshot.load().pools.contains_key(&id))
        .await;
    let (found, _, answer) = world.call_with(&claim.session, call, next, body).await;
    assert_eq!(found, 404, "{answer}");
    let said = answer["error"]["message"].as_str().unwrap();
    assert!(said.starts_with(text), "{said}");
}

#[tokio::test]
async fn a_task_that_waits_is_refused_once_its_pool_is_taken_back() {
    let (world, upstream) = world_with(&[]).await;
    pool(&world, &upstream, json!({"from": "All"})).await;
    let claim = task(&world).await;
    let mut body = ask("hello");
    body["model"] = json!("other/fast");
    upstream.reply(Reply::Held(
        json!({"error": {"message": "broken", "type": "x"}}),
    ));
    let call = world.call_with(&claim.session, claim.next_call, claim.next, body);
    let revoke = async {
        world.until(|_| upstream.got().len() == 1).await;
        let spec = json!({"members": common::members(&["up"]), "allowedNamespaces": {}});
        world.pool_with("other", "fast", spec).await;
        upstream.release();
    };
    // It would ask the same lane again, and be answered.
    let ((status, _, answer), ()) = tokio::join!(call, revoke);
    assert_eq!(status, 404, "{answer}");
    assert_eq!(upstream.got().len(), 1);
}

#[tokio::test]
async fn of_callers_with_a_token_of_their_own_rbac_alone_decides() {
    let (world, upstream) = world_with(&[]).await;
    pool(&world, &upstream, json!({})).await;
    let mut body = ask("hello");
    body["model"] = json!("other/fast");
    // What was asked of a user is remembered for a while: two of them.
    for (user, may, status) in [("app", false, 403), ("late", true, 200)] {
        let name = format!("system:serviceaccount:team:{user}");
        world.kube.token(user, &name, "oarmaster-gateway", None);
        if may {
            world
                .kube
                .allow(&format!("{name} use modelpools other/fast"));
        }
        let response = world.chat(user, body.clone()).await;
        assert_eq!(response.status(), status, "{user}");
    }
}
