//! Workspaces and artifacts that go from Task to Task: who may have them, and what is left when the Tasks before are gone.

use super::*;
use crate::entry::Entry;
use oarmaster_protocol::assignment::Placed;
use oarmaster_protocol::journal::{Blob, Checkpoint};
use oarmaster_protocol::task::ErrorCode;

fn of(name: &str) -> TaskRef {
    of_namespace("team", name)
}

fn of_namespace(namespace: &str, name: &str) -> TaskRef {
    TaskRef {
        namespace: namespace.into(),
        name: name.into(),
        uid: format!("uid-{name}"),
    }
}

/// The store, and the sessions of its Tasks by name.
struct World {
    dir: TempDir,
    store: Store,
    sessions: std::collections::BTreeMap<String, String>,
}

impl World {
    async fn new() -> Self {
        let (dir, store) = store().await;
        Self {
            dir,
            store,
            sessions: Default::default(),
        }
    }

    async fn begin(&mut self, task: &TaskRef) {
        let mut request = open_request(&task.uid, usd(1));
        if let Some(assignment) = &mut request.assignment {
            assignment.task = task.clone();
        }
        let report = self.store.open_attempt(&task.uid, 1, request).await;
        let request = ClaimRequest {
            assignment: report.unwrap().assignment,
            nonce: "n".into(),
        };
        let claim = self.store.claim(&task.uid, 1, &request, "pod").await;
        self.sessions
            .insert(task.name.clone(), claim.unwrap().session);
    }

    async fn keep(&self, name: &str, bytes: &str) -> Blob {
        let (uid, session) = (of(name).uid, &self.sessions[name]);
        let put = self.store.put_blob(&uid, 1, session, bytes.as_bytes());
        put.await.unwrap()
    }

    async fn end(&self, name: &str, workspace: Option<Checkpoint>) {
        let artifacts = self.store.artifacts(&of(name).uid).await.unwrap();
        let outcome = Outcome {
            artifacts,
            workspace,
            ..Outcome::default()
        };
        let uid = of(name).uid;
        let next = self.store.next(&uid).await.unwrap();
        let ended = append(next, vec![Body::Result { outcome }]);
        let ended = self.store.append(&uid, 1, &self.sessions[name], ended);
        ended.await.unwrap();
    }

    async fn take(&self, name: &str, from: &TaskRef) -> Result<Vec<Blob>, Refusal> {
        let session = &self.sessions[name];
        self.store.take_over(&of(name).uid, 1, session, from).await
    }

    async fn has(&self, name: &str, blob: &Blob) -> bool {
        self.store.blob(&of(name).uid, &blob.digest).await.is_ok()
    }

    /// As if retention had let go of what a Task kept.
    async fn release(&self, name: &str) {
        let entry = Entry::Released {
            at_ms: 1,
            tasks: vec![of(name).uid],
        };
        let release = self.store.change(|_| Ok((vec![entry], ())), |_, ()| ());
        release.await.unwrap();
    }

    async fn restart(self) -> Self {
        let Self {
            dir,
            store,
            sessions,
        } = self;
        drop(store);
        let store = Store::open(options(dir.path())).await.unwrap();
        Self {
            dir,
            store,
            sessions,
        }
    }
}

fn layer(base: bool, blobs: &[&Blob]) -> Checkpoint {
    Checkpoint::Layer {
        base,
        blobs: blobs.iter().map(|blob| (*blob).clone()).collect(),
    }
}

fn said(refused: Result<Vec<Blob>, Refusal>) -> String {
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NotFound);
    refused.to_string()
}

/// The third has what the first and the second kept, also when both are gone; each byte is there once.
#[tokio::test]
async fn a_chain_needs_its_last_task_alone() {
    let mut world = World::new().await;
    for name in ["one", "two", "three"] {
        world.begin(&of(name)).await;
    }
    let first = world.keep("one", "first").await;
    world.end("one", Some(layer(true, &[&first]))).await;
    let taken = world.take("two", &of("one")).await.unwrap();
    assert_eq!(taken, std::slice::from_ref(&first));
    assert_eq!(world.store.volume().blobs, 5, "it is there once");
    let second = world.keep("two", "second").await;
    world
        .end("two", Some(layer(true, &[&first, &second])))
        .await;
    world.release("one").await;
    assert!(!world.has("one", &first).await);
    assert!(world.has("two", &first).await);

    let taken = world.take("three", &of("two")).await.unwrap();
    assert_eq!(taken, [first.clone(), second.clone()]);
    world.release("two").await;
    let world = world.restart().await;
    assert_eq!(world.store.volume().blobs, 11);
    for blob in [&first, &second] {
        assert!(world.has("three", blob).await);
    }
    // Asked for again, they are the same, whatever became of the other.
    let again = world.take("three", &of("two")).await.unwrap();
    assert_eq!(again, [first, second]);
    world.end("three", None).await;
    world.release("three").await;
    assert_eq!(world.store.volume().blobs, 0);
    assert_eq!(
        fold(world.dir.path(), &frames(world.dir.path())),
        world.store.lock().state
    );
}

