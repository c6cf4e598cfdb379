//! What a Task asks of the operator, and the budget of a tree of Tasks.

use super::*;
use crate::Event;
use crate::entry::Entry;
use oarmaster_protocol::journal::{Blob, Checkpoint, Outcome};
use oarmaster_protocol::request::{Answer, Ask, MAX_ANSWER_BYTES, MAX_ASK_BYTES, MAX_OPEN, Reply};
use oarmaster_protocol::task::ErrorCode;
use serde_json::json;

const CHILD: &str = "1f7c2c5e-0000-4000-8000-000000000002";
const GRANDCHILD: &str = "1f7c2c5e-0000-4000-8000-000000000003";

fn ask(text: &str) -> Ask {
    Ask::Question {
        ask: text.into(),
        form: [].into(),
    }
}

fn asked(number: u32, what: &Ask) -> Body {
    Body::Asked {
        id: what.id(number),
        what: what.clone(),
        checkpoint: None,
    }
}

fn yes(text: &str) -> Reply {
    Reply {
        ok: true,
        value: json!(text),
        task: None,
    }
}

async fn appended(
    store: &Store,
    claim: &Claim,
    next: u64,
    bodies: Vec<Body>,
) -> Result<u64, Refusal> {
    let appended = store.append(UID, 1, &claim.session, append(next, bodies));
    appended.await.map(|appended| appended.next)
}

fn open(report: &oarmaster_protocol::admin::AttemptReport) -> Vec<&str> {
    report.requests.iter().map(|one| one.id.as_str()).collect()
}

#[tokio::test]
async fn a_request_is_open_until_it_is_answered_and_the_first_answer_stays() {
    let (dir, store) = store().await;
    let claim = begin(&store, usd(100)).await;
    let (what, id) = (ask("which?"), ask("which?").id(1));
    let mut changes = store.changes();
    let next = appended(&store, &claim, claim.next, vec![asked(1, &what)])
        .await
        .unwrap();
    assert_eq!(changes.next().await, Some(Event::Task(task(UID))));
    let report = store.report(UID, 1).await.unwrap();
    assert_eq!(open(&report), [&id]);
    assert_eq!(report.requests[0].what, what);
    let answered = || store.answered(UID, 1, &claim.session, &id);
    assert_eq!(answered().await.unwrap(), None);

    let report = store.answer(UID, &id, &yes("one")).await.unwrap();
    assert!(report.requests.is_empty());
    assert_eq!(report.next, next + 1);
    let again = store.answer(UID, &id, &yes("two")).await.unwrap();
    assert_eq!(again.next, report.next, "nothing was written");
    assert_eq!(
        answered().await.unwrap(),
        Some(Answer::new(true, json!("one")))
    );
    // The pilot has not seen the gateway's record, and goes on from what it knows.
    appended(&store, &claim, next, vec![note("on")])
        .await
        .unwrap();

    drop(store);
    let store = Store::open(options(dir.path())).await.unwrap();
    let answered = store.answered(UID, 1, &claim.session, &id).await;
    assert_eq!(answered.unwrap(), Some(Answer::new(true, json!("one"))));
}

#[tokio::test]
async fn the_same_request_of_an_attempt_that_begins_anew_is_the_one_that_there_is() {
    let (_dir, store) = store().await;
    let first = begin(&store, usd(100)).await;
    let (what, id) = (ask("which?"), ask("which?").id(1));
    appended(&store, &first, first.next, vec![asked(1, &what)])
        .await
        .unwrap();
    store.answer(UID, &id, &yes("one")).await.unwrap();
    let next = OpenAttempt {
        runs_in: RunsIn::Job("fix-2".into()),
        assignment: None,
        ..open_request(UID, usd(100))
    };
    let report = store.open_attempt(UID, 2, next).await.unwrap();
    let second = claim(&store, 2, &report.assignment, "n2").await.unwrap();
    let again = append(second.next, vec![asked(1, &what)]);
    store.append(UID, 2, &second.session, again).await.unwrap();
    assert!(store.report(UID, 2).await.unwrap().requests.is_empty());
    let answered = store.answered(UID, 2, &second.session, &id).await.unwrap();
    assert_eq!(answered, Some(Answer::new(true, json!("one"))));
    let late = store
        .answered(UID, 1, &first.session, &id)
        .await
        .unwrap_err();
    assert_eq!(late.code(), ErrorCode::Fenced);
}

