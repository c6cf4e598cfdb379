//! The protocol of the ledger as a model, explored in full: every order of a few callers' steps, crashes, resent calls, the turn of a
//! window, a newer session and a changed limit. It knows nothing of the crate; `src/tests/crash.rs` holds the crate to the same rules.
//!
//! A Task (caller 0) waits for the disk before a hop leaves and before an answer is told. Callers of SDKs (1 and 2) do not: what they may
//! have out that is not on the disk is bounded by [`ledger::REST`], and after an unclean end that much is booked, once, in each counter they
//! are known to use. In an instance either a Task and a caller share a scope or two callers do; `OARMASTER_MODEL=full` takes all three, and
//! more calls and crashes.
//!
//! | | invariant |
//! |---|---|
//! | I1 | settled and reserved are at least what was billed, but for what went beyond a reservation and nobody saw |
//! | I2 | per scope, settled and reserved are at most the limit, but for overrun and the rest after a crash; so is what was billed, but for overrun |
//! | I3 | what was settled too much is at most the sum of the estimated rows |
//! | I4 | a hop leaves at most once, and for the newest session alone |
//! | I5 | an open hop ends exactly once |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a model is a test

mod ledger;
mod search;
mod world;

use ledger::Rules;
use search::explore;
use world::Instance;

/// With a Task that may be claimed anew, a crash, a turn of the window, and a change of the limit.
const fn pair(calls: [u8; 3]) -> Instance {
    Instance {
        calls,
        crashes: 1,
        ticks: 1,
        limits: 1,
        claims: 1,
        bills: &[0, 2, 3],
    }
}

/// Small enough for every run, and large enough that nothing falls unnoticed without one of the rules.
fn small() -> Vec<Instance> {
    vec![
        Instance {
            limits: 0,
            ..pair([2, 0, 0])
        },
        Instance {
            ticks: 0,
            claims: 0,
            limits: 0,
            bills: &[0, 3],
            ..pair([0, 1, 1])
        },
        Instance {
            ticks: 0,
            claims: 0,
            bills: &[0, 3],
            ..pair([1, 1, 0])
        },
        Instance {
            crashes: 2,
            claims: 0,
            limits: 0,
            ..pair([0, 1, 0])
        },
    ]
}

/// What takes too long without optimisation.
fn large() -> Vec<Instance> {
    vec![
        Instance {
            crashes: 2,
            ..pair([2, 0, 0])
        },
        Instance {
            claims: 0,
            limits: 0,
            ..pair([0, 1, 1])
        },
        Instance {
            ticks: 0,
            claims: 0,
            limits: 0,
            ..pair([0, 2, 1])
        },
        Instance {
            claims: 0,
            ..pair([1, 1, 0])
        },
        Instance {
            ticks: 0,
            limits: 0,
            claims: 0,
            bills: &[0, 3],
            ..pair([1, 1, 1])
        },
    ]
}

#[test]
fn the_protocol_holds_in_every_order() {
    let full = std::env::var("OARMASTER_MODEL").is_ok_and(|value| value == "full");
    let instances = if full { large() } else { small() };
    for instance in instances {
        let explored = explore(&instance, Rules::default());
        let states = explored.unwrap_or_else(|found| panic!("{instance:?}: {found}"));
        assert!(states > 1000, "{instance:?}: only {states} states");
    }
}

/// Each rule is there because without it an invariant falls.
#[test]
fn without_any_one_of_its_rules_it_does_not() {
    let rules = Rules::default();
    let without = [
        (
            Rules {
                wait_for_open: false,
                ..rules
            },
            "I1",
        ),
        (
            Rules {
                one_window: false,
                ..rules
            },
            "I2",
        ),
        (
            Rules {
                book_open_at_start: false,
                ..rules
            },
            "I5",
        ),
        (
            Rules {
                new_number: false,
                ..rules
            },
            "I1",
        ),
        (
            Rules {
                check_session: false,
                ..rules
            },
            "I4",
        ),
        (
            Rules {
                check_all_scopes: false,
                ..rules
            },
            "I2",
        ),
        (
            Rules {
                count_reserved: false,
                ..rules
            },
            "I2",
        ),
        (
            Rules {
                book_rest: false,
                ..rules
            },
            "I1",
        ),
        (
            Rules {
                bound_rest: false,
                ..rules
            },
            "I1",
        ),
        (
            Rules {
                first_use_waits: false,
                ..rules
            },
            "I1",
        ),
        (
            Rules {
                rest_once: false,
                ..rules
            },
            "I3",
        ),
        (
            Rules {
                mark_estimated: false,
                ..rules
            },
            "I3",
        ),
    ];
    let instances = small();
    for (broken, invariant) in without {
        let mut found = instances
            .iter()
            .filter_map(|instance| explore(instance, broken).err());
        let found = found.next();
        let found = found.unwrap_or_else(|| panic!("nothing falls without a rule: {broken:?}"));
        assert!(found.starts_with(invariant), "{broken:?}: {found}");
    }
}
