use super::*;
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::admin::{Fence, MAX_LABELS, Over, RunsIn};
use oarmaster_protocol::assignment::MAX_ASSIGNMENT_BYTES;
use oarmaster_protocol::journal::{Failure, Outcome};
use oarmaster_protocol::task::ErrorCode;

#[tokio::test]
async fn an_attempt_is_opened_once_and_served_byte_for_byte() {
    let (dir, store) = store().await;
    let request = open_request(UID, usd(100));
    let first = store.open_attempt(UID, 1, request.clone()).await.unwrap();
    let again = store.open_attempt(UID, 1, request.clone()).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(first.next, 1);
    assert_eq!(first.pinned.as_deref(), Some("fixer@sha256:aa"));
    let text = serde_json::to_vec(request.assignment.as_ref().unwrap()).unwrap();
    let (bytes, digest) = store.assignment(UID, 1).await.unwrap();
    assert_eq!(bytes, text);
    assert_eq!(digest, oarmaster_protocol::digest(&text));
    assert_eq!(digest, first.assignment);

    let other = OpenAttempt {
        assignment: Some(run_assignment(UID, "print()")),
        ..request.clone()
    };
    let refused = store.open_attempt(UID, 1, other).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Diverged);
    let other = OpenAttempt {
        runs_in: RunsIn::Job("fix-x".into()),
        ..request
    };
    let refused = store.open_attempt(UID, 1, other).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Diverged);

    drop(store);
    let store = Store::open(options(dir.path())).await.unwrap();
    assert_eq!(store.report(UID, 1).await.unwrap(), first);
    assert_eq!(store.assignment(UID, 1).await.unwrap().0, text);
    let requester = store.usage(UID).await.unwrap().requested_by;
    assert_eq!(requester.as_deref(), Some("alice@acme"));
}

#[tokio::test]
async fn a_later_attempt_takes_over_and_fences_the_lower_ones() {
    let (_dir, store) = store().await;
    let claimed = begin(&store, usd(100)).await;
    let next = OpenAttempt {
        runs_in: RunsIn::Job("fix-2".into()),
        assignment: None,
        budget: usd(50),
        requested_by: None,
        parent: None,
        keeps: false,
        ends: false,
        labels: [("team".to_owned(), "blue".to_owned())].into(),
    };
    let report = store.open_attempt(UID, 2, next.clone()).await.unwrap();
    let requester = report.usage.requested_by;
    assert_eq!(requester.as_deref(), Some("alice@acme"), "it never changes");
    assert_eq!(report.pinned.as_deref(), Some("fixer@sha256:aa"));
    let first = store.report(UID, 1).await.unwrap();
    assert!(first.fenced && !report.fenced);
    assert_eq!(first.assignment, report.assignment);
    assert_eq!(
        store.assignment(UID, 1).await.unwrap(),
        store.assignment(UID, 2).await.unwrap()
    );
    let newest = store.newest_attempt(UID).await.unwrap().unwrap();
    assert_eq!(
        (newest.attempt, newest.runs_in),
        (2, RunsIn::Job("fix-2".into()))
    );
    let open = store.open_attempts().await.unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].attempt, 2);

    let refused = store
        .append(UID, 1, &claimed.session, append(2, vec![note("late")]))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Fenced);
    let refused = claim(&store, 1, &first.assignment, "n9").await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Fenced);
    // Attempt 1 again is the same, number 0 is none, and nothing comes before what is open.
    let again = open_request(UID, usd(1));
    store.open_attempt(UID, 1, again.clone()).await.unwrap();
    let refused = store.open_attempt(UID, 0, again).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidRequest);
    let refused = store.open_attempt(UID, 4, next).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn what_cannot_be_opened_is_refused_with_a_reason() {
    let (_dir, store) = store().await;
    let big = OpenAttempt {
        assignment: Some(run_assignment(UID, &"x".repeat(MAX_ASSIGNMENT_BYTES))),
        ..open_request(UID, usd(1))
    };
    let refused = store.open_attempt(UID, 1, big).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::TooLarge);
    let refused = store
        .open_attempt(UID, 1, open_request("another", usd(1)))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidRequest);
    assert!(refused.to_string().contains("assignment.task.uid"));
    let labels = (0..=MAX_LABELS).map(|n| (n.to_string(), String::new()));
    let labelled = OpenAttempt {
        labels: labels.collect(),
        ..open_request(UID, usd(1))
    };
    let refused = store.open_attempt(UID, 1, labelled).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidRequest);
    let none = OpenAttempt {
        assignment: None,
        ..open_request(UID, usd(1))
    };
    let refused = store.open_attempt(UID, 1, none).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NotFound);
    assert_eq!(store.find_task("team", "fix").await.unwrap(), None);
    let refused = store.report(UID, 1).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn a_name_means_its_newest_task() {
    let (_dir, store) = store().await;
    begin(&store, usd(1)).await;
    let newer = "1f7c2c5e-0000-4000-8000-000000000002";
    store
        .open_attempt(newer, 1, open_request(newer, usd(1)))
        .await
        .unwrap();
    let found = store.find_task("team", "fix").await.unwrap();
    assert_eq!(found.as_deref(), Some(newer));
    assert_eq!(store.task_ref(UID).await.unwrap(), Some(task(UID)));
}