#[tokio::test]
async fn what_cannot_be_asked_or_answered_is_refused() {
    let (_dir, store) = store().await;
    let claim = begin(&store, usd(100)).await;
    let large = ask(&"x".repeat(MAX_ASK_BYTES));
    let renamed = Body::Asked {
        id: ask("other").id(1),
        what: ask("which?"),
        checkpoint: None,
    };
    let many = (0..=MAX_OPEN as u32)
        .map(|n| asked(n, &ask("which?")))
        .collect();
    let answered = Body::Answered {
        id: "x".into(),
        ok: true,
        value: json!(null),
        task: None,
        workspace: None,
    };
    for (bodies, wanted) in [
        (vec![asked(1, &large)], ErrorCode::TooLarge),
        (vec![renamed], ErrorCode::InvalidRequest),
        (many, ErrorCode::TooLarge),
        (vec![answered], ErrorCode::InvalidRequest),
    ] {
        let refused = appended(&store, &claim, claim.next, bodies)
            .await
            .unwrap_err();
        assert_eq!(refused.code(), wanted, "{refused}");
    }
    let refused = store.answer(UID, "1-x", &yes("a")).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NotFound);
    let what = ask("which?");
    appended(&store, &claim, claim.next, vec![asked(1, &what)])
        .await
        .unwrap();
    let large = yes(&"x".repeat(MAX_ANSWER_BYTES));
    let refused = store.answer(UID, &what.id(1), &large).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::TooLarge);
}

async fn child(store: &Store, uid: &str, parent: &str, budget: TaskBudget) -> Claim {
    let mut request = OpenAttempt {
        parent: Some(parent.to_owned()),
        ..open_request(uid, budget)
    };
    if let Some(assignment) = &mut request.assignment {
        assignment.task.name = uid.to_owned();
    }
    let report = store.open_attempt(uid, 1, request).await.unwrap();
    let request = ClaimRequest {
        assignment: report.assignment,
        nonce: "n".into(),
    };
    store.claim(uid, 1, &request, "pod-b").await.unwrap()
}

async fn reserve(
    store: &Store,
    uid: &str,
    claim: &Claim,
    call: u64,
    pico: u64,
) -> Result<crate::HopTicket, Refusal> {
    let next = store.next(uid).await.unwrap();
    let begun = store
        .begin_call(uid, 1, &claim.session, next, call, "sha256:d")
        .await?;
    let CallState::New(call) = begun else {
        panic!("the call is not new")
    };
    call.reserve(hop(pico)).await
}

#[tokio::test]
async fn what_a_child_spends_counts_in_the_budgets_above_it() {
    let (dir, store) = store().await;
    let root = begin(&store, usd(100)).await;
    let middle = child(&store, CHILD, UID, usd(90)).await;
    let leaf = child(&store, GRANDCHILD, CHILD, usd(1000)).await;
    let ticket = reserve(&store, GRANDCHILD, &leaf, 0, 60).await.unwrap();
    let refused = reserve(&store, UID, &root, 0, 41).await.unwrap_err();
    assert_eq!(
        refused.code(),
        ErrorCode::BudgetExceeded,
        "what is reserved below counts"
    );
    ticket.settle(answer(Some(used(50)))).await.unwrap();
    let ticket = reserve(&store, CHILD, &middle, 0, 20).await.unwrap();
    ticket.settle(answer(Some(used(20)))).await.unwrap();
    // 70 of 100 of the root, 70 of 90 of the middle one.
    let refused = reserve(&store, GRANDCHILD, &leaf, 1, 21).await.unwrap_err();
    assert!(refused.to_string().contains("70") || refused.code() == ErrorCode::BudgetExceeded);
    let refused = reserve(&store, UID, &root, 0, 31).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::BudgetExceeded);
    let own = store.usage(UID).await.unwrap();
    assert_eq!(own.sum.cost_pico, 0, "its own calls are told apart");
    let below = store.report(UID, 1).await.unwrap().below;
    assert_eq!((below.calls, below.sum.cost_pico), (2, 70));
    assert_eq!(below.models, ["m-2026"]);
    drop(store);

    let store = Store::open(options(dir.path())).await.unwrap();
    let refused = reserve(&store, UID, &root, 0, 31).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::BudgetExceeded);
    reserve(&store, UID, &root, 0, 30).await.unwrap();
}

