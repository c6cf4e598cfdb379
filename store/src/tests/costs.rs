use super::*;
use crate::CostQuery;
use oarmaster_protocol::read::{CostBy, CostLine};
use oarmaster_protocol::task::ErrorCode;

fn query(by: CostBy) -> CostQuery {
    CostQuery {
        namespace: None,
        by,
        label: Some("team".into()),
        from_ms: i64::MIN,
        to_ms: i64::MAX,
    }
}

/// Key, calls and pico-USD of each line.
async fn lines(store: &Store, query: CostQuery) -> Vec<(String, u64, u64)> {
    let lines = store.costs(query).await.unwrap();
    let plain = |line: CostLine| (line.key, line.calls, line.usage.cost_pico);
    lines.into_iter().map(plain).collect()
}

fn line(key: &str, calls: u64, pico: u64) -> (String, u64, u64) {
    (key.to_owned(), calls, pico)
}

#[tokio::test]
async fn what_was_spent_is_summed_up_by_what_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let ticks = Arc::new(AtomicI64::new(1000));
    let store = Store::open(options_at(dir.path(), &ticks)).await.unwrap();
    let claimed = begin(&store, usd(1000)).await;
    let call = new_call(&store, &claimed, claimed.next, 0).await;
    let unbilled = call.reserve(hop(50)).await.unwrap();
    unbilled.settle(failed(Billing::Unbilled)).await.unwrap();
    let unknown = call.reserve(hop(50)).await.unwrap();
    unknown.settle(failed(Billing::Unknown)).await.unwrap();
    let answered = call.reserve(hop(50)).await.unwrap();
    let day = 24 * 3_600_000;
    ticks.store(day, Ordering::SeqCst);
    answered.settle(answer(Some(used(30)))).await.unwrap();
    let caller = SdkCaller {
        namespace: "other".into(),
        ..sdk_caller()
    };
    let sdk = store.sdk_call(caller).reserve(hop(7)).await.unwrap();
    sdk.settle(&answer(Some(used(5)))).await.unwrap();
    store.flush().await.unwrap();

    let user = "system:serviceaccount:team:app";
    for (by, expected) in [
        (
            CostBy::Namespace,
            [line("other", 1, 5), line("team", 1, 80)],
        ),
        (
            CostBy::Agent,
            [line("other/(none)", 1, 5), line("team/fixer", 1, 80)],
        ),
        (
            CostBy::Task,
            [line("other/(none)", 1, 5), line("team/fix", 1, 80)],
        ),
        (
            CostBy::Requester,
            [line("alice@acme", 1, 80), line(user, 1, 5)],
        ),
        (CostBy::Label, [line("(none)", 1, 5), line("red", 1, 80)]),
        (
            CostBy::Workflow,
            [line("other/(none)", 1, 5), line("team/nightly", 1, 80)],
        ),
        (
            CostBy::Day,
            [line("1970-01-01", 0, 50), line("1970-01-02", 2, 35)],
        ),
    ] {
        assert_eq!(lines(&store, query(by)).await, expected, "{by:?}");
    }
    assert_eq!(
        lines(&store, query(CostBy::Model)).await,
        [line("team/scripted m", 2, 85)]
    );
    let bill = store.costs(query(CostBy::Bill)).await.unwrap();
    let bill = bill.into_iter().map(|line| {
        let pico = line.usage.cost_pico;
        (line.key, pico, line.estimated_pico, line.overrun_pico)
    });
    let row = |key: &str, pico, estimated, over| (key.to_owned(), pico, estimated, over);
    assert_eq!(
        bill.collect::<Vec<_>>(),
        [
            row("1970-01-01 team/scripted m", 50, 50, 0),
            row("1970-01-02 team/scripted m-2026", 35, 0, 0),
        ],
        "a bill has the model that the provider named"
    );
    let team = CostQuery {
        namespace: Some("team".into()),
        from_ms: day,
        ..query(CostBy::Agent)
    };
    assert_eq!(
        lines(&store, team.clone()).await,
        [line("team/fixer", 1, 30)]
    );
    let before = CostQuery {
        to_ms: day,
        from_ms: 0,
        ..team
    };
    assert_eq!(lines(&store, before).await, [line("team/fixer", 0, 50)]);
}

#[tokio::test]
async fn what_was_lost_with_a_crash_is_a_line_of_nobody() {
    let (dir, store) = store().await;
    let call = store.sdk_call(sdk_caller());
    let ticket = call.reserve(hop(7)).await.unwrap();
    ticket.settle(&answer(Some(used(5)))).await.unwrap();
    store.flush().await.unwrap();
    let crashed = super::calls::copy(dir.path());
    let store = Store::open(options(crashed.path())).await.unwrap();
    let lost = "(lost with an unclean end of the gateway)";
    let found = lines(&store, query(CostBy::Namespace)).await;
    assert_eq!(found, [line(lost, 0, REST), line("team", 1, 5)]);
    let team = CostQuery {
        namespace: Some("team".into()),
        ..query(CostBy::Requester)
    };
    assert_eq!(lines(&store, team).await.len(), 1);
}

#[tokio::test]
async fn labels_need_a_key() {
    let (_dir, store) = store().await;
    for label in [None, Some(String::new())] {
        let by = CostQuery {
            label,
            ..query(CostBy::Label)
        };
        let refused = store.costs(by).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InvalidRequest);
    }
}

#[tokio::test]
async fn money_beyond_a_reservation_is_told_apart() {
    let (_dir, store) = store().await;
    let call = store.sdk_call(sdk_caller());
    let ticket = call.reserve(hop(7)).await.unwrap();
    ticket.settle(&answer(Some(used(12)))).await.unwrap();
    store.flush().await.unwrap();
    let lines = store.costs(query(CostBy::Namespace)).await.unwrap();
    assert_eq!((lines[0].usage.cost_pico, lines[0].overrun_pico), (12, 5));
}

/// Hops of several days in segments that hold little: whichever time is asked for, the sum is that of everything with the same bounds.
#[tokio::test]
async fn a_time_needs_its_own_segments_and_is_whole() {
    const DAY: i64 = 24 * 3_600_000;
    let dir = tempfile::tempdir().unwrap();
    let ticks = Arc::new(AtomicI64::new(0));
    let options = Options {
        segment_bytes: 2048,
        ..options_at(dir.path(), &ticks)
    };
    let store = Store::open(options).await.unwrap();
    let call = store.sdk_call(sdk_caller());
    let slow = call.reserve(hop(50)).await.unwrap();
    for day in 0..6 {
        ticks.store(day * DAY + 1000, Ordering::SeqCst);
        for _ in 0..8 {
            let call = store.sdk_call(sdk_caller());
            let ticket = call.reserve(hop(7)).await.unwrap();
            ticket.settle(&answer(Some(used(5)))).await.unwrap();
        }
    }
    slow.settle(&answer(Some(used(50)))).await.unwrap();
    store.flush().await.unwrap();
    let all = store.segments(i64::MIN, i64::MAX).await.len();
    let of = |from, to| CostQuery {
        from_ms: from * DAY,
        to_ms: to * DAY,
        ..query(CostBy::Namespace)
    };
    assert!(store.segments(2 * DAY, 3 * DAY).await.len() < all / 2);
    for (from, to, calls, pico) in [
        (2, 3, 8, 40),
        (0, 6, 49, 290),
        (5, 6, 9, 90),
        (1, 5, 32, 160),
    ] {
        let found = lines(&store, of(from, to)).await;
        assert_eq!(found, [line("team", calls, pico)], "{from} to {to}");
    }
}
