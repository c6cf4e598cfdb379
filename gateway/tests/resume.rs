//! What a pilot needs to go on where another stopped: the journal, the parts of checkpoints, and the call that runs on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use common::{PILOT, UID, World, members, scripted};
use oarmaster_protocol::admin::{AttemptReport, TaskBudget};
use oarmaster_protocol::assignment::Assignment;
use oarmaster_protocol::journal::{Blob, Body, Checkpoint, Outcome};
use oarmaster_protocol::read::AuditAct;
use oarmaster_protocol::request::{Ask, Reply, RequestState};
use oarmaster_protocol::task::{Claim, Journal};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

async fn world() -> World {
    let world = World::start().await;
    let rules = json!([{"reply": {"text": "hi", "usage": {"inputTokens": 10, "outputTokens": 1}}}]);
    world.provider("team", "play", scripted(rules)).await;
    world.pool("team", "fast", members(&["play"])).await;
    world
}

fn ask(world: &World, method: &str, path: &str, session: &str) -> reqwest::RequestBuilder {
    let method = method.parse().unwrap();
    world
        .http
        .request(method, format!("{}/task/v1/{path}", world.data))
        .bearer_auth(PILOT)
        .header("oarmaster-session", session)
}

#[tokio::test]
async fn the_journal_is_read_in_pages_by_the_newest_session_alone() {
    let world = world().await;
    let claim = world.task(TaskBudget::default()).await;
    assert_eq!(claim.context_tokens, None, "nobody says it of this model");
    world
        .call(&claim.session, claim.next_call, claim.next, "fix it")
        .await;
    let page: Journal = ask(&world, "GET", "journal/0", &claim.session)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let seqs: Vec<u64> = page.records.iter().map(|record| record.seq).collect();
    assert_eq!(seqs, [0, 1, 2, 3]);
    assert!(matches!(page.records[3].body, Body::Answer { .. }));
    let rest = ask(&world, "GET", "journal/4", &claim.session);
    let rest: Journal = rest.send().await.unwrap().json().await.unwrap();
    assert_eq!(rest, Journal::default());
    for (session, path) in [("another", "journal/0"), (&*claim.session, "journal/x")] {
        let refused = ask(&world, "GET", path, session).send().await.unwrap();
        assert!(refused.status().is_client_error(), "{path}");
    }
}

/// The window is that of the member that takes the most, and unknown where it is unknown of one.
#[tokio::test]
async fn a_claim_says_how_much_the_pool_takes() {
    let world = World::start().await;
    let of = |tokens: Value| {
        let mut spec = scripted(json!([{"reply": {"text": "hi"}}]));
        spec["models"][0]["contextTokens"] = tokens;
        spec
    };
    world.provider("team", "small", of(json!(5000))).await;
    world.provider("team", "large", of(json!(9000))).await;
    world
        .pool("team", "fast", members(&["small", "large"]))
        .await;
    let claim = world.task(TaskBudget::default()).await;
    assert_eq!(claim.context_tokens, Some(9000));
}

#[tokio::test]
async fn parts_of_checkpoints_come_back_and_are_nobody_elses() {
    let world = world().await;
    let claim = world.task(TaskBudget::default()).await;
    let bytes = vec![7_u8; 3 << 20];
    let put = |bytes: Vec<u8>| {
        ask(&world, "PUT", "blobs", &claim.session)
            .body(bytes)
            .send()
    };
    let kept: Blob = put(bytes.clone()).await.unwrap().json().await.unwrap();
    assert_eq!(kept.digest, oarmaster_protocol::digest(&bytes));
    assert_eq!(put(vec![0; (8 << 20) + 1]).await.unwrap().status(), 413);
    let get = |digest: &str, session: &str| {
        ask(&world, "GET", &format!("blobs/{digest}"), session).send()
    };
    let back = get(&kept.digest, &claim.session).await.unwrap();
    assert_eq!(back.bytes().await.unwrap(), bytes);
    let wrong = get("sha256:00", &claim.session).await.unwrap();
    assert_eq!(wrong.status(), 404);
    let traversal = get("..%2f..%2flog", &claim.session).await.unwrap();
    assert_eq!(traversal.status(), 404);
    let stranger = get(&kept.digest, "another").await.unwrap();
    assert_eq!(stranger.status(), 409);
}

