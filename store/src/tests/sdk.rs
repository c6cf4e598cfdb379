use super::calls::copy;
use super::*;
use crate::sdk::Exposed;
use std::slice::from_ref;

fn team(limit: u64) -> Scope {
    scope("team", "namespace/team", limit)
}

#[tokio::test]
async fn hops_of_sdk_callers_survive_a_clean_stop() {
    let (dir, store) = store().await;
    for _ in 0..100 {
        let call = store.sdk_call(sdk_caller());
        let failed_hop = call.reserve(hop_in(5, &[team(1000)])).await.unwrap();
        assert_eq!(failed_hop.hop(), 0);
        failed_hop.settle(&failed(Billing::Unbilled)).await.unwrap();
        let ticket = call.reserve(hop_in(5, &[team(1000)])).await.unwrap();
        assert_eq!(ticket.hop(), 1);
        ticket.settle(&answer(Some(used(2)))).await.unwrap();
    }
    let total = store.sdk_total();
    assert_eq!((total.calls, total.sum.cost_pico), (100, 200));
    assert_eq!(counted(&store, &team(0)), (200, 0));
    store.stop().await.unwrap();
    let late = store.sdk_call(sdk_caller()).reserve(hop(1)).await;
    assert!(late.unwrap_err().to_string().contains("stopped"));
    drop(store);
    let store = Store::open(options(dir.path())).await.unwrap();
    assert_eq!(store.sdk_total(), total);
    assert_eq!(counted(&store, &team(0)), (200, 0));
}

#[tokio::test]
async fn after_an_unclean_end_the_rest_is_booked_once_where_callers_were() {
    let (dir, store) = store().await;
    let other = scope("other", "namespace/other", 1000);
    let call = store.sdk_call(sdk_caller());
    let ticket = call.reserve(hop_in(50, &[team(1000)])).await.unwrap();
    // A Task's hops wait for the disk: nothing of them is lost.
    let claimed = begin(&store, usd(1000)).await;
    let of_task = new_call(&store, &claimed, claimed.next, 0).await;
    let settled = of_task.reserve(hop_in(7, from_ref(&other))).await.unwrap();
    settled.settle(answer(Some(used(7)))).await.unwrap();
    let after = copy(dir.path());
    ticket.settle(&answer(Some(used(1)))).await.unwrap();
    let crashed = Store::open(options(after.path())).await.unwrap();
    assert_eq!(
        counted(&crashed, &team(0)),
        (50 + REST, 0),
        "the open hop, and the rest"
    );
    assert_eq!(counted(&crashed, &other), (7, 0));
    let total = crashed.sdk_total();
    assert_eq!((total.calls, total.sum.cost_pico), (1, 50 + REST));
    assert!(total.sum.estimated);
    assert_eq!(crashed.sdk_reserved(), 0);
    // A crash before anybody called: nothing more can have been lost.
    let again = copy(after.path());
    let crashed = Store::open(options(again.path())).await.unwrap();
    assert_eq!(counted(&crashed, &team(0)), (50 + REST, 0));
}

#[tokio::test]
async fn the_first_hop_in_a_counter_and_what_is_beyond_the_rest_wait_for_the_disk() {
    let (_dir, store) = store().await;
    let on_disk = |store: &Store| store.durable_frames() == store.queued_frames();
    let call = store.sdk_call(sdk_caller());
    let first = call.reserve(hop_in(1, &[team(10_000)])).await.unwrap();
    assert!(on_disk(&store));
    first.settle(&answer(Some(used(1)))).await.unwrap();
    let mut tickets = Vec::new();
    for out in 1..=100 {
        let call = store.sdk_call(sdk_caller());
        tickets.push(call.reserve(hop_in(REST, &[team(100_000)])).await.unwrap());
        // One is within the rest. The next waits, and takes the one before to the disk with it; the writer may be faster.
        assert!(out == 1 || store.durable_frames() + 1 >= store.queued_frames());
    }
    let call = store.sdk_call(sdk_caller());
    let _large = call
        .reserve(hop_in(REST + 1, &[team(100_000)]))
        .await
        .unwrap();
    assert!(on_disk(&store));
}

#[test]
fn what_is_out_is_counted_until_it_is_on_the_disk() {
    let mut exposed = Exposed::default();
    assert_eq!(exposed.add(5, 10, 5), 10);
    assert_eq!(exposed.add(4, 10, 5), 10, "on the disk already");
    assert_eq!(exposed.add(7, 1, 5), 11);
    assert_eq!(exposed.add(6, 2, 5), 13, "callers come in any order");
    assert_eq!(exposed.add(8, 0, 6), 3);
    assert_eq!(exposed.add(8, 0, 7), 1);
    assert_eq!(exposed.add(9, u64::MAX, 8), u64::MAX);
    assert_eq!(exposed.add(10, u64::MAX, 8), u64::MAX);
}

#[tokio::test]
async fn a_dropped_hop_is_booked_at_its_reservation() {
    let (_dir, store) = store().await;
    let call = store.sdk_call(sdk_caller());
    drop(call.reserve(hop_in(50, &[team(100)])).await.unwrap());
    assert_eq!(counted(&store, &team(0)), (50, 0));
    assert!(store.sdk_total().sum.estimated);
}
