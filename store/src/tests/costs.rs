use super::*;
use crate::CostQuery;
use oarmaster_protocol::read::{CostBy, CostLine};

fn query(by: CostBy) -> CostQuery {
    CostQuery {
        namespace: None,
        by,
        from_ms: i64::MIN,
        to_ms: i64::MAX,
    }
}

/// Key, calls and pico-USD of each line.
async fn lines(store: &Store, query: CostQuery) -> Vec<(String, u64, u64)> {
    let lines = store.costs(query).await.unwrap();
    let plain = |CostLine { key, calls, usage }| (key, calls, usage.cost_pico);
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
