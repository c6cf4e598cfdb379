//! What is remembered of runs, and what is let go. Sizes are only said, but for those of lists.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

const MIB: usize = 1 << 20;

fn want(step: &str, item: Option<u32>) -> Want {
    Want {
        step: step.to_owned(),
        item,
    }
}

fn all_of(step: &str) -> Want {
    want(step, None)
}

fn left(item: u32) -> Vec<(u32, Vec<Child>)> {
    vec![(item, vec![Child::Succeeded(json!(item))])]
}

fn items(bytes: usize, item: u32) -> Result<Items, Refused> {
    let items = left(item);
    Ok(Items { bytes, items })
}

/// What is known after all this was read.
fn known(reads: &[(Want, u32)]) -> Kept {
    let mut kept = Kept::default();
    for (want, item) in reads {
        kept.take(want, left(*item));
    }
    kept
}

/// A list with so many bytes.
fn list(digest: &str, bytes: usize) -> Lists {
    let text = json!("x".repeat(bytes - 4)); // ["..."]
    [(digest.to_owned(), Arc::new(vec![text]))].into()
}

impl Memories {
    fn kept(&self, uid: &str) -> Kept {
        Kept::clone(&self.of(uid).kept)
    }

    fn list(&self, uid: &str, digest: &str) -> Option<Arc<Vec<Value>>> {
        self.of(uid).lists.get(digest).cloned()
    }
}

#[test]
fn what_was_not_used_for_the_longest_goes() {
    let all = Memories::default();
    let step = all_of("work");
    all.read("one", &step, items(20 * MIB, 1));
    all.no_room("two");
    all.read("two", &step, items(20 * MIB, 2));
    all.passed("two", list("l", MIB));
    all.read("three", &step, items(20 * MIB, 3));
    let _ = all.of("one");
    all.read("four", &step, items(20 * MIB, 4));
    for (uid, item) in [("one", 1), ("three", 3), ("four", 4)] {
        assert_eq!(all.kept(uid), known(&[(step.clone(), item)]), "{uid}");
    }
    let two = all.of("two");
    assert_eq!((two.kept, two.lists), Default::default());
    assert!(two.holds, "that cannot be had anew");
}

#[test]
fn lists_count_beside_what_was_read() {
    let all = Memories::default();
    all.passed("one", list("a", 20 * MIB));
    all.read("two", &all_of("work"), items(30 * MIB, 2));
    assert!(all.list("one", "a").is_some());
    // The same again is no more than it was.
    all.passed("one", list("a", 20 * MIB));
    all.passed("one", list("b", 12 * MIB));
    assert!(all.list("one", "b").is_some());
    assert_eq!(all.kept("two"), known(&[(all_of("work"), 2)]));
    // What one run has no room for takes nothing from others.
    all.passed("one", list("c", MIB));
    assert_eq!(all.list("one", "c"), None);
    assert_eq!(all.kept("two"), known(&[(all_of("work"), 2)]));

    all.passed("three", list("d", 4 * MIB));
    assert_eq!(all.of("one").lists, Arc::default());
    assert!(all.list("three", "d").is_some());
    all.forget("two");
    assert_eq!(all.kept("two"), Kept::default());
}

#[test]
fn what_the_gateway_does_not_take_now_stays_for_a_while() {
    let all = Memories::default();
    assert!(!all.of("u").holds);
    all.not_now("u");
    assert!(all.of("u").holds);
    assert!(!all.of("other").holds);
}