#[tokio::test]
async fn a_ring_of_parents_ends() {
    let (_dir, store) = store().await;
    let first = child(&store, UID, CHILD, usd(100)).await;
    child(&store, CHILD, UID, usd(100)).await;
    let ticket = reserve(&store, UID, &first, 0, 10).await.unwrap();
    ticket.settle(answer(Some(used(1)))).await.unwrap();
    let own = OpenAttempt {
        parent: Some(GRANDCHILD.to_owned()),
        ..open_request(GRANDCHILD, usd(1))
    };
    let refused = store.open_attempt(GRANDCHILD, 1, own).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidRequest);
}

#[tokio::test]
async fn a_childs_journal_is_kept_as_long_as_its_parents() {
    let (_dir, store) = store().await;
    let root = begin(&store, usd(100)).await;
    let leaf = child(&store, CHILD, UID, usd(100)).await;
    for (uid, claim) in [(UID, &root), (CHILD, &leaf)] {
        let next = store.next(uid).await.unwrap();
        let ended = append(next, vec![result()]);
        store.append(uid, 1, &claim.session, ended).await.unwrap();
    }
    let kept = store.options().retention;
    let later = i64::MAX / 2;
    let due = |store: &Store| {
        let due = store.lock().state.due(&kept, later).journals;
        let mut uids: Vec<_> = due.into_iter().map(|task| task.uid).collect();
        uids.sort();
        uids
    };
    assert_eq!(due(&store), [UID]);
    let gone = Entry::Expired {
        at_ms: 1,
        tasks: vec![UID.to_owned()],
    };
    let place = store.lock().state.tasks[UID].records[0].at;
    store.lock().state.apply(&gone, place).unwrap();
    assert_eq!(due(&store), [CHILD]);
}

/// Only what a Task below it left, and only where files were handed on.
#[tokio::test]
async fn files_come_with_the_answer_of_whoever_was_handed_some() {
    let layer = |digest: &str| Checkpoint::Layer {
        base: true,
        blobs: vec![Blob {
            digest: digest.to_owned(),
            size: 4,
        }],
    };
    for (files, from, wanted) in [
        (true, CHILD, true),
        (false, CHILD, false),
        (true, GRANDCHILD, false),
        (true, "none", false),
    ] {
        let (dir, store) = store().await;
        let claim = begin(&store, usd(100)).await;
        let what = Ask::Delegate {
            agent: "coder".into(),
            prompt: "fix it".into(),
            workspace: files.then(Vec::new),
        };
        let id = what.id(1);
        appended(&store, &claim, claim.next, vec![asked(1, &what)])
            .await
            .unwrap();
        let below = child(&store, CHILD, UID, usd(90)).await;
        let deeper = child(&store, GRANDCHILD, CHILD, usd(90)).await;
        let mut left = String::new();
        for (uid, claim) in [(CHILD, below), (GRANDCHILD, deeper)] {
            let blob = store
                .put_blob(uid, 1, &claim.session, b"left")
                .await
                .unwrap();
            left.clone_from(&blob.digest);
            let outcome = Outcome {
                workspace: Some(layer(&blob.digest)),
                ..Outcome::default()
            };
            let next = store.next(uid).await.unwrap();
            let mut unknown = outcome.clone();
            unknown.workspace = Some(layer("sha256:none"));
            let refused = append(next, vec![Body::Result { outcome: unknown }]);
            let refused = store.append(uid, 1, &claim.session, refused).await;
            assert_eq!(refused.unwrap_err().code(), ErrorCode::InvalidRequest);
            let ended = append(next, vec![Body::Result { outcome }]);
            store.append(uid, 1, &claim.session, ended).await.unwrap();
        }
        let reply = Reply {
            task: Some(from.to_owned()),
            ..yes("done")
        };
        store.answer(UID, &id, &reply).await.unwrap();
        drop(store);
        let store = Store::open(options(dir.path())).await.unwrap();
        let answered = store.answered(UID, 1, &claim.session, &id).await.unwrap();
        let wanted = wanted.then(|| layer(&left));
        assert_eq!(answered.unwrap().workspace, wanted, "{files} {from}");
    }
}
