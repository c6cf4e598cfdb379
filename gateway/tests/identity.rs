//! Who is let in, and who is not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use common::upstream::{Reply, Upstream};
use common::{OPERATOR, PILOT, UID, World, ask, members, scripted};
use oarmaster_protocol::admin::TaskBudget;
use serde_json::{Value, json};

const SANDBOX: &str = "system:serviceaccount:team:oarmaster-sandbox";

async fn world() -> World {
    let world = World::start().await;
    world
        .provider("team", "play", scripted(json!([{"reply": {"text": "hi"}}])))
        .await;
    world.pool("team", "fast", members(&["play"])).await;
    world
}

async fn claim(world: &World, token: &str) -> (u16, String) {
    let response = world
        .http
        .post(format!("{}/task/v1/claim", world.data))
        .bearer_auth(token)
        .json(&json!({"assignment": "sha256:00", "nonce": "n"}))
        .send()
        .await
        .unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn a_sandbox_identity_without_its_whole_chain_is_refused_whatever_rbac_says() {
    let world = world().await;
    world.pod(1);
    world
        .kube
        .allow(&format!("{SANDBOX} use modelpools team/fast"));
    world
        .kube
        .token("unbound", SANDBOX, "oarmaster-gateway", None);
    world.kube.token(
        "gone",
        SANDBOX,
        "oarmaster-gateway",
        Some(("no-such-pod", "u")),
    );
    world.kube.token(
        "replaced",
        SANDBOX,
        "oarmaster-gateway",
        Some(("job-1-x", "older-uid")),
    );
    let labels = json!({"oarmaster.dev/sandbox": "true", "oarmaster.dev/attempt": "1"});
    let forged = |name: &str, labels: &Value, owners: Value| {
        world.kube.apply("pods", json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "team", "name": name, "uid": name, "labels": labels, "ownerReferences": owners}}));
        world
            .kube
            .token(name, SANDBOX, "oarmaster-gateway", Some((name, name)));
    };
    let owner = |uid: &str, controller: bool| json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "job-1", "uid": uid, "controller": controller}]);
    forged("unlabelled", &json!({}), owner("job-uid-1", true));
    forged("orphan", &labels, json!([]));
    forged("no-controller", &labels, owner("job-uid-1", false));
    forged("other-job", &labels, owner("another-uid", true));
    forged(
        "other-attempt",
        &json!({"oarmaster.dev/sandbox": "true", "oarmaster.dev/attempt": "2"}),
        owner("job-uid-1", true),
    );
    for token in [
        "unbound",
        "gone",
        "replaced",
        "unlabelled",
        "orphan",
        "no-controller",
        "other-job",
        "other-attempt",
    ] {
        let (status, text) = claim(&world, token).await;
        assert_eq!(status, 403, "{token}: {text}");
        assert_eq!(world.chat(token, ask("hi")).await.status(), 403, "{token}");
    }
    let (status, text) = claim(&world, PILOT).await;
    assert_eq!(status, 403, "the attempt is not opened yet: {text}");
    let report = world.open(1, TaskBudget::default()).await;
    assert_eq!(report.claimed_at_ms, None);
    let (status, text) = claim(&world, PILOT).await;
    assert_ne!(
        status, 403,
        "a real pod comes as far as the digest of its assignment: {text}"
    );
}

#[tokio::test]
async fn a_labelled_pod_of_an_ordinary_account_does_not_fall_back_to_rbac() {
    let world = world().await;
    let user = "system:serviceaccount:team:app";
    world
        .kube
        .allow(&format!("{user} use modelpools team/fast"));
    let pod = |name: &str, labels: Value| {
        world.kube.apply("pods", json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "team", "name": name, "uid": name, "labels": labels}}));
        world
            .kube
            .token(name, user, "oarmaster-gateway", Some((name, name)));
    };
    pod("labelled", json!({"oarmaster.dev/sandbox": "true"}));
    pod("plain", json!({"app": "x"}));
    assert_eq!(world.chat("labelled", ask("hi")).await.status(), 403);
    assert_eq!(world.chat("plain", ask("hi")).await.status(), 200);
}

