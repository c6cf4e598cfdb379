use super::*;
use crate::Audited;
use crate::log::Files;
use crate::log::tests::{Fault, Faulty};
use oarmaster_protocol::read::{AuditAct, AuditRecord};
use oarmaster_protocol::task::ErrorCode;
use tokio::sync::mpsc;

fn denied(who: &str) -> Audited {
    Audited {
        act: AuditAct::Call,
        allowed: false,
        who: who.into(),
        namespace: "team".into(),
        task: String::new(),
        object: "team/default".into(),
        reason: "forbidden".into(),
        count: 3,
    }
}

async fn audit(store: &Store, from: i64, to: i64) -> Vec<AuditRecord> {
    let (sender, mut receiver) = mpsc::channel(1000);
    assert!(store.audited(from, to, sender).await.unwrap());
    let mut records = Vec::new();
    while let Some(record) = receiver.recv().await {
        records.push(record);
    }
    records
}

/// Act, allowed, who, object, reason, count and pico-USD of each line.
fn shown(records: &[AuditRecord]) -> Vec<String> {
    let line = |record: &AuditRecord| {
        let allowed = if record.allowed { "" } else { "not " };
        format!(
            "{} {allowed}{} {} [{}] {} {}",
            record.act.as_str(),
            record.who,
            record.object,
            record.reason,
            record.count,
            record.pico
        )
    };
    records.iter().map(line).collect()
}

#[tokio::test]
async fn calls_claims_fences_and_refusals_are_one_record() {
    let (dir, store) = store().await;
    let claimed = begin(&store, usd(1000)).await;
    let call = new_call(&store, &claimed, claimed.next, 0).await;
    let failing = call.reserve(hop(50)).await.unwrap();
    failing.settle(failed(Billing::Unknown)).await.unwrap();
    let answered = call.reserve(hop(60)).await.unwrap();
    let settled = answered.settle(answer(Some(used(30)))).await.unwrap();
    store
        .append(
            UID,
            1,
            &claimed.session,
            append(settled.next, vec![note("a secret of the model")]),
        )
        .await
        .unwrap();
    let sdk = store.sdk_call(sdk_caller()).reserve(hop(7)).await.unwrap();
    sdk.settle(&answer(Some(used(5)))).await.unwrap();
    store.raise_budget(UID, usd(2000)).await.unwrap();
    store.audit(denied("mallory")).unwrap();
    store.fence(UID, 1, "cancelled").await.unwrap();
    store.stop().await.unwrap();
    let records = audit(&store, i64::MIN, i64::MAX).await;
    let app = "system:serviceaccount:team:app";
    assert_eq!(
        shown(&records),
        [
            "start   [] 1 0".to_owned(),
            "openAttempt alice@acme attempt 1 of fix, Job fix-1 [] 1 0".to_owned(),
            "claim alice@acme attempt 1, pod pod-a [] 1 0".to_owned(),
            "call alice@acme team/scripted m [] 1 50".to_owned(),
            "callEnd alice@acme call 0.0 [Transient] 1 50".to_owned(),
            "call alice@acme team/scripted m [] 1 60".to_owned(),
            "callEnd alice@acme call 0.1 [] 1 30".to_owned(),
            format!("call {app} team/default: team/scripted m [] 1 7"),
            "callEnd  call 1.0.0 [] 1 5".to_owned(),
            "raiseBudget alice@acme  [] 1 0".to_owned(),
            "call not mallory team/default [forbidden] 3 0".to_owned(),
            "fence alice@acme attempt 1 [cancelled] 1 0".to_owned(),
            "stop   [] 1 0".to_owned(),
        ]
    );
    let text = serde_json::to_string(&records).unwrap();
    assert!(!text.contains("secret"), "{text}");
    let after_first = records[1].before.clone();
    assert_eq!(after_first.len(), 64);
    assert!(records.iter().all(|record| !record.before.is_empty()));

    // The refusals are in the log, and a new process goes on with the chain.
    drop((call, store));
    let store = Store::open(options(dir.path())).await.unwrap();
    let again = audit(&store, i64::MIN, i64::MAX).await;
    assert_eq!(again[..records.len()], records);
    let middle = audit(&store, records[4].at_ms, records[6].at_ms).await;
    assert_eq!(middle.first(), records.get(4));
    assert!(middle.iter().all(|record| record.at_ms < records[6].at_ms));
    let check = store.verify(Some(0)).await.unwrap();
    assert_eq!(check.broken, None);
    assert_eq!(check.asked.unwrap().hash, after_first, "frame 1 carries it");
}

#[tokio::test]
async fn where_the_audit_cannot_be_written_nothing_is_spent() {
    let dir = tempfile::tempdir().unwrap();
    let fault = Fault::default();
    let broken = fault.clone();
    let store = Store::open_with(options(dir.path()), |dir| {
        Box::new(Faulty {
            files: Files::new(dir),
            fault,
        })
    })
    .await
    .unwrap();
    broken.broken.store(true, Ordering::SeqCst);
    store.audit(denied("mallory")).unwrap();
    let refused = store.flush().await.unwrap_err();
    assert!(matches!(refused, Refusal::Unwritable(_)), "{refused}");
    let refused = store
        .sdk_call(sdk_caller())
        .reserve(hop(1))
        .await
        .unwrap_err();
    assert!(matches!(refused, Refusal::Unwritable(_)), "{refused}");
    let refused = store.open_attempt(UID, 1, open_request(UID, usd(1))).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::Internal);
}

#[tokio::test]
async fn a_reader_who_leaves_has_not_got_all() {
    let (_dir, store) = store().await;
    store.flush().await.unwrap();
    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    assert!(!store.audited(i64::MIN, i64::MAX, sender).await.unwrap());
}

#[test]
fn entries_of_the_version_before_are_read() {
    for text in [
        r#"{"attempt":{"task":{"namespace":"team","name":"fix","uid":"u"},"runsIn":{"job":"j"},"budget":{},"record":{"seq":0,"atMs":1,"attempt":1,"kind":"opened","assignment":"sha256:aa"}}}"#,
        r#"{"budget":{"task":"u","budget":{"picoUsd":7}}}"#,
        r#"{"sdkEnd":{"atMs":1,"id":{"term":1,"call":0,"hop":0},"usage":{"inputTokens":1,"outputTokens":1,"cachedTokens":0,"costPico":5,"estimated":false}}}"#,
    ] {
        let entry: crate::entry::Entry = serde_json::from_str(text).unwrap();
        // What they did not know is not made up.
        assert_eq!(serde_json::to_string(&entry).unwrap(), text);
    }
}
