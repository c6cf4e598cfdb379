use crate::routing::breaker::{Breaker, Circuit, Limits, Outcome};
use crate::routing::course::Admission;
use proptest::prelude::*;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

fn limits() -> Limits {
    Limits::default()
}

/// Lets a request through and ends it at the same time.
fn request(breaker: &mut Breaker, outcome: Outcome, now: Instant) -> bool {
    let pass = breaker.admit(now).expect("it is let through");
    breaker.ended(pass, outcome, now, &limits())
}

fn failing(breaker: &mut Breaker, times: u32, now: Instant) {
    for _ in 0..times {
        request(breaker, Outcome::Failed(None), now);
    }
}

#[test]
fn it_opens_at_its_share_of_failures_and_not_before_enough_requests() {
    let now = Instant::now();
    let mut few = Breaker::default();
    failing(&mut few, 4, now);
    assert_eq!(few.circuit(now), Circuit::Closed, "four say nothing");
    assert!(
        request(&mut few, Outcome::Failed(None), now),
        "it is told that it opens"
    );
    assert_eq!(
        few.circuit(now),
        Circuit::Open {
            until: now + 15 * SECOND
        }
    );

    let mut sound = Breaker::default();
    for _ in 0..6 {
        request(&mut sound, Outcome::Worked, now);
    }
    failing(&mut sound, 5, now);
    assert_eq!(sound.circuit(now), Circuit::Closed, "5 of 11");
    request(&mut sound, Outcome::Failed(None), now);
    assert!(
        matches!(sound.circuit(now), Circuit::Open { .. }),
        "6 of 12"
    );
}

#[test]
fn what_is_older_than_the_window_does_not_count() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    failing(&mut breaker, 4, now);
    let later = now + 31 * SECOND;
    failing(&mut breaker, 4, later);
    assert_eq!(breaker.circuit(later), Circuit::Closed);
}

#[test]
fn one_request_tries_it_and_its_end_decides() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    failing(&mut breaker, 5, now);
    assert!(breaker.admit(now).is_none());
    let mut until = now + 15 * SECOND;
    // Twice as long each time, up to the longest.
    for seconds in [30, 60, 120, 120] {
        let probe = breaker.admit(until).expect("one is let through");
        assert_eq!(breaker.admits(until), Admission::Busy);
        assert!(breaker.admit(until).is_none(), "and no other");
        assert!(breaker.ended(probe, Outcome::Failed(None), until, &limits()));
        let next = until + seconds * SECOND;
        assert_eq!(breaker.circuit(until), Circuit::Open { until: next });
        until = next;
    }
    let probe = breaker.admit(until).unwrap();
    assert!(breaker.ended(probe, Outcome::Worked, until, &limits()));
    assert_eq!(breaker.circuit(until), Circuit::Closed);
}

#[test]
fn a_probe_that_says_nothing_lets_the_next_one_try() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    failing(&mut breaker, 5, now);
    let after = now + 15 * SECOND;
    let probe = breaker.admit(after).unwrap();
    assert!(!breaker.ended(probe, Outcome::Nothing, after, &limits()));
    assert!(breaker.admit(after).is_some());
}

#[test]
fn the_wait_that_a_provider_asks_for_is_the_least() {
    let now = Instant::now();
    for (outcome, seconds) in [
        (Outcome::Out(Some(60 * SECOND)), 60),
        (Outcome::Out(Some(SECOND)), 15),
        (Outcome::Out(None), 15),
        (Outcome::Failed(Some(600 * SECOND)), 600),
    ] {
        let mut breaker = Breaker::default();
        request(&mut breaker, outcome, now);
        let until = now + seconds * SECOND;
        assert_eq!(breaker.circuit(now), Circuit::Open { until }, "{outcome:?}");
    }
}

#[test]
fn what_was_under_way_when_it_opened_says_nothing_about_it_afterwards() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    let slow = breaker.admit(now).unwrap();
    failing(&mut breaker, 5, now);
    let after = now + 15 * SECOND;
    let probe = breaker.admit(after).unwrap();
    assert!(!breaker.ended(slow, Outcome::Worked, after, &limits()));
    assert_eq!(
        breaker.admits(after),
        Admission::Busy,
        "the probe is still out"
    );
    breaker.ended(probe, Outcome::Worked, after, &limits());
    assert_eq!(breaker.circuit(after), Circuit::Closed);
}

proptest! {
    /// Whatever comes: an open breaker lets nothing through before its time, a half-open one a single request at once, and one that is
    /// left alone is asked again sometime.
    #[test]
    fn it_never_lets_two_probes_through_and_never_stays_shut(
        steps in prop::collection::vec((0u8..4, 0u32..40), 1..60),
    ) {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        let mut out = Vec::new();
        for (kind, seconds) in steps {
            now += seconds * SECOND / 4;
            match breaker.circuit(now) {
                Circuit::Open { until } => {
                    prop_assert!(until > now);
                    prop_assert!(until <= now + 120 * SECOND);
                    prop_assert!(breaker.admit(now).is_none());
                    now = until;
                    let probe = breaker.admit(now);
                    prop_assert!(probe.is_some());
                    prop_assert!(breaker.admit(now).is_none());
                    out.extend(probe);
                }
                Circuit::Closed => out.extend(breaker.admit(now)),
                Circuit::HalfOpen => {}
            }
            if let Some(pass) = out.pop() {
                let outcome = match kind {
                    0 => Outcome::Worked,
                    1 => Outcome::Failed(None),
                    2 => Outcome::Out(None),
                    _ => Outcome::Nothing,
                };
                breaker.ended(pass, outcome, now, &limits());
            }
        }
    }
}

#[test]
fn what_another_gateway_leaves_alone_is_left_alone_as_long_and_counts_for_nothing() {
    let (now, later) = (Instant::now(), Instant::now() + 60 * SECOND);
    let mut breaker = Breaker::default();
    let pass = breaker.admit(now).unwrap();
    assert!(!breaker.leave_alone(now, now), "its time is over");
    assert!(breaker.leave_alone(later, now));
    assert_eq!(breaker.circuit(now), Circuit::Open { until: later });
    assert!(
        !breaker.leave_alone(later + SECOND, now),
        "what is open here stays as it is"
    );
    // What was on its way says nothing, and what comes after is the first of its row.
    assert!(!breaker.ended(pass, Outcome::Worked, now, &limits()));
    let probe = breaker.admit(later).unwrap();
    assert!(!breaker.leave_alone(later + 60 * SECOND, later));
    assert!(breaker.ended(probe, Outcome::Failed(None), later, &limits()));
    let until = later + 15 * SECOND;
    assert_eq!(breaker.circuit(later), Circuit::Open { until });
}