#[tokio::test]
async fn tokens_are_for_one_listener_and_headers_are_nobody() {
    let world = world().await;
    let user = world.user();
    world.kube.token("kubeconfig", "bob", "api-server", None);
    world
        .kube
        .token("other", "system:serviceaccount:team:app", "vault", None);
    for token in ["nonsense", OPERATOR, "kubeconfig", "other"] {
        assert_eq!(world.chat(token, ask("hi")).await.status(), 401, "{token}");
    }
    let admin = |token: &str| {
        world
            .http
            .get(format!("{}/admin/v1/providers", world.admin))
            .bearer_auth(token)
            .send()
    };
    assert_eq!(admin(user).await.unwrap().status(), 401);
    world.kube.token(
        "nearly",
        "system:serviceaccount:team:oarmaster-operator",
        "oarmaster-gateway-admin",
        None,
    );
    assert_eq!(
        admin("nearly").await.unwrap().status(),
        403,
        "the same name in another namespace"
    );
    assert_eq!(admin(OPERATOR).await.unwrap().status(), 200);

    let url = format!("{}/v1/models", world.data);
    for (name, value) in [
        ("x-user-id", "admin"),
        ("x-remote-user", "admin"),
        ("impersonate-user", "admin"),
        ("authorization", "Basic eDp5"),
        ("authorization", "Bearer"),
    ] {
        let response = world
            .http
            .get(&url)
            .header(name, value)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 401, "{name}");
    }
    let twice = world
        .http
        .get(&url)
        .bearer_auth(user)
        .header("authorization", "Bearer other")
        .send()
        .await
        .unwrap();
    assert_eq!(twice.status(), 401);
    let models: Value = world
        .http
        .get(&url)
        .bearer_auth(user)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(models["data"][0]["id"], "team/fast");
}

#[tokio::test]
async fn without_the_api_server_known_tokens_serve_and_others_are_told() {
    let world = world().await;
    let user = world.user();
    assert_eq!(world.chat(user, ask("hi")).await.status(), 200);
    let reviews = world.kube.token_reviews();
    world.kube.down(true);
    assert_eq!(world.chat(user, ask("hi")).await.status(), 200);
    let response = world.chat("unknown", ask("hi")).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    world.kube.down(false);
    assert_eq!(
        world.chat("unknown", ask("hi")).await.status(),
        401,
        "a failure is not remembered"
    );
    assert_eq!(world.kube.token_reviews(), reviews + 1);
}

#[tokio::test]
async fn one_review_serves_many_requests() {
    let world = world().await;
    let user = world.user();
    let calls = (0..32).map(|_| world.chat(user, ask("hi")));
    for response in futures::future::join_all(calls).await {
        assert_eq!(response.status(), 200);
    }
    assert_eq!(world.kube.token_reviews(), 1);
}

#[tokio::test]
async fn pools_are_for_those_who_may_use_them() {
    let world = world().await;
    let user = world.user();
    world.pool("team", "secret", members(&["play"])).await;
    world
        .pool(common::RELEASE, "house", members(&["play"]))
        .await;
    let with = |model: &str| {
        let mut body = ask("hi");
        body["model"] = json!(model);
        world.chat(user, body)
    };
    assert_eq!(with("fast").await.status(), 200);
    assert_eq!(with("team/fast").await.status(), 200);
    let hidden = with("team/secret").await;
    let absent = with("team/absent").await;
    assert_eq!(
        (hidden.status(), absent.status()),
        (http::StatusCode::FORBIDDEN, http::StatusCode::FORBIDDEN)
    );
    let text = with("default").await.text().await.unwrap();
    assert!(
        text.contains("modelpools/house in namespace oarmaster-system"),
        "the default pool is the release's: {text}"
    );
    world
        .kube
        .allow("system:serviceaccount:team:app use modelpools team/gone");
    assert_eq!(with("team/gone").await.status(), 404);
}

