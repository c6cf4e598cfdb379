use super::*;
use crate::MAX_APPEND_RECORDS;
use oarmaster_protocol::journal::{Artifact, Failure, MAX_OUTPUT_BYTES, MAX_RECORD_BYTES};
use oarmaster_protocol::task::ErrorCode;

#[tokio::test]
async fn records_are_numbered_and_a_lost_answer_is_harmless() {
    let (_dir, store) = store().await;
    let claimed = begin(&store, usd(1)).await;
    assert_eq!(claimed.next, 2);
    let intent = Body::ToolIntent {
        id: "c1".into(),
        tool: "Shell".into(),
        arguments: serde_json::json!({"f": 0.12345678901234567, "n": 18446744073709551615_u64, "s": "a\nb\u{0}"}),
    };
    let both = append(2, vec![intent.clone(), note("two")]);
    let next = store
        .append(UID, 1, &claimed.session, both.clone())
        .await
        .unwrap()
        .next;
    assert_eq!(next, 4);
    let again = store.append(UID, 1, &claimed.session, both).await.unwrap();
    assert_eq!(again.next, 4);
    let records = store.records(UID, 0, 100).await.unwrap();
    assert_eq!(
        records.iter().map(|r| r.seq).collect::<Vec<_>>(),
        [0, 1, 2, 3]
    );
    assert_eq!(records[3].body, note("two"));
    assert_eq!(store.usage(UID).await.unwrap().tool_calls, 1);
    // Other records at the same place are no repeat, nor are more of them.
    for other in [
        vec![intent.clone(), note("other")],
        vec![intent, note("two"), note("three")],
    ] {
        let refused = store
            .append(UID, 1, &claimed.session, append(2, other))
            .await
            .unwrap_err();
        assert_eq!(
            refused,
            Refusal::Conflict {
                expected: 2,
                next: 4
            }
        );
    }
    let refused = store
        .append(UID, 1, &claimed.session, append(5, vec![note("x")]))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Conflict);
    let part = store.records(UID, 1, 2).await.unwrap();
    assert_eq!(part, records[1..3]);
}

#[tokio::test]
async fn nothing_follows_a_result() {
    let (_dir, store) = store().await;
    let claimed = begin(&store, usd(1)).await;
    let early = append(2, vec![result(), note("x")]);
    let refused = store
        .append(UID, 1, &claimed.session, early)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidRequest);
    let end = append(2, vec![note("last"), result()]);
    store
        .append(UID, 1, &claimed.session, end.clone())
        .await
        .unwrap();
    store.append(UID, 1, &claimed.session, end).await.unwrap();
    let refused = store
        .append(UID, 1, &claimed.session, append(4, vec![note("x")]))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Fenced);
    let report = store.fence(UID, 1, "cancel").await.unwrap();
    assert!(!report.fenced, "an attempt that has ended is left alone");
    assert!(report.outcome.unwrap().failure.is_none());
    assert!(store.open_attempts().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_a_pilot_may_not_write_is_refused() {
    let (_dir, store) = store().await;
    let claimed = begin(&store, usd(1)).await;
    let outcome = |outcome| vec![Body::Result { outcome }];
    let fine = Outcome {
        failure: None,
        ..Outcome::default()
    };
    let cases = [
        (vec![], ErrorCode::InvalidRequest),
        (
            vec![Body::Fenced {
                reason: "x".into(),
                ends: None,
            }],
            ErrorCode::InvalidRequest,
        ),
        (
            vec![note(&"x".repeat(MAX_RECORD_BYTES))],
            ErrorCode::TooLarge,
        ),
        (vec![note("x"); MAX_APPEND_RECORDS + 1], ErrorCode::TooLarge),
        (
            vec![note(&"x".repeat(MAX_RECORD_BYTES - 100)); 5],
            ErrorCode::TooLarge,
        ),
        (
            outcome(Outcome {
                output: Some("x".repeat(MAX_OUTPUT_BYTES).into()),
                ..fine.clone()
            }),
            ErrorCode::TooLarge,
        ),
        (
            outcome(Outcome {
                failure: Some(Failure {
                    waits: None,
                    class: oarmaster_protocol::FailureClass::Internal,
                    message: "é".repeat(1025),
                }),
                ..fine.clone()
            }),
            ErrorCode::TooLarge,
        ),
        (
            outcome(Outcome {
                artifacts: vec![Artifact {
                    name: "a".into(),
                    size: 1,
                    digest: "sha256:0".into(),
                    archive: false,
                }],
                ..fine
            }),
            ErrorCode::InvalidRequest,
        ),
    ];
    for (records, code) in cases {
        let refused = store
            .append(UID, 1, &claimed.session, append(2, records))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
    }
    assert_eq!(store.next(UID).await.unwrap(), 2);
}

#[tokio::test]
async fn a_full_journal_ends_its_task_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let small = Options {
        journal_bytes: 2000,
        ..options(dir.path())
    };
    let store = Store::open(small).await.unwrap();
    let claimed = begin(&store, usd(100)).await;
    let mut next = claimed.next;
    let refused = loop {
        let one = append(next, vec![note(&"x".repeat(200))]);
        match store.append(UID, 1, &claimed.session, one).await {
            Ok(done) => next = done.next,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.code(), ErrorCode::TooLarge);
    assert!(refused.to_string().contains("journal"), "{refused}");
    let end = append(next, vec![result()]);
    store.append(UID, 1, &claimed.session, end).await.unwrap();
    let other = "1f7c2c5e-0000-4000-8000-000000000002";
    store
        .open_attempt(other, 1, open_request(other, usd(1)))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_follower_sees_every_record_once_it_is_durable() {
    let (_dir, store) = store().await;
    assert!(store.watch(UID).await.is_err());
    let claimed = begin(&store, usd(1)).await;
    let mut follower = store.watch(UID).await.unwrap();
    assert_eq!(*follower.borrow_and_update(), 2);
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for next in 2..30 {
                let one = append(next, vec![note(&next.to_string())]);
                store.append(UID, 1, &claimed.session, one).await.unwrap();
            }
        })
    };
    let mut seen = 2;
    while seen < 30 {
        let records = store.records(UID, seen, 7).await.unwrap();
        if records.is_empty() {
            follower
                .wait_for(|next| *next > seen)
                .await
                .expect("the store lives");
        }
        for record in records {
            assert_eq!(record.seq, seen);
            assert_eq!(record.body, note(&seen.to_string()));
            seen += 1;
        }
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn isolation_stands_in_the_report() {
    let (_dir, store) = store().await;
    let claimed = begin(&store, usd(1)).await;
    assert_eq!(store.report(UID, 1).await.unwrap().isolated, None);
    let found = Body::Isolation {
        proven: false,
        findings: vec!["inet: open".into(), "a\nb".into()],
    };
    store
        .append(UID, 1, &claimed.session, append(2, vec![found]))
        .await
        .unwrap();
    let isolated = store.report(UID, 1).await.unwrap().isolated.unwrap();
    assert!(!isolated.proven);
    assert_eq!(isolated.message, "inet: open; a b");
}