#[tokio::test]
async fn the_newest_claim_wins() {
    let (_dir, store) = store().await;
    let first = begin(&store, usd(1)).await;
    let digest = store.report(UID, 1).await.unwrap().assignment;
    assert_eq!(claim(&store, 1, &digest, "n1").await.unwrap(), first);
    let second = claim(&store, 1, &digest, "n2").await.unwrap();
    assert_ne!(second.session, first.session);
    assert_eq!(second.next, first.next + 1);
    let refused = claim(&store, 1, &digest, "n1").await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Fenced);
    let refused = store
        .append(UID, 1, &first.session, append(second.next, vec![note("x")]))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Fenced);
    let refused = claim(&store, 1, "sha256:other", "n3").await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Diverged);
    let refused = claim(&store, 1, &digest, "").await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidRequest);
}

#[tokio::test]
async fn a_fence_stops_and_says_why_once() {
    let (_dir, store) = store().await;
    let claimed = begin(&store, usd(1)).await;
    let report = store.fence(UID, 1, "cancelled").await.unwrap();
    assert!(report.fenced);
    assert_eq!(store.fence(UID, 1, "again").await.unwrap(), report);
    let records = store.records(UID, 0, 100).await.unwrap();
    assert_eq!(
        records.last().unwrap().body,
        Body::Fenced {
            reason: "cancelled".into(),
            ends: None,
        }
    );
    let refused = store
        .begin_call(UID, 1, &claimed.session, report.next, 0, "d")
        .await
        .unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Fenced);
    assert!(refused.to_string().contains("was fenced"));
    assert!(store.open_attempts().await.unwrap().is_empty());
}

#[tokio::test]
async fn that_a_task_ends_with_an_attempt_is_kept() {
    let ends = Fence {
        reason: "the time is up".into(),
        ends: Some(FailureClass::Timeout),
    };
    let over = Some(Over {
        class: FailureClass::Timeout,
        reason: "the time is up".into(),
    });
    let (dir, store) = store().await;
    begin(&store, usd(1)).await;
    let report = store.fence_as(UID, 1, &ends).await.unwrap();
    assert!(report.fenced);
    assert_eq!(report.over, over);
    // The first word counts, and it outlives the process.
    let again = store.fence_as(UID, 1, &Fence::deleted()).await.unwrap();
    assert_eq!(again, report);
    drop(store);
    let store = Store::open(options(dir.path())).await.unwrap();
    assert_eq!(store.report(UID, 1).await.unwrap(), report);
}

#[tokio::test]
async fn of_an_attempt_that_another_one_followed_nothing_more_is_said() {
    let (_dir, store) = store().await;
    begin(&store, usd(1)).await;
    let next = OpenAttempt {
        assignment: None,
        ..open_request(UID, usd(1))
    };
    store.open_attempt(UID, 2, next).await.unwrap();
    let report = store.fence_as(UID, 1, &Fence::deleted()).await.unwrap();
    assert!(report.fenced && report.over.is_none());
    let report = store.fence_as(UID, 2, &Fence::deleted()).await.unwrap();
    assert!(report.fenced && report.over.is_some());
}

#[tokio::test]
async fn a_task_can_be_deleted_while_it_waits_for_its_next_attempt() {
    for failure in [None, Some(FailureClass::ModelUnavailable)] {
        let (_dir, store) = store().await;
        let claimed = begin(&store, usd(1)).await;
        let outcome = Outcome {
            failure: failure.map(|class| Failure {
                class,
                message: "x".into(),
                waits: None,
            }),
            ..Outcome::default()
        };
        let records = append(claimed.next, vec![Body::Result { outcome }]);
        store
            .append(UID, 1, &claimed.session, records)
            .await
            .unwrap();
        let report = store.fence_as(UID, 1, &Fence::deleted()).await.unwrap();
        assert!(!report.fenced, "it ended by itself");
        assert_eq!(report.over.is_some(), failure.is_some());
    }
}

#[tokio::test]
async fn a_budget_only_rises() {
    let (_dir, store) = store().await;
    let both = TaskBudget {
        pico_usd: Some(100),
        tokens: Some(1000),
        ..TaskBudget::default()
    };
    begin(&store, both).await;
    let budget = || store.lock().state.task(UID).unwrap().budget;
    store.raise_budget(UID, usd(50)).await.unwrap();
    assert_eq!(budget(), both);
    store
        .raise_budget(UID, TaskBudget::default())
        .await
        .unwrap();
    assert_eq!(budget(), both, "absent is not unlimited");
    store.raise_budget(UID, usd(200)).await.unwrap();
    assert_eq!(budget().pico_usd, Some(200));
    assert_eq!(budget().tokens, Some(1000));
    let again = open_request(UID, usd(300));
    store.open_attempt(UID, 1, again).await.unwrap();
    assert_eq!(budget().pico_usd, Some(300));
    let refused = store.raise_budget("nobody", both).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn one_process_at_a_time() {
    let (dir, store) = store().await;
    let error = Store::open(options(dir.path())).await.unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
    drop(store);
    Store::open(options(dir.path())).await.unwrap();
}
