use super::{Key, Queue};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

fn key(namespace: &str, name: &str) -> Key {
    (namespace.to_owned(), name.to_owned())
}

fn ms(zero: Instant, ms: u64) -> Instant {
    zero + Duration::from_millis(ms)
}

/// Takes as many as there are.
fn all(queue: &mut Queue, now: Instant) -> Vec<String> {
    std::iter::from_fn(|| queue.take(now))
        .map(|(_, name)| name)
        .collect()
}

#[test]
fn within_a_namespace_first_come_first_served() {
    let zero = Instant::now();
    let mut queue = Queue::new(100);
    for name in ["c", "a", "b"] {
        queue.wants(key("team", name), zero);
    }
    assert_eq!(all(&mut queue, zero), ["c", "a", "b"]);
}

#[test]
fn namespaces_take_turns() {
    let zero = Instant::now();
    let mut queue = Queue::new(8);
    for number in 0..1000 {
        queue.wants(key("many", &format!("m{number}")), zero);
    }
    let first = queue.take(zero).unwrap();
    assert_eq!(first.1, "m0");
    queue.wants(key("one", "x"), zero);
    queue.wants(key("two", "y"), zero);
    queue.wants(key("one", "z"), zero);
    let next: Vec<String> = (0..5)
        .filter_map(|_| queue.take(zero))
        .map(|taken| taken.1)
        .collect();
    assert_eq!(next, ["m1", "x", "y", "m2", "z"]);
}

#[test]
fn one_namespace_never_has_all_passes() {
    let zero = Instant::now();
    for (concurrency, share) in [(1, 1), (2, 2), (4, 3), (128, 96)] {
        let mut queue = Queue::new(concurrency);
        for number in 0..1000 {
            queue.wants(key("many", &format!("m{number}")), zero);
        }
        assert_eq!(all(&mut queue, zero).len(), share);
        queue.wants(key("one", "x"), zero);
        assert_eq!(all(&mut queue, zero), ["x"]);
        queue.done(key("many", "m0"), None);
        assert_eq!(
            all(&mut queue, zero).len(),
            1,
            "one more for one that ended"
        );
    }
}

#[test]
fn what_is_told_during_a_pass_is_one_pass_more() {
    let zero = Instant::now();
    let mut queue = Queue::new(4);
    queue.wants(key("team", "a"), zero);
    assert_eq!(all(&mut queue, zero), ["a"]);
    for at in [9, 5, 7] {
        queue.wants(key("team", "a"), ms(zero, at));
    }
    assert_eq!(queue.take(ms(zero, 9)), None, "it is in a pass");
    queue.done(key("team", "a"), Some(ms(zero, 60)));
    assert_eq!(queue.next(), Some(ms(zero, 5)), "the earliest counts");
    assert_eq!(queue.take(ms(zero, 4)), None);
    assert_eq!(all(&mut queue, ms(zero, 5)), ["a"]);
    queue.done(key("team", "a"), None);
    assert_eq!((queue.next(), queue.take(ms(zero, 100))), (None, None));
}

#[test]
fn a_trigger_comes_before_the_look_that_was_planned_and_takes_its_place() {
    let zero = Instant::now();
    let mut queue = Queue::new(4);
    queue.wants(key("team", "a"), zero);
    queue.take(zero);
    queue.done(key("team", "a"), Some(ms(zero, 30_000)));
    queue.wants(key("team", "a"), ms(zero, 20));
    queue.wants(key("team", "a"), ms(zero, 25)); // gathered
    assert_eq!(all(&mut queue, ms(zero, 20)), ["a"]);
    queue.done(key("team", "a"), None);
    assert_eq!(
        queue.take(ms(zero, 40_000)),
        None,
        "the planned look is superseded"
    );
}

#[derive(Clone, Debug)]
enum Event {
    Wants { object: usize, in_ms: u64 },
    Take,
    Done { which: usize, again: Option<u64> },
    Passes(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0usize..12, 0u64..5).prop_map(|(object, in_ms)| Event::Wants { object, in_ms }),
        3 => Just(Event::Take),
        2 => (0usize..12, prop::option::of(0u64..20)).prop_map(|(which, again)| Event::Done { which, again }),
        1 => (0u64..8).prop_map(Event::Passes),
    ]
}