/// A Task that keeps its workspace again and again does so at a pace, and neither its other requests nor ordinary checkpoints wait for it.
#[tokio::test]
async fn parts_of_checkpoints_have_a_pace_of_their_own() {
    const SECOND: usize = 8 << 20;
    const AT_ONCE: usize = 256 << 20;
    let world = world().await;
    let claim = world.task(TaskBudget::default()).await;
    let put = async |fill: u8| {
        let part = ask(&world, "PUT", "blobs", &claim.session).body(vec![fill; SECOND]);
        assert_eq!(part.send().await.unwrap().status(), 200);
    };
    let begun = std::time::Instant::now();
    world.gateway.keeps(UID, AT_ONCE + 12 * SECOND);
    // The first waits twelve seconds, which is long for one request on any machine.
    let mut first = std::pin::pin!(put(1));
    let other = async {
        let page = ask(&world, "GET", "journal/0", &claim.session);
        assert_eq!(page.send().await.unwrap().status(), 200);
    };
    tokio::select! {
        biased;
        () = other => {}
        () = &mut first => panic!("another request waited for the checkpoint"),
    }
    first.await;
    put(2).await; // for what the first one cost
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(12_990), "{waited:?}");
}

/// A follow-up reads the journal, and the workspace, of the Task that its assignment names, and of no other. The audit has it.
#[tokio::test]
async fn a_follow_up_reads_what_it_continues_and_nothing_else() {
    const MINE: &str = "uid-follow";
    const TOKEN: &str = "follow-up";
    let world = world().await;
    let first = world.task(TaskBudget::default()).await;
    world
        .call(&first.session, first.next_call, first.next, "fix it")
        .await;
    let kept = ask(&world, "PUT", "blobs", &first.session).body("kept");
    let kept: Blob = kept.send().await.unwrap().json().await.unwrap();
    let alone = ask(&world, "GET", "continued", &first.session);
    assert_eq!(alone.send().await.unwrap().status(), 404);
    let alone = ask(&world, "GET", "continued/0", &first.session);
    assert_eq!(alone.send().await.unwrap().status(), 404);

    let theirs = common::assignment();
    let mut assignment = theirs.clone();
    assignment["continues"] = theirs["task"].clone();
    assignment["task"] = json!({"namespace": "team", "name": "follow", "uid": MINE});
    common::sandbox_of(&world.kube, ("follow", MINE), "follow", 1, TOKEN);
    let request = json!({"runsIn": {"job": "follow-1"}, "assignment": assignment, "budget": {}, "requestedBy": "bob@acme"});
    let opened = world
        .http
        .put(format!("{}/admin/v1/attempts/{MINE}/1", world.admin))
        .bearer_auth(common::OPERATOR)
        .json(&request);
    let opened = opened.send().await.unwrap();
    let opened: AttemptReport = opened.json().await.unwrap();
    let claim = json!({"assignment": opened.assignment, "nonce": "n2"});
    let claim = world.post("/task/v1/claim", TOKEN, claim).await;
    let claim: Claim = claim.json().await.unwrap();

    let get = async |token: &str, session: &str, path: &str| {
        let url = format!("{}/task/v1/{path}", world.data);
        let get = world.http.get(url).bearer_auth(token);
        get.header("oarmaster-session", session)
            .send()
            .await
            .unwrap()
    };
    let mine = async |path: &str| get(TOKEN, &claim.session, path).await;
    let read: Assignment = mine("continued").await.json().await.unwrap();
    assert_eq!(read.task.uid, UID);
    let page: Journal = mine("continued/0").await.json().await.unwrap();
    let of = |attempt| page.records.iter().filter(move |r| r.attempt == attempt);
    assert_eq!(of(1).count(), 4, "{page:?}");
    assert!(matches!(page.records[3].body, Body::Answer { .. }));
    let rest: Journal = mine("continued/4").await.json().await.unwrap();
    assert_eq!(rest, Journal::default());
    let blob = format!("blobs/{}", kept.digest);
    assert_eq!(mine(&blob).await.bytes().await.unwrap(), "kept");
    // Its own journal is its own.
    let own: Journal = mine("journal/0").await.json().await.unwrap();
    assert!(own.records.len() < 4, "{own:?}");

    // Nobody but its newest session, and the other way round nothing.
    for path in ["continued", "continued/0", &*blob] {
        let refused = get(TOKEN, "another", path).await;
        assert_eq!(refused.status(), 409, "{path}");
    }
    let put = world.http.put(format!("{}/task/v1/blobs", world.data));
    let put = put
        .bearer_auth(TOKEN)
        .header("oarmaster-session", &claim.session);
    let put: Blob = put.body("mine").send().await.unwrap().json().await.unwrap();
    let back = get(PILOT, &first.session, &format!("blobs/{}", put.digest)).await;
    assert_eq!(back.status(), 404);

    let (_, audit) = world.audit().await;
    let reads: BTreeSet<(String, String, String)> = audit
        .into_iter()
        .filter(|record| record.act == AuditAct::Read && record.task == MINE)
        .map(|record| (record.who, record.namespace, record.object))
        .collect();
    let read = |what: &str| {
        (
            "bob@acme".to_owned(),
            "team".to_owned(),
            format!("tasks/{what} fix"),
        )
    };
    assert_eq!(reads, [read("artifacts"), read("transcript")].into());
}

