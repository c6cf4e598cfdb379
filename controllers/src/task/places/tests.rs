use super::{Places, Wish};
use crate::task::census::Census;
use jiff::Timestamp;
use oarmaster_crds::Task;
use proptest::prelude::*;
use serde_json::{Value, json};

fn task(uid: &str, status: Value) -> Task {
    serde_json::from_value(json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task",
        "metadata": { "name": uid, "namespace": "team", "uid": uid },
        "spec": { "agent": { "name": "coder" }, "params": { "prompt": "x" } },
        "status": status,
    }))
    .unwrap()
}

fn pinned() -> Value {
    json!({ "agent": "coder@sha256:0", "class": "default" })
}

fn waits(uid: &str) -> Task {
    task(uid, json!({}))
}

fn runs(uid: &str) -> Task {
    task(uid, json!({ "attempt": 1, "pinned": pinned() }))
}

fn backs_off(uid: &str) -> Task {
    task(
        uid,
        json!({ "attempt": 1, "pinned": pinned(), "nextAttemptAt": "2026-01-01T00:00:00Z" }),
    )
}

fn ended(uid: &str) -> Task {
    let finished = json!([{ "type": "Finished", "status": "True", "reason": "X", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" }]);
    task(
        uid,
        json!({ "attempt": 1, "pinned": pinned(), "conditions": finished }),
    )
}

fn wish(uid: &str, attempt: u32, limit: u32) -> Wish<'_> {
    Wish {
        namespace: "team",
        name: uid,
        uid,
        created: Timestamp::UNIX_EPOCH,
        attempt,
        agent: "coder",
        any: false,
        limit: Some(limit),
    }
}

fn take(places: &Places, wish: &Wish<'_>, tasks: &[Task]) -> Result<(), u32> {
    places.take(wish, || Census::of(tasks.iter()))
}

#[test]
fn a_live_attempt_has_a_place_and_nothing_else_has() {
    for (other, free) in [
        (waits("b"), true),
        (backs_off("b"), true),
        (ended("b"), true),
        (runs("b"), false),
    ] {
        let tasks = [waits("a"), other];
        let taken = take(&Places::default(), &wish("a", 1, 1), &tasks);
        assert_eq!(taken, if free { Ok(()) } else { Err(1) }, "{tasks:?}");
    }
    // Its own place is no other's.
    assert_eq!(
        take(&Places::default(), &wish("a", 1, 1), &[runs("a")]),
        Ok(())
    );
}

#[test]
fn a_place_that_was_given_counts_before_a_cache_shows_it() {
    let places = Places::default();
    let before = [waits("a"), waits("b")];
    assert_eq!(take(&places, &wish("a", 1, 1), &before), Ok(()));
    assert_eq!(
        take(&places, &wish("a", 1, 1), &before),
        Ok(()),
        "the same one"
    );
    assert_eq!(take(&places, &wish("b", 1, 1), &before), Err(1));
    assert_eq!(
        places.running(&Census::of(before.iter()), "team", "coder", "b"),
        1
    );
    let shown = [runs("a"), waits("b")];
    assert_eq!(take(&places, &wish("b", 1, 1), &shown), Err(1));
    let after = [ended("a"), waits("b")];
    assert_eq!(take(&places, &wish("b", 1, 1), &after), Ok(()));
    // The next attempt of a Task that backs off takes one again.
    assert_eq!(
        take(&places, &wish("a", 2, 1), &[backs_off("a"), waits("b")]),
        Err(1)
    );
    places.give_back("b");
    assert_eq!(
        take(&places, &wish("a", 2, 1), &[backs_off("a"), waits("b")]),
        Ok(())
    );
    // A Task that is gone has none.
    assert_eq!(take(&places, &wish("b", 1, 1), &[waits("b")]), Ok(()));
}

#[test]
fn who_waits_longest_is_woken_first() {
    let places = Places::default();
    let tasks = [runs("z")];
    for (uid, second, any) in [("c", 3, false), ("a", 1, false), ("b", 2, true)] {
        let wish = Wish {
            created: Timestamp::from_second(second).unwrap(),
            any,
            ..wish(uid, 1, 1)
        };
        assert!(take(&places, &wish, &tasks).is_err());
    }
    assert_eq!(places.next("other", "coder"), [""; 0]);
    assert_eq!(places.next("team", "tester"), ["b"], "any agent would do");
    assert_eq!(places.next("team", "coder"), ["a", "c"]);
    assert_eq!(places.next("team", "coder"), [""; 0], "they say so again");
    for index in 0..6 {
        let uid = format!("any{index}");
        let any = Wish {
            any: true,
            ..wish(&uid, 1, 1)
        };
        assert!(take(&places, &any, &tasks).is_err());
        let uid = format!("t{index}");
        assert!(take(&places, &wish(&uid, 1, 1), &tasks).is_err());
    }
    let woken = places.next("team", "coder");
    assert_eq!(woken.len(), 8, "of either: {woken:?}");
    assert_eq!(places.next("team", "coder").len(), 4);
}

proptest! {
    /// Whatever order Tasks come in, and however late the cache is: never more than may.
    #[test]
    fn never_more_than_may(steps in prop::collection::vec((0usize..6, 0u8..4), 1..60), limit in 1u32..4) {
        let places = Places::default();
        let names: Vec<String> = (0..6).map(|index| format!("t{index}")).collect();
        let mut truth = [false; 6]; // who has a live attempt
        let mut over = [false; 6];
        let mut cache: Vec<Task> = names.iter().map(|name| waits(name)).collect();
        for (index, step) in steps {
            let (name, seen) = (names[index].as_str(), cache.clone());
            match step {
                0 | 1 if !truth[index] && !over[index] => {
                    truth[index] = take(&places, &wish(name, 1, limit), &seen).is_ok();
                }
                2 if truth[index] => cache[index] = runs(name), // the watch catches up
                3 if truth[index] => {
                    (truth[index], over[index]) = (false, true);
                    cache[index] = ended(name);
                }
                _ => {}
            }
            let live = truth.iter().filter(|live| **live).count();
            prop_assert!(live <= limit as usize);
        }
    }
}
