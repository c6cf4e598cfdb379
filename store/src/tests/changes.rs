use super::*;
use crate::Event;
use crate::changes::CHANGES;

#[tokio::test]
async fn changes_that_nobody_has_read_yet_are_one_event_per_task() {
    let (_dir, store) = store().await;
    let mut changes = store.changes();
    for uid in ["a", "a", "b", "a"] {
        store.hub().announce(task(uid));
    }
    assert_eq!(changes.next().await, Some(Event::Task(task("a"))));
    assert_eq!(changes.next().await, Some(Event::Task(task("b"))));
    store.hub().announce(task("c"));
    assert_eq!(changes.next().await, Some(Event::Task(task("c"))));
}

#[tokio::test]
async fn what_the_operator_shows_is_a_change() {
    let (_dir, store) = store().await;
    let mut changes = store.changes();
    begin(&store, usd(100)).await;
    assert_eq!(changes.next().await, Some(Event::Task(task(UID))));
    let other = "1f7c2c5e-0000-4000-8000-000000000002";
    store
        .open_attempt(other, 1, open_request(other, usd(1)))
        .await
        .unwrap();
    // The claim of the first Task may come as an event of its own.
    loop {
        match changes.next().await.unwrap() {
            Event::Task(seen) if seen.uid == other => break,
            Event::Task(seen) => assert_eq!(seen.uid, UID),
            Event::Resync => panic!("nothing was missed"),
        }
    }
    drop(store);
    assert_eq!(changes.next().await, None);
}

#[tokio::test]
async fn a_slow_reader_is_told_to_look_at_everything() {
    let (_dir, store) = store().await;
    let mut changes = store.changes();
    for n in 0..=CHANGES {
        store.hub().announce(task(&n.to_string()));
    }
    assert_eq!(changes.next().await, Some(Event::Resync));
    store.hub().announce(task("after"));
    assert_eq!(changes.next().await, Some(Event::Task(task("after"))));
}