/// The next attempt has the answer of the one before under the number that it had.
#[tokio::test]
async fn another_attempt_is_given_what_was_answered() {
    let world = world().await;
    let claim = world.task(TaskBudget::default()).await;
    let first = world
        .call(&claim.session, claim.next_call, claim.next, "fix it")
        .await;
    world.pod(2);
    let report = world.open(2, TaskBudget::default()).await;
    let claimed: Value = world
        .http
        .post(format!("{}/task/v1/claim", world.data))
        .bearer_auth(common::token(2))
        .json(&json!({"assignment": report.assignment, "nonce": "second"}))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let session = claimed["session"].as_str().unwrap();
    let again = world
        .http
        .post(format!("{}/v1/chat/completions", world.data))
        .bearer_auth(common::token(2))
        .header("oarmaster-session", session)
        .header("oarmaster-call", claim.next_call)
        .header("oarmaster-next", claimed["next"].as_u64().unwrap())
        .json(&json!({"model": "team/fast", "messages": [{"role": "user", "content": "fix it"}], "max_tokens": 100}))
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), 200);
    assert_eq!(again.json::<Value>().await.unwrap(), first.2);
    assert_eq!(world.gateway.store.usage(UID).await.unwrap().calls, 1);
}

/// A child Task reads the parts of the workspace that its request names, and no other of its parent's; the parent those that its child left, once it has ended.
#[tokio::test]
async fn files_are_handed_on_and_come_back() {
    const CHILD: &str = "uid-child";
    const TOKEN: &str = "child";
    let world = world().await;
    // One that continues another: that one's parts are not what it is given back.
    let mut follows = common::assignment();
    follows["continues"] = json!({"namespace": "team", "name": "before", "uid": "uid-before"});
    let first = world.task_with(TaskBudget::default(), follows).await;
    let blobs = async |token: &str, session: &str, body: &'static str| -> Blob {
        let put = world.http.put(format!("{}/task/v1/blobs", world.data));
        let put = put.bearer_auth(token).header("oarmaster-session", session);
        put.body(body).send().await.unwrap().json().await.unwrap()
    };
    let get = async |token: &str, session: &str, path: &str| {
        let url = format!("{}/task/v1/{path}", world.data);
        let get = world.http.get(url).bearer_auth(token);
        let get = get.header("oarmaster-session", session);
        get.send().await.unwrap()
    };
    let append = async |token: &str, path: &str, claim: &Claim, body: &Body| {
        let url = format!("{}/task/v1/{path}", world.data);
        let append = json!({"next": claim.next, "records": [body]});
        let post = world.http.post(url).bearer_auth(token).json(&append);
        let post = post.header("oarmaster-session", &claim.session);
        post.send().await.unwrap().status()
    };
    let handed = blobs(PILOT, &first.session, "handed").await;
    let other = blobs(PILOT, &first.session, "other").await;
    let asks = |blobs: Vec<Blob>| {
        let what = Ask::Delegate {
            agent: "coder".into(),
            prompt: "fix it".into(),
            workspace: Some(blobs),
        };
        let id = what.id(1);
        let checkpoint = None;
        (
            id.clone(),
            Body::Asked {
                id,
                what,
                checkpoint,
            },
        )
    };
    let missing = Blob {
        digest: "sha256:none".into(),
        size: 1,
    };
    let (_, unknown) = asks(vec![missing]);
    assert_eq!(append(PILOT, "journal", &first, &unknown).await, 400);
    let (id, asked) = asks(vec![handed.clone()]);
    assert_eq!(append(PILOT, "journal", &first, &asked).await, 200);
    assert_eq!(get(PILOT, &first.session, "handed").await.status(), 404);

    let mut assignment = common::assignment();
    assignment["handed"] = json!({"task": UID, "request": id});
    assignment["task"] = json!({"namespace": "team", "name": "child", "uid": CHILD});
    common::sandbox_of(&world.kube, ("child", CHILD), "child", 1, TOKEN);
    let request = json!({"runsIn": {"job": "child-1"}, "assignment": assignment, "budget": {}, "requestedBy": "bob@acme", "parent": UID});
    let opened = world
        .http
        .put(format!("{}/admin/v1/attempts/{CHILD}/1", world.admin))
        .bearer_auth(common::OPERATOR)
        .json(&request);
    let opened: AttemptReport = opened.send().await.unwrap().json().await.unwrap();
    let claim = json!({"assignment": opened.assignment, "nonce": "n2"});
    let claim = world.post("/task/v1/claim", TOKEN, claim).await;
    let claim: Claim = claim.json().await.unwrap();
    let list: Vec<Blob> = get(TOKEN, &claim.session, "handed")
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(list, std::slice::from_ref(&handed));
    let part = |blob: &Blob| format!("blobs/{}", blob.digest);
    let read = get(TOKEN, &claim.session, &part(&handed)).await;
    assert_eq!(read.bytes().await.unwrap(), "handed");
    assert_eq!(
        get(TOKEN, &claim.session, &part(&other)).await.status(),
        404
    );
    assert_eq!(get(TOKEN, "another", "handed").await.status(), 409);

    let left = blobs(TOKEN, &claim.session, "left").await;
    let secret = blobs(TOKEN, &claim.session, "not left").await;
    let workspace = Checkpoint::Layer {
        base: true,
        blobs: vec![left.clone()],
    };
    let outcome = Outcome {
        workspace: Some(workspace.clone()),
        ..Outcome::default()
    };
    assert_eq!(get(PILOT, &first.session, &part(&left)).await.status(), 404);
    let ended = Body::Result { outcome };
    assert_eq!(append(TOKEN, "result", &claim, &ended).await, 200);
    let reply = Reply {
        ok: true,
        value: json!({"text": "fixed"}),
        task: Some(CHILD.to_owned()),
    };
    world.gateway.store.answer(UID, &id, &reply).await.unwrap();
    let told = get(PILOT, &first.session, &format!("requests/{id}")).await;
    let told: RequestState = told.json().await.unwrap();
    assert_eq!(told.answer.unwrap().workspace, Some(workspace));
    let back = get(PILOT, &first.session, &part(&left)).await;
    assert_eq!(back.bytes().await.unwrap(), "left");
    let hidden = get(PILOT, &first.session, &part(&secret)).await;
    assert_eq!(hidden.status(), 404);
    // What was asked is answered: nobody begins with it any more.
    assert!(world.gateway.store.handed(UID, &id).is_err());
}
