//! Files that go from Task to Task, over HTTP: who reads which bytes, and who does not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use common::World;
use http::StatusCode;
use oarmaster_protocol::admin::AttemptReport;
use oarmaster_protocol::journal::{Artifact, Blob, Body, Checkpoint, Outcome};
use oarmaster_protocol::read::AuditAct;
use oarmaster_protocol::task::{Append, Claim, ClaimRequest};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A Task with a pod and a claimed attempt, whose token is its name.
struct Task<'a> {
    world: &'a World,
    name: &'static str,
    claim: Claim,
}

fn of(namespace: &str, name: &str) -> Value {
    json!({"namespace": namespace, "name": name, "uid": format!("uid-{name}")})
}

/// Opens and claims an attempt of a Task, with what is changed in its assignment.
async fn begin<'a>(world: &'a World, name: &'static str, changes: Value) -> Task<'a> {
    let uid = format!("uid-{name}");
    common::sandbox_of(&world.kube, (name, &uid), name, 1, name);
    let assignment = assigned("team", name, &changes);
    let request = json!({
        "runsIn": {"job": format!("{name}-1")}, "assignment": assignment, "budget": {}, "requestedBy": "bob@acme",
    });
    let opened = world
        .http
        .put(format!("{}/admin/v1/attempts/{uid}/1", world.admin))
        .bearer_auth(common::OPERATOR)
        .json(&request);
    let opened: AttemptReport = opened.send().await.unwrap().json().await.unwrap();
    let claim = json!({"assignment": opened.assignment, "nonce": name});
    let claim = world.post("/task/v1/claim", name, claim).await;
    Task {
        world,
        name,
        claim: claim.json().await.unwrap(),
    }
}

fn assigned(namespace: &str, name: &str, changes: &Value) -> Value {
    let mut assignment = common::assignment();
    assignment["task"] = of(namespace, name);
    for (key, value) in changes.as_object().unwrap() {
        assignment[key] = value.clone();
    }
    assignment
}

/// The Task `foreign` of another namespace, which has kept its workspace and an artifact.
async fn foreign(world: &World) -> (Blob, Artifact) {
    let (store, uid) = (&world.gateway.store, "uid-foreign");
    let assignment = assigned("other", "foreign", &json!({}));
    let request = json!({"runsIn": {"job": "foreign-1"}, "assignment": assignment, "budget": {}});
    let request = serde_json::from_value(request).unwrap();
    let opened = store.open_attempt(uid, 1, request).await.unwrap();
    let claim = ClaimRequest {
        assignment: opened.assignment,
        nonce: "n".into(),
    };
    let claim = store.claim(uid, 1, &claim, "pod").await.unwrap();
    let session = &claim.session;
    let part = store.put_blob(uid, 1, session, b"theirs").await.unwrap();
    let artifact = store.put_artifact(uid, 1, session, "out", b"theirs, too");
    let artifact = artifact.await.unwrap();
    let outcome = Outcome {
        artifacts: vec![artifact.clone()],
        workspace: Some(Checkpoint::Layer {
            base: true,
            blobs: vec![part.clone()],
        }),
        ..Outcome::default()
    };
    let end = Append {
        next: claim.next,
        records: vec![Body::Result { outcome }],
    };
    store.append(uid, 1, session, end).await.unwrap();
    (part, artifact)
}

