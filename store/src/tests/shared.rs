use super::*;
use oarmaster_protocol::assignment::{Replay, Sandbox};
use oarmaster_protocol::task::ErrorCode;

fn shared_in(namespace: &str, uid: &str) -> OpenAttempt {
    let mut assigned = agent_assignment(uid);
    assigned.task.namespace = namespace.into();
    assigned.task.name = uid.into();
    OpenAttempt {
        runs_in: RunsIn::Shared,
        assignment: Some(assigned),
        ..open_request(uid, usd(1))
    }
}

/// The UIDs of all open attempts behind a namespace.
fn open(store: &Store, namespace: &str) -> Vec<String> {
    let found = store.shared_attempts(namespace, usize::MAX, |_, _| true);
    found.into_iter().map(|found| found.task.uid).collect()
}

#[tokio::test]
async fn open_attempts_of_shared_pilots_are_found_by_namespace_and_age_also_after_a_restart() {
    let (dir, store) = store().await;
    for (namespace, uid) in [("b", "b1"), ("a", "z"), ("a", "y"), ("c", "c1")] {
        let opened = store.open_attempt(uid, 1, shared_in(namespace, uid)).await;
        let opened = opened.unwrap();
        assert_eq!(
            (opened.runs_in, opened.claimed_at_ms),
            (RunsIn::Shared, None)
        );
    }
    store
        .open_attempt(UID, 1, open_request(UID, usd(1)))
        .await
        .unwrap();
    let all = open(&store, "");
    assert_eq!(all.len(), 4, "the one of a Job is none of them: {all:?}");
    assert_eq!(open(&store, "a")[..2], ["b1", "c1"], "then a itself");
    let wanted = store.shared_attempts("a", 1, |uid, _| uid != "b1");
    assert_eq!(wanted[0].task.uid, "c1");
    assert_eq!(store.shared_count(|uid, _| uid == "z"), 1);

    let report = store.report("c1", 1).await.unwrap();
    let request = ClaimRequest {
        assignment: report.assignment,
        nonce: "sha256:1".into(),
    };
    store.claim("c1", 1, &request, "pilots-a").await.unwrap();
    let claimed = store.report("c1", 1).await.unwrap().claimed_at_ms;
    assert!(claimed.is_some());
    store.fence("z", 1, "cancelled").await.unwrap();
    drop(store);

    let store = Store::open(options(dir.path())).await.unwrap();
    assert_eq!(open(&store, ""), ["y", "b1", "c1"]);
    let found = store.shared_attempts("b", 1, |_, _| true);
    assert_eq!(found[0].claim.as_deref(), Some("sha256:1"));
    assert_eq!(store.report("c1", 1).await.unwrap().claimed_at_ms, claimed);
}

#[tokio::test]
async fn an_attempt_that_ended_or_was_followed_by_another_is_none_of_them() {
    let (_dir, store) = store().await;
    let opened = store.open_attempt(UID, 1, shared_in("team", UID)).await;
    let digest = opened.unwrap().assignment;
    let next = OpenAttempt {
        assignment: None,
        ..shared_in("team", UID)
    };
    store.open_attempt(UID, 2, next).await.unwrap();
    let [second] = &store.shared_attempts("", 9, |_, _| true)[..] else {
        panic!("not one");
    };
    assert_eq!((second.attempt, &second.assignment), (2, &digest));
    let claimed = claim(&store, 2, &digest, "n").await.unwrap();
    let outcome = Outcome::default();
    let end = Append {
        next: claimed.next,
        records: vec![Body::Result { outcome }],
    };
    store.append(UID, 2, &claimed.session, end).await.unwrap();
    assert!(open(&store, "").is_empty());
}

#[tokio::test]
async fn what_was_claimed_too_often_is_left_to_its_time_and_keeps_nobody_waiting() {
    let (_dir, store) = store().await;
    let opened = store.open_attempt(UID, 1, shared_in("team", UID)).await;
    let digest = opened.unwrap().assignment;
    for nonce in 0..256 {
        claim(&store, 1, &digest, &format!("n{nonce}"))
            .await
            .unwrap();
    }
    let refused = claim(&store, 1, &digest, "more").await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::TooLarge);
    let younger = shared_in("team", "younger");
    store.open_attempt("younger", 1, younger).await.unwrap();
    assert_eq!(open(&store, ""), ["younger"]);
}

#[tokio::test]
async fn what_runs_code_has_a_pod_of_its_own_and_what_a_record_is_held_against_has_none() {
    let replayed = |live| Some(Replay { live, until: None });
    for (replay, taken) in [
        (None, false),
        (replayed(true), false),
        (replayed(false), true),
    ] {
        let (_dir, store) = store().await;
        let mut request = shared_in("team", UID);
        if let Some(assignment) = &mut request.assignment {
            assignment.sandbox = Some(Sandbox::default());
            assignment.replay = replay;
        }
        let opened = store.open_attempt(UID, 1, request).await;
        let refused = opened.err().map(|refused| refused.code());
        assert_eq!(refused, (!taken).then_some(ErrorCode::InvalidRequest));
    }
}