/// A base of its own takes the place of its own layers; what it began with stays, since it may begin anew.
#[tokio::test]
async fn what_a_task_began_with_stays_while_it_runs() {
    let mut world = World::new().await;
    for name in ["one", "two"] {
        world.begin(&of(name)).await;
    }
    let first = world.keep("one", "first").await;
    world.end("one", Some(layer(true, &[&first]))).await;
    world.take("two", &of("one")).await.unwrap();
    let say = async |checkpoint: Checkpoint| {
        let uid = of("two").uid;
        let next = world.store.next(&uid).await.unwrap();
        let body = Body::ToolResult {
            id: "a".into(),
            tool: "Shell".into(),
            ok: true,
            text: String::new(),
            checkpoint: Some(checkpoint),
            heard: None,
        };
        let append = append(next, vec![body]);
        let append = world.store.append(&uid, 1, &world.sessions["two"], append);
        append.await.unwrap();
    };
    let over = world.keep("two", "over").await;
    say(layer(true, &[&first, &over])).await;
    let base = world.keep("two", "a base of its own").await;
    say(layer(true, &[&base])).await;
    assert!(!world.has("two", &over).await);
    assert!(world.has("two", &first).await && world.has("two", &base).await);
}

#[tokio::test]
async fn nothing_is_had_of_a_task_that_has_not_kept_it() {
    let mut world = World::new().await;
    let foreign = of_namespace("other", "foreign");
    for task in [
        of("mine"),
        of("runs"),
        of("none"),
        of("lost"),
        of("gone"),
        foreign.clone(),
    ] {
        world.begin(&task).await;
    }
    let kept = world.keep("gone", "kept").await;
    world.end("none", None).await;
    let failed = Checkpoint::Failed {
        why: "the quota".into(),
    };
    world.end("lost", Some(failed)).await;
    world.end("gone", Some(layer(true, &[&kept]))).await;
    world.release("gone").await;
    let theirs = world.keep("foreign", "theirs").await;
    world.end("foreign", Some(layer(true, &[&theirs]))).await;
    for (from, wanted) in [
        (of("runs"), "Task runs has not ended by itself"),
        (
            of("none"),
            "Task none kept no workspace; run it again with workspace.keep: true",
        ),
        (
            of("lost"),
            "the workspace of Task lost could not be kept: the quota",
        ),
        (of("gone"), "the workspace of Task gone is no longer kept"),
        (of("never"), "nothing is kept of Task never any more"),
        // Another namespace's is as one that there is not, whatever the reference says.
        (foreign.clone(), "nothing is kept of Task foreign any more"),
        (of("foreign"), "nothing is kept of Task foreign any more"),
    ] {
        let told = said(world.take("mine", &from).await);
        assert!(told.starts_with(wanted), "{told}");
    }
    assert!(!world.has("mine", &theirs).await);
    let (mine, gone) = (of("mine").uid, of("gone"));
    let stranger = world.store.take_over(&mine, 1, "x", &gone).await;
    assert_eq!(stranger.unwrap_err().code(), ErrorCode::Fenced);
}

/// What a Task took over is not what it may keep itself.
#[tokio::test]
async fn parts_of_others_count_in_no_quota_but_the_volumes() {
    let mut world = World::new().await;
    drop(world.store);
    world.store = Store::open(Options {
        artifact_bytes: 10,
        ..options(world.dir.path())
    })
    .await
    .unwrap();
    for name in ["one", "two"] {
        world.begin(&of(name)).await;
    }
    let first = world.keep("one", "12345678").await;
    world.end("one", Some(layer(true, &[&first]))).await;
    world.take("two", &of("one")).await.unwrap();
    world.keep("two", "87654321").await;
    let session = &world.sessions["two"];
    let two = of("two").uid;
    let refused = world.store.put_blob(&two, 1, session, b"more").await;
    let refused = refused.unwrap_err();
    assert!(refused.to_string().contains("8 of 10"), "{refused}");
    assert_eq!(world.store.volume().blobs, 16);
}

#[tokio::test]
async fn an_artifact_is_placed_that_a_task_has_kept_at_its_end() {
    let mut world = World::new().await;
    let foreign = of_namespace("other", "foreign");
    for task in [of("mine"), of("one"), foreign.clone()] {
        world.begin(&task).await;
    }
    let put = async |name: &str, bytes: &str| {
        let (uid, session) = (of(name).uid, &world.sessions[name]);
        let put = world
            .store
            .put_artifact(&uid, 1, session, "out", bytes.as_bytes());
        put.await.unwrap()
    };
    let replaced = put("one", "before").await;
    let kept = put("one", "after").await;
    let theirs = put("foreign", "theirs").await;
    let placed = |task: &TaskRef, name: &str, digest: &str| Placed {
        path: "x".into(),
        task: task.clone(),
        name: name.into(),
        digest: digest.into(),
        size: 5,
        archive: false,
    };
    let read = async |placed: Placed| world.store.placed(&of("mine").uid, &placed).await;
    let early = read(placed(&of("one"), "out", &kept.digest)).await;
    assert!(early.unwrap_err().to_string().contains("has not ended"));
    world.end("one", None).await;
    world.end("foreign", None).await;
    let bytes = read(placed(&of("one"), "out", &kept.digest)).await;
    assert_eq!(bytes.unwrap(), &b"after"[..]);
    for wrong in [
        placed(&of("one"), "out", &replaced.digest),
        placed(&of("one"), "other", &kept.digest),
        placed(&of("one"), "out", &theirs.digest),
        placed(&foreign, "out", &theirs.digest),
        placed(&of("foreign"), "out", &theirs.digest),
    ] {
        let refused = read(wrong).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::NotFound, "{refused}");
    }
    world.release("one").await;
    let gone = read(placed(&of("one"), "out", &kept.digest)).await;
    assert!(gone.unwrap_err().to_string().contains("no longer kept"));
}