impl Task<'_> {
    fn ask(&self, method: http::Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}/task/v1/{path}", self.world.data);
        let request = self.world.http.request(method, url).bearer_auth(self.name);
        request.header("oarmaster-session", &self.claim.session)
    }

    async fn keep(&self, bytes: &'static str) -> Blob {
        let put = self.ask(http::Method::PUT, "blobs").body(bytes);
        put.send().await.unwrap().json().await.unwrap()
    }

    async fn store(&self, kind: &str, bytes: &'static str) -> Artifact {
        let put = self.ask(http::Method::PUT, "artifacts/out").body(bytes);
        let put = put.header("content-type", kind);
        put.send().await.unwrap().json().await.unwrap()
    }

    async fn end(&self, outcome: Outcome) {
        let body = Body::Result { outcome };
        let append = json!({"next": self.claim.next, "records": [body]});
        let post = self.ask(http::Method::POST, "result").json(&append);
        assert_eq!(post.send().await.unwrap().status(), 200);
    }

    async fn end_with(&self, blobs: &[&Blob]) {
        let workspace = Checkpoint::Layer {
            base: true,
            blobs: blobs.iter().map(|blob| (*blob).clone()).collect(),
        };
        self.end(Outcome {
            workspace: Some(workspace),
            ..Outcome::default()
        })
        .await;
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let got = self.ask(http::Method::GET, path).send().await.unwrap();
        (got.status(), got.text().await.unwrap())
    }

    async fn read(&self, digest: &str) -> (StatusCode, String) {
        self.get(&format!("blobs/{digest}")).await
    }

    async fn handed(&self) -> Result<Vec<Blob>, String> {
        match self.get("handed").await {
            (StatusCode::OK, text) => Ok(serde_json::from_str(&text).unwrap()),
            (status, text) => {
                assert_eq!(status, StatusCode::NOT_FOUND, "{text}");
                Err(text)
            }
        }
    }
}

fn begins(name: &str) -> Value {
    json!({"workspace": {"from": of("team", name)}})
}

async fn reads(world: &World, name: &str) -> BTreeSet<String> {
    let uid = format!("uid-{name}");
    let (_, audit) = world.audit().await;
    let read = audit
        .into_iter()
        .filter(|record| record.act == AuditAct::Read && record.task == uid);
    read.map(|record| format!("{} {}", record.who, record.object))
        .collect()
}

/// The third reads what the second kept, parts of the first among them, and no more of the first than that.
#[tokio::test]
async fn a_workspace_is_read_by_whoever_begins_with_it() {
    let world = World::start().await;
    let one = begin(&world, "one", json!({})).await;
    let first = one.keep("first").await;
    let secret = one.keep("not kept").await;
    let two = begin(&world, "two", begins("one")).await;
    // Before the other has ended there is nothing, whatever the assignment says.
    assert!(two.handed().await.unwrap_err().contains("has not ended"));
    assert_eq!(two.read(&first.digest).await.0, 404);
    one.end_with(&[&first]).await;
    // The parts are its own once it was told them, and not before.
    assert_eq!(two.read(&first.digest).await.0, 404);
    for _ in 0..2 {
        assert_eq!(two.handed().await.unwrap(), std::slice::from_ref(&first));
    }
    assert_eq!(
        two.read(&first.digest).await,
        (StatusCode::OK, "first".into())
    );
    assert_eq!(two.read(&secret.digest).await.0, 404);
    let second = two.keep("second").await;
    two.end_with(&[&first, &second]).await;

    let three = begin(&world, "three", begins("two")).await;
    let both = [first.clone(), second.clone()];
    assert_eq!(three.handed().await.unwrap(), both);
    assert_eq!(three.read(&first.digest).await.1, "first");
    assert_eq!(three.read(&second.digest).await.1, "second");
    assert_eq!(three.read(&secret.digest).await.0, 404);
    assert_eq!(
        reads(&world, "two").await,
        ["bob@acme tasks/artifacts one".to_owned()].into()
    );
    assert_eq!(
        reads(&world, "three").await,
        ["bob@acme tasks/artifacts two".to_owned()].into()
    );

    // Who names nobody has nothing, and another session of the same Task neither.
    let alone = begin(&world, "alone", json!({})).await;
    assert!(alone.handed().await.is_err());
    for blob in &both {
        assert_eq!(alone.read(&blob.digest).await.0, 404);
    }
    let mut stolen = begin(&world, "stolen", begins("two")).await;
    stolen.claim.session = "another".into();
    assert_eq!(stolen.get("handed").await.0, 409);
    assert_eq!(stolen.read(&first.digest).await.0, 409);
    // What was taken over can be named in a checkpoint, what was not cannot.
    let append = |blob: &Blob| {
        let checkpoint = Checkpoint::Layer {
            base: false,
            blobs: vec![blob.clone()],
        };
        let body = Body::Check {
            round: 1,
            accepted: false,
            exit_code: None,
            text: String::new(),
            checkpoint: Some(checkpoint),
        };
        json!({"next": three.claim.next, "records": [body]})
    };
    for (blob, wanted) in [(&secret, 400), (&first, 200)] {
        let post = three.ask(http::Method::POST, "journal").json(&append(blob));
        assert_eq!(post.send().await.unwrap().status(), wanted);
    }
}

