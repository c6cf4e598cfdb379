use crate::routing::order::{Candidate, Free, Reason, order};
use oarmaster_crds::kinds::pool::Strategy;
use std::time::Duration;

const PLAIN: Candidate = Candidate {
    priority: 0,
    weight: 1,
    cost: 10,
    free: Free::No,
    wait: None,
    busy: 0,
};

fn ordered(strategy: Strategy, candidates: &[Candidate]) -> Vec<usize> {
    order(strategy, candidates, |_| 0)
}

#[test]
fn priority_comes_before_every_strategy_and_the_written_order_after_it() {
    let low = Candidate {
        priority: 5,
        cost: 0,
        free: Free::Yes,
        ..PLAIN
    };
    for strategy in [
        Strategy::Priority,
        Strategy::Weighted,
        Strategy::Cheapest,
        Strategy::Fastest,
        Strategy::LeastBusy,
        Strategy::FreeFirst,
    ] {
        assert_eq!(
            ordered(strategy, &[low, PLAIN, PLAIN]),
            [1, 2, 0],
            "{strategy:?}"
        );
    }
}

#[test]
fn each_strategy_has_its_order() {
    let cost = |cost| Candidate { cost, ..PLAIN };
    let costs = [cost(3), cost(u64::MAX), cost(0), cost(2)];
    assert_eq!(
        ordered(Strategy::Cheapest, &costs),
        [2, 3, 0, 1],
        "0 is a price"
    );

    let wait = |ms: u64| Candidate {
        wait: Some(Duration::from_millis(ms)),
        ..PLAIN
    };
    let waits = [wait(300), wait(100), PLAIN, wait(200)];
    assert_eq!(
        ordered(Strategy::Fastest, &waits),
        [2, 1, 3, 0],
        "what nobody tried is tried"
    );

    let busy = |busy| Candidate { busy, ..PLAIN };
    assert_eq!(
        ordered(Strategy::LeastBusy, &[busy(2), busy(0), busy(1)]),
        [1, 2, 0]
    );

    let free = |free, cost| Candidate {
        free,
        cost,
        ..PLAIN
    };
    let some = [
        free(Free::No, 7),
        free(Free::UsedUp, 0),
        free(Free::Yes, 0),
        free(Free::No, 5),
    ];
    assert_eq!(ordered(Strategy::FreeFirst, &some), [2, 3, 0, 1]);
    assert_eq!(ordered(Strategy::Priority, &some), [0, 1, 2, 3]);
    assert_eq!(Reason::first(Strategy::FreeFirst, Free::Yes), Reason::Free);
    assert_eq!(
        Reason::first(Strategy::FreeFirst, Free::No),
        Reason::Cheapest
    );
}

#[test]
fn weights_are_chances() {
    let weight = |weight| Candidate { weight, ..PLAIN };
    let members = [weight(0), weight(1), weight(3)];
    // Every draw there is: 4 for the first place, and then what is left of the other.
    let mut first = [0; 3];
    for mark in 0..4 {
        let order = order(Strategy::Weighted, &members, |below| mark % below);
        assert_eq!(order.len(), 3);
        assert_eq!(order[2], 0, "without a weight: after the others");
        first[order[0]] += 1;
    }
    assert_eq!(first, [0, 1, 3]);
}