#[test]
fn one_run_reads_so_much_at_once_and_is_told_what_to_do() {
    let all = Memories::default();
    let steps = ["a", "b", "c", "d"].map(all_of);
    let mut four = Vec::new();
    for (step, item) in steps.iter().zip(0..) {
        all.read("u", step, items(8 * MIB, item));
        four.push((step.clone(), item));
    }
    assert_eq!(all.kept("u"), known(&four));
    all.read("u", &all_of("e"), items(MIB, 4));
    let mut refused = known(&four);
    let why = "what the items of step e left is too much beside that of other steps: 34603008 bytes together, at most 33554432 are read for a run at once; \
        have items leave less, and keep what is large as artifacts";
    refused.refuse(&all_of("e"), FailureClass::OutputTooLarge, why.to_owned());
    assert_eq!(all.kept("u"), refused);

    // What an earlier pass needed makes room for what a later one does, which may read what was refused.
    let gone = (
        FailureClass::StateRegressed,
        "it is no longer kept".to_owned(),
    );
    all.read("u", &all_of("gone"), Err(gone.clone()));
    all.passed("u", Lists::new());
    let mut without = known(&four);
    without.refuse(&all_of("gone"), gone.0, gone.1);
    assert_eq!(all.kept("u"), without);
    all.more("u", "gone");
    all.read("u", &all_of("f"), items(MIB, 5));
    assert_eq!(all.kept("u"), known(&[(all_of("f"), 5)]));
    // More was kept of it since: it is to be read anew, and counts no longer.
    all.more("u", "f");
    all.read("u", &all_of("g"), items(32 * MIB, 6));
    assert_eq!(all.kept("u"), known(&[(all_of("g"), 6)]));
}

#[test]
fn items_that_are_read_one_by_one_have_no_end() {
    let all = Memories::default();
    let mut beside = known(&[]);
    for item in 0..100 {
        let one = want("work", Some(item));
        all.read("u", &one, items(MIB, item));
        // Those before it went together, once there was no room.
        match item % 32 {
            0 => beside = known(&[(one, item)]),
            _ => beside.take(&one, left(item)),
        }
        assert_eq!(all.kept("u"), beside, "{item}");
        all.passed("u", Lists::new());
    }
    // A pass that needs one more of them, and another step, too, does not fail for those before.
    let one = want("work", Some(100));
    all.read("u", &one, items(MIB, 100));
    all.read("u", &all_of("more"), items(30 * MIB, 2));
    assert_eq!(all.kept("u"), known(&[(all_of("more"), 2)]));
    all.read("u", &one, items(MIB, 100));
    let both = [(all_of("more"), 2), (one, 100)];
    assert_eq!(all.kept("u"), known(&both));
    all.more("u", "more");
    // All of them are instead of some.
    all.more("u", "work");
    all.read("u", &want("work", Some(1)), items(8 * MIB, 1));
    all.read("u", &all_of("work"), items(30 * MIB, 1));
    all.read("u", &all_of("more"), items(2 * MIB, 2));
    let both = [(all_of("work"), 1), (all_of("more"), 2)];
    assert_eq!(all.kept("u"), known(&both));
}

proptest! {
    /// Whatever is read of whichever run, the bounds hold, and what was read just now is there, unless one pass needs more than may be.
    #[test]
    fn bounds_hold(
        reads in proptest::collection::vec((0_u8..5, 0_u8..4, proptest::option::of(0_u32..3), 1_usize..14, any::<bool>()), 1..60)
    ) {
        let all = Memories::default();
        let mut since = [0; 5];
        for (run, step, item, mib, passed) in reads {
            let (uid, want) = (run.to_string(), want(&step.to_string(), item));
            all.read(&uid, &want, items(mib * MIB, item.unwrap_or(0)));
            since[usize::from(run)] += mib;
            let now = all.kept(&uid);
            let mut again = now.clone();
            again.take(&want, left(item.unwrap_or(0)));
            prop_assert!(again == now || since[usize::from(run)] > 32);
            if passed {
                all.passed(&uid, list("l", 1024));
                since[usize::from(run)] = 0;
            }
            let held = all.0.lock().unwrap();
            prop_assert!(held.bytes() <= ALL);
            for run in held.runs.values() {
                prop_assert!(run.read_bytes() <= EACH && run.lists <= EACH);
                prop_assert_eq!(run.read.is_empty(), *run.memory.kept == Kept::default());
            }
        }
    }
}