proptest! {
    /// Held against the plainest model: by object, the earliest time at which it is to be looked at.
    #[test]
    fn nothing_is_lost_doubled_or_early(events in prop::collection::vec(event(), 1..200), concurrency in 1usize..6) {
        let zero = Instant::now();
        let object = |number: usize| key(&format!("n{}", number % 3), &format!("o{number}"));
        let mut queue = Queue::new(concurrency);
        let mut wanted: BTreeMap<Key, Instant> = BTreeMap::new();
        let mut under_way: Vec<Key> = Vec::new();
        let mut now = zero;
        let earlier = |wanted: &mut BTreeMap<Key, Instant>, key: Key, at: Instant| {
            let held = wanted.entry(key).or_insert(at);
            *held = at.min(*held);
        };
        for event in events {
            match event {
                Event::Wants { object: number, in_ms } => {
                    queue.wants(object(number), ms(now, in_ms));
                    earlier(&mut wanted, object(number), ms(now, in_ms));
                }
                Event::Take if under_way.len() < concurrency => match queue.take(now) {
                    Some(key) => {
                        prop_assert!(!under_way.contains(&key), "in two passes");
                        let at = wanted.remove(&key);
                        prop_assert!(at.is_some_and(|at| at <= now), "nobody wanted {key:?} now");
                        under_way.push(key);
                    }
                    None => {
                        // Whoever is due is in a pass, or its namespace has as many as it may.
                        for (key, at) in wanted.iter().filter(|(_, at)| **at <= now) {
                            let of_namespace = under_way.iter().filter(|held| held.0 == key.0).count();
                            let share = concurrency - concurrency / 4;
                            prop_assert!(under_way.contains(key) || of_namespace >= share, "{key:?} at {at:?} is lost");
                        }
                    }
                },
                Event::Done { which, again } if !under_way.is_empty() => {
                    let key = under_way.remove(which % under_way.len());
                    let again = again.map(|after| ms(now, after));
                    if let Some(at) = again {
                        earlier(&mut wanted, key.clone(), at);
                    }
                    queue.done(key, again);
                }
                Event::Passes(after) => now = ms(now, after),
                _ => {}
            }
            let live = wanted.keys().chain(&under_way).collect::<std::collections::BTreeSet<_>>().len();
            prop_assert_eq!(queue.objects.len(), live, "bounded by the objects");
            prop_assert!(queue.lanes.len() <= 3 && queue.turns.len() <= 3);
        }
        // In the end everything that was wanted has its pass.
        now = ms(now, 1000);
        for key in under_way {
            queue.done(key, None);
        }
        let mut rest = 0;
        while let Some(key) = queue.take(now) {
            prop_assert!(wanted.remove(&key).is_some());
            queue.done(key, None);
            rest += 1;
            prop_assert!(rest <= 12);
        }
        prop_assert!(wanted.is_empty(), "left: {wanted:?}");
        prop_assert!(queue.objects.is_empty() && queue.lanes.is_empty() && queue.turns.is_empty());
    }

    /// However many objects another namespace has, and however they come: a due object waits for one pass of each namespace before each of its own.
    #[test]
    fn nobody_starves(others in prop::collection::vec(1usize..300, 1..5), before in 0usize..5) {
        let zero = Instant::now();
        let mut queue = Queue::new(1);
        for (namespace, count) in others.iter().enumerate() {
            for number in 0..*count {
                queue.wants(key(&format!("n{namespace}"), &number.to_string()), zero);
            }
        }
        for number in 0..=before {
            queue.wants(key("own", &number.to_string()), zero);
        }
        let last = key("own", &before.to_string());
        let mut passes = 0;
        while let Some(taken) = queue.take(zero) {
            passes += 1;
            if taken == last {
                break;
            }
            // Others are looked at again and again.
            let again = (taken.0 != "own").then_some(zero);
            queue.done(taken, again);
        }
        prop_assert!(passes <= (before + 1) * (others.len() + 1), "{passes} passes");
    }
}