#[tokio::test]
async fn a_workspace_of_another_namespace_or_of_none_is_not_had() {
    let world = World::start().await;
    let (theirs, _) = foreign(&world).await;
    let none = begin(&world, "none", json!({})).await;
    none.end(Outcome::default()).await;
    for (name, from, wanted) in [
        (
            "a",
            of("other", "foreign"),
            "nothing is kept of Task foreign",
        ),
        (
            "b",
            of("team", "foreign"),
            "nothing is kept of Task foreign",
        ),
        (
            "c",
            of("team", "none"),
            "run it again with workspace.keep: true",
        ),
        ("d", of("team", "never"), "nothing is kept of Task never"),
    ] {
        let task = begin(&world, name, json!({"workspace": {"from": from}})).await;
        let told = task.handed().await.unwrap_err();
        assert!(told.contains(wanted), "{told}");
        assert_eq!(task.read(&theirs.digest).await.0, 404);
    }
}

#[tokio::test]
async fn an_artifact_is_read_by_whose_assignment_names_it() {
    let world = World::start().await;
    let one = begin(&world, "one", json!({})).await;
    let kept = one.store("application/x-tar", "archive").await;
    assert!(kept.archive);
    let part = one.keep("a part").await;
    let placed = |task: Value, name: &str, digest: &str| json!({"placed": [{"path": "x", "task": task, "name": name, "digest": digest, "size": 7, "archive": true}]});
    let mine = placed(of("team", "one"), "out", &kept.digest);
    let early = begin(&world, "early", mine.clone()).await;
    assert_eq!(early.read(&kept.digest).await.0, 404);
    one.end(Outcome {
        artifacts: vec![kept.clone()],
        ..Outcome::default()
    })
    .await;
    assert_eq!(
        early.read(&kept.digest).await,
        (StatusCode::OK, "archive".into())
    );
    // No other bytes of that Task, and no list of what there is.
    assert_eq!(early.read(&part.digest).await.0, 404);
    assert!(early.handed().await.is_err());
    assert_eq!(
        reads(&world, "early").await,
        ["bob@acme tasks/artifacts one".to_owned()].into()
    );

    let (_, theirs) = foreign(&world).await;
    assert!(
        !early
            .store("application/octet-stream", "a file")
            .await
            .archive
    );
    let attacks = [
        ("a", of("other", "foreign"), "out", &theirs.digest),
        ("b", of("team", "foreign"), "out", &theirs.digest),
        ("c", of("team", "one"), "out", &theirs.digest),
        ("d", of("team", "one"), "out", &part.digest),
        ("e", of("team", "one"), "other", &kept.digest),
        ("f", of("team", "never"), "out", &kept.digest),
    ];
    for (name, task, artifact, digest) in attacks {
        let attacker = begin(&world, name, placed(task, artifact, digest)).await;
        assert_eq!(attacker.read(digest).await.0, 404, "{name}");
        assert_eq!(attacker.read(&kept.digest).await.0, 404, "{name}");
    }
    let alone = begin(&world, "alone", json!({})).await;
    assert_eq!(alone.read(&kept.digest).await.0, 404);
}