#[tokio::test]
async fn what_does_not_exist_is_asked_for_once_and_what_is_no_name_never() {
    let world = world().await;
    let user = world.user();
    let allowed = |pool: &str| {
        let user = "system:serviceaccount:team:app";
        world.kube.allow(&format!("{user} use modelpools {pool}"));
        let mut body = ask("hi");
        body["model"] = json!(pool);
        body
    };
    for pool in [
        "team/../secrets",
        "team/gone/status",
        "team/gone?watch=true",
        "team/%2e%2e",
        "team/gone#",
        "team/GONE",
        "team/",
        "../gone",
        "te?am/gone",
        "a.b/gone",
    ] {
        let answer = world.chat(user, allowed(pool)).await;
        assert_eq!(answer.status(), 404, "{pool}");
    }
    assert_eq!(world.kube.gets("modelpools"), 0);

    let body = allowed("team/gone");
    let calls = (0..32).map(|_| world.chat(user, body.clone()));
    for response in futures::future::join_all(calls).await {
        assert_eq!(response.status(), 404);
    }
    let gets = world.kube.gets("modelpools");
    // One, but for a machine that stops for 2 s in between.
    assert!((1..=4).contains(&gets), "{gets}");
}

#[tokio::test]
async fn a_task_has_its_own_pool_only() {
    let world = world().await;
    world.pool("team", "other", members(&["play"])).await;
    let claim = world.task(TaskBudget::default()).await;
    let mut body = ask("hi");
    body["model"] = json!("team/other");
    let (status, _, answer) = world
        .call_with(&claim.session, claim.next_call, claim.next, body)
        .await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (403, &json!("forbidden"))
    );
    let models: Value = world
        .http
        .get(format!("{}/v1/models", world.data))
        .bearer_auth(PILOT)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(models["data"].as_array().unwrap().len(), 1);
    assert_eq!(models["data"][0]["id"], "team/fast");
}

#[tokio::test]
async fn bad_bodies_are_refused_and_large_ones_served() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &[]).await;
    let user = world.user();
    let post = |token: &str, body: Vec<u8>| {
        world
            .http
            .post(format!("{}/v1/chat/completions", world.data))
            .bearer_auth(token)
            .body(body)
            .send()
    };
    let deep = format!(
        r#"{{"model":"fast","messages":{}{}}}"#,
        "[".repeat(5000),
        "]".repeat(5000)
    );
    for (body, word) in [
        (b"{".to_vec(), "line 1 column 1"),
        (b"[]".to_vec(), "expected an object"),
        (b"{}".to_vec(), "field model"),
        (br#"{"model":"fast"}"#.to_vec(), "field messages"),
        (
            br#"{"model":"fast","messages":[{}],"max_tokens":-1}"#.to_vec(),
            "field max_tokens",
        ),
        (
            br#"{"model":"fast","messages":[{}],"stream":"yes"}"#.to_vec(),
            "field stream",
        ),
        (
            br#"{"model":"fast","messages":[{}],"model":"other"}"#.to_vec(),
            "twice",
        ),
        (
            br#"{"model":"fast","messages":[{}],"api_base":"http://evil"}"#.to_vec(),
            "api_base",
        ),
        (b"{\"model\":\"fa\xffst\"}".to_vec(), "UTF-8"),
        (deep.into_bytes(), "nested"),
    ] {
        let response = post(user, body).await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert!(
            status == 400 && text.contains(word),
            "{word}: {status} {text}"
        );
    }
    assert!(upstream.got().is_empty());
    upstream.reply(Reply::answer("read it"));
    assert_eq!(
        world
            .chat(user, ask(&"long ".repeat(2 << 20)))
            .await
            .status(),
        200
    );
    assert_eq!(
        post(user, vec![b' '; (32 << 20) + 1])
            .await
            .unwrap()
            .status(),
        413
    );
    let unknown = post("nonsense", b"{".to_vec()).await.unwrap();
    assert_eq!(
        unknown.status(),
        401,
        "nothing is parsed before the caller is known"
    );
    let _ = UID;
}
