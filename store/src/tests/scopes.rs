use super::*;
use oarmaster_protocol::task::ErrorCode;
use std::slice::from_ref;

fn covers(store: &Store, scopes: &[Scope], needed: u64) -> Result<(), Refusal> {
    let now = store.now();
    store
        .lock()
        .state
        .counters
        .check(scopes, needed, now)
        .map(drop)
}

#[tokio::test]
async fn a_hop_is_reserved_and_settled_in_every_scope_or_in_none() {
    let (dir, store) = store().await;
    let (wide, narrow) = (
        scope("all", "cluster", 100),
        scope("team", "namespace/team", 70),
    );
    let both = [wide.clone(), narrow.clone()];
    let claimed = begin(&store, usd(1000)).await;
    let call = new_call(&store, &claimed, claimed.next, 0).await;
    let ticket = call.reserve(hop_in(60, &both)).await.unwrap();
    assert_eq!(
        (counted(&store, &wide), counted(&store, &narrow)),
        ((0, 60), (0, 60))
    );
    let other = new_call(&store, &claimed, claimed.next + 1, 1).await;
    let refused = other.reserve(hop_in(20, &both)).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::WindowExceeded);
    assert_eq!(
        refused.to_string(),
        "team/day (namespace/team): $0.00 spent and $0.00000000006 reserved of $0.00000000007, resets 1970-01-02T00:00Z, the next call needs up to $0.00000000002"
    );
    assert_eq!(
        counted(&store, &wide),
        (0, 60),
        "nothing is kept of a refused hop"
    );
    assert_eq!(store.usage(UID).await.unwrap().reserved_pico, 60);
    ticket.settle(answer(Some(used(40)))).await.unwrap();
    assert_eq!(
        (counted(&store, &wide), counted(&store, &narrow)),
        ((40, 0), (40, 0))
    );
    let ticket = other.reserve(hop_in(20, &both)).await.unwrap();
    ticket.settle(failed(Billing::Unbilled)).await.unwrap();
    assert_eq!(counted(&store, &narrow), (40, 0));

    drop((call, other, store));
    let store = Store::open(options(dir.path())).await.unwrap();
    assert_eq!(
        (counted(&store, &wide), counted(&store, &narrow)),
        ((40, 0), (40, 0))
    );
}

#[tokio::test]
async fn a_budget_of_the_task_itself_is_named_before_any_cap() {
    let (_dir, store) = store().await;
    let claimed = begin(&store, usd(10)).await;
    let call = new_call(&store, &claimed, claimed.next, 0).await;
    let refused = call
        .reserve(hop_in(20, &[scope("all", "cluster", 5)]))
        .await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::BudgetExceeded);
}

#[tokio::test]
async fn of_several_caps_the_one_is_named_that_stands_in_the_way_longest() {
    let (_dir, store) = store().await;
    let at = |budget: &str, window, free_only| Scope {
        window,
        free_only,
        ..scope(budget, "cluster", 5)
    };
    let hour = at("hour", Window::Hour, false);
    let month = at("month", Window::Month, false);
    let total = at("total", Window::Total, false);
    let free = at("free", Window::Total, true);
    for (scopes, named) in [
        (vec![hour.clone(), month.clone()], "month/month"),
        (vec![total.clone(), month.clone()], "total/total"),
        (vec![free.clone(), hour.clone()], "hour/hour"),
        (vec![free.clone()], "free/total"),
    ] {
        let refused = covers(&store, &scopes, 6).unwrap_err().to_string();
        assert!(refused.starts_with(named), "{refused}");
    }
    assert!(
        covers(&store, &[total], 6)
            .unwrap_err()
            .to_string()
            .contains("never resets")
    );
}

#[tokio::test]
async fn what_costs_nothing_passes_a_cap_for_free_members_only() {
    let (_dir, store) = store().await;
    let call = store.sdk_call(sdk_caller());
    let stop = scope("stop", "cluster", 10);
    let ticket = call.reserve(hop_in(10, from_ref(&stop))).await.unwrap();
    ticket.settle(&answer(Some(used(15)))).await.unwrap();
    let free = Scope {
        free_only: true,
        ..stop.clone()
    };
    assert!(covers(&store, from_ref(&free), 0).is_ok());
    assert!(covers(&store, &[free], 1).is_err());
    assert!(
        covers(&store, from_ref(&stop), 0).is_err(),
        "more was spent than may be"
    );
    let counter = store.lock().state.counters.get(&stop.counter(store.now()));
    assert_eq!((counter.spent, counter.overrun), (15, 5));
}

#[tokio::test]
async fn a_hop_is_settled_in_the_window_that_it_was_reserved_in() {
    let dir = tempfile::tempdir().unwrap();
    let ticks = Arc::new(AtomicI64::new(1000));
    let store = Store::open(options_at(dir.path(), &ticks)).await.unwrap();
    let daily = scope("team", "namespace/team", 100);
    let claimed = begin(&store, usd(1000)).await;
    let call = new_call(&store, &claimed, claimed.next, 0).await;
    let ticket = call.reserve(hop_in(60, from_ref(&daily))).await.unwrap();
    let first = daily.counter(store.now());
    let day = 24 * 3_600_000;
    ticks.store(day + 5, Ordering::SeqCst);
    assert_eq!(counted(&store, &daily), (0, 0));
    let on_the_next = store.sdk_call(sdk_caller());
    let second = on_the_next
        .reserve(hop_in(100, from_ref(&daily)))
        .await
        .unwrap();
    ticket.settle(answer(Some(used(50)))).await.unwrap();
    assert_eq!(store.lock().state.counters.get(&first).spent, 50);
    assert_eq!(counted(&store, &daily), (0, 100));
    second.settle(&answer(Some(used(90)))).await.unwrap();

    // A clock that is set back finds what was counted.
    ticks.store(10, Ordering::SeqCst);
    assert!(covers(&store, from_ref(&daily), 60).is_err());
    // Long past, it is forgotten, here and after a restart.
    ticks.store(3 * day, Ordering::SeqCst);
    let sdk = store.sdk_call(sdk_caller());
    let last = sdk.reserve(hop_in(1, from_ref(&daily))).await.unwrap();
    last.settle(&answer(Some(used(1)))).await.unwrap();
    assert_eq!(store.lock().state.counters.iter().count(), 1);
    let shown = store.counters();
    assert_eq!((shown.len(), shown[0].counter.spent), (1, 1));
    store.stop().await.unwrap();
    drop((store, sdk, on_the_next, call));
    let store = Store::open(options_at(dir.path(), &ticks)).await.unwrap();
    assert_eq!(
        store.counters(),
        shown
            .into_iter()
            .map(|mut view| {
                view.counter.sdk = None;
                view
            })
            .collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_reserves_at_once_a_scope_admits_exactly_k() {
    const K: u64 = 10;
    let (_dir, store) = store().await;
    let capped = scope("team", "namespace/team", K * 7 + 6);
    let racing: Vec<_> = (0..64)
        .map(|_| {
            let (store, capped) = (store.clone(), capped.clone());
            tokio::spawn(async move {
                let call = store.sdk_call(sdk_caller());
                call.reserve(hop_in(7, &[capped])).await
            })
        })
        .collect();
    let mut tickets = Vec::new();
    for race in racing {
        match race.await.unwrap() {
            Ok(ticket) => tickets.push(ticket),
            Err(refused) => assert_eq!(refused.code(), ErrorCode::WindowExceeded),
        }
    }
    assert_eq!(tickets.len() as u64, K);
    assert_eq!(counted(&store, &capped), (0, K * 7));
}
