use super::*;
use oarmaster_protocol::task::ErrorCode;

fn program_call(store: &Store, claim: &Claim) -> ProgramCall {
    store.program_call(UID, 1, &claim.session)
}

/// Call and hop of every record that opens one.
async fn opened(store: &Store) -> Vec<(u64, u32)> {
    let records = store.records(UID, 0, 100).await.unwrap();
    let opened = records.iter().filter_map(|record| match record.body {
        Body::Open { call, hop, .. } => Some((call, hop)),
        _ => None,
    });
    opened.collect()
}

#[tokio::test]
async fn calls_of_programs_are_numbered_as_they_leave() {
    let (dir, store) = store().await;
    let claimed = begin(&store, usd(1000)).await;
    // Of two that are under way at once each has its own number, and the pilot's next one is behind both.
    let (one, other) = (
        program_call(&store, &claimed),
        program_call(&store, &claimed),
    );
    let ticket = one.reserve(hop(10)).await.unwrap();
    let of_other = other.reserve(hop(20)).await.unwrap();
    let refused = store.begin_call(UID, 1, &claimed.session, claimed.next, 3, "sha256:d");
    let refused = refused.await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "call 3 leaves a gap; the next one is 2"
    );
    // A hop that failed is followed by another of the call; one that was answered, by another call.
    ticket.settle(failed(Billing::Unbilled)).await.unwrap();
    let ticket = one.reserve(hop(10)).await.unwrap();
    ticket.settle(answer(Some(used(7)))).await.unwrap();
    of_other.settle(answer(Some(used(5)))).await.unwrap();
    let ticket = one.reserve(hop(10)).await.unwrap();
    ticket.settle(answer(Some(used(3)))).await.unwrap();
    let expected = [(0, 0), (1, 0), (0, 1), (2, 0)];
    assert_eq!(opened(&store).await, expected);
    let usage = store.usage(UID).await.unwrap();
    assert_eq!((usage.calls, usage.sum.cost_pico), (3, 15));
    assert_eq!(usage.reserved_pico, 0);

    drop((one, other, store));
    let store = Store::open(options(dir.path())).await.unwrap();
    assert_eq!(store.usage(UID).await.unwrap(), usage);
    assert_eq!(opened(&store).await, expected);
}

#[tokio::test]
async fn a_call_that_nothing_left_for_takes_no_number() {
    let (_dir, store) = store().await;
    let claimed = begin(&store, usd(10)).await;
    let refused = program_call(&store, &claimed).reserve(hop(11)).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::BudgetExceeded);
    let call = program_call(&store, &claimed);
    let ticket = call.reserve(hop(10)).await.unwrap();
    assert_eq!(opened(&store).await, [(0, 0)]);
    ticket.settle(answer(Some(used(10)))).await.unwrap();
}

#[tokio::test]
async fn the_pilot_writes_on_beside_the_calls_of_programs() {
    let (_dir, store) = store().await;
    let claimed = begin(&store, usd(100)).await;
    let call = program_call(&store, &claimed);
    let ticket = call.reserve(hop(10)).await.unwrap();
    let append = || append(claimed.next, vec![note("it runs")]);
    let write = || store.append(UID, 1, &claimed.session, append());
    let appended = write().await.unwrap();
    ticket.settle(answer(Some(used(1)))).await.unwrap();
    // Its answer was lost: the same again is the same.
    let again = write().await.unwrap();
    assert_eq!(appended.next, claimed.next + 2);
    assert_eq!(again.next, claimed.next + 3);
    let records = store.records(UID, 0, 100).await.unwrap();
    let notes = records
        .iter()
        .filter(|record| matches!(record.body, Body::Observation { .. }));
    assert_eq!(notes.count(), 1);
}

#[tokio::test]
async fn whoever_may_not_act_in_the_attempt_calls_nothing() {
    let (_dir, store) = store().await;
    let claimed = begin(&store, usd(100)).await;
    let call = program_call(&store, &claimed);
    let ticket = call.reserve(hop(10)).await.unwrap();
    store.fence(UID, 1, "cancelled").await.unwrap();
    // What was spent is spent.
    ticket.settle(failed(Billing::Unknown)).await.unwrap();
    assert_eq!(store.usage(UID).await.unwrap().sum.cost_pico, 10);
    for call in [
        call, // a hop more
        program_call(&store, &claimed),
        store.program_call(UID, 1, "another"),
    ] {
        let refused = call.reserve(hop(1)).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Fenced);
    }
}

/// Those that cost nothing have no other bound.
#[tokio::test]
async fn a_task_makes_so_many_calls_and_no_more() {
    let (_dir, store) = store().await;
    let claimed = begin(&store, usd(1000)).await;
    for _ in 0..crate::programs::MAX_CALLS {
        let call = program_call(&store, &claimed);
        let ticket = call.reserve(hop(10)).await.unwrap();
        ticket.settle(failed(Billing::Unbilled)).await.unwrap();
    }
    let refused = program_call(&store, &claimed).reserve(hop(10)).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::TooLarge);
    assert_eq!(store.usage(UID).await.unwrap().sum.cost_pico, 0);
}
