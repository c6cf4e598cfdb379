use crate::provider::failure::Class;
use crate::routing::course::{Admission, Bounds, Course, Fault, Lane, Over, Step};
use proptest::prelude::*;
use std::collections::HashSet;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

fn lane(member: usize, provider: usize, key: usize, context: u64) -> Lane {
    Lane {
        member,
        provider,
        model: member,
        key,
        context,
    }
}

/// Two keys of a provider with a small and a large model, and another provider.
fn three() -> Vec<Lane> {
    vec![
        lane(0, 0, 0, 8),
        lane(0, 0, 1, 8),
        lane(1, 1, 0, 8),
        lane(2, 0, 0, 32),
        lane(2, 0, 1, 32),
    ]
}

fn bounds(now: Instant, patient: bool) -> Bounds {
    Bounds {
        hops: 8,
        deadline: now + 180 * SECOND,
        patient,
    }
}

fn fault(class: Class) -> Fault {
    Fault { class, wait: None }
}

/// The lanes that follow after the first one failed so, each failing in passing.
fn after(class: Class) -> Vec<(usize, usize)> {
    let now = Instant::now();
    let mut course = Course::new(three(), bounds(now, false));
    let mut asked = Vec::new();
    let mut class = class;
    while let Step::Ask(lane) = course.next(now, |_| Admission::Yes) {
        asked.push((lane.member, lane.key));
        course.failed(fault(class), now);
        class = Class::RateLimit;
    }
    asked.remove(0);
    asked
}

#[test]
fn a_failure_rules_out_what_failed() {
    let cases: [(Class, &[(usize, usize)]); 7] = [
        (Class::Credential, &[(0, 1), (1, 0), (2, 1)]), // the key, with every model
        (Class::Quota, &[(0, 1), (1, 0), (2, 1)]),
        (Class::RateLimit, &[(0, 1), (1, 0), (2, 0), (2, 1)]), // the lane
        (Class::ModelGone, &[(1, 0), (2, 0), (2, 1)]),         // the model, with every key
        (Class::ContextLength, &[(2, 0), (2, 1)]),             // what takes no more
        (Class::CallerFault, &[]),
        (Class::Transient, &[(1, 0), (0, 1), (2, 0), (2, 1)]), // the provider last
    ];
    for (class, then) in cases {
        assert_eq!(after(class), then, "{class:?}");
    }
}

#[test]
fn what_may_not_be_asked_is_passed_over() {
    let now = Instant::now();
    let mut course = Course::new(three(), bounds(now, false));
    let admits = |lane: Lane| match (lane.member, lane.key) {
        (0, 0) => Admission::From(now + SECOND),
        (0, _) => Admission::Busy,
        (1, _) => Admission::Never,
        _ => Admission::Yes,
    };
    assert_eq!(course.next(now, admits), Step::Ask(lane(2, 0, 0, 32)));
    course.failed(fault(Class::Credential), now);
    assert_eq!(course.next(now, admits), Step::Ask(lane(2, 0, 1, 32)));
    course.failed(fault(Class::RateLimit), now);
    assert_eq!(
        course.next(now, |_| Admission::From(now + SECOND)),
        Step::Over(Over::Out(Some(now + SECOND))),
        "the other key of the first member is left, and may be asked later"
    );
}

#[test]
fn a_member_that_cannot_take_the_request_costs_no_hop() {
    let now = Instant::now();
    let mut course = Course::new(
        three(),
        Bounds {
            hops: 1,
            ..bounds(now, false)
        },
    );
    assert!(matches!(
        course.next(now, |_| Admission::Yes),
        Step::Ask(Lane { member: 0, .. })
    ));
    course.unfit();
    assert!(matches!(
        course.next(now, |_| Admission::Yes),
        Step::Ask(Lane { member: 1, .. })
    ));
    assert_eq!(course.hops(), 1);
    course.failed(fault(Class::Transient), now);
    assert_eq!(course.next(now, |_| Admission::Yes), Step::Over(Over::Hops));
}

#[test]
fn a_lane_that_is_held_after_all_is_no_hop_and_comes_again_in_time() {
    let now = Instant::now();
    let later = now + Duration::from_secs(5);
    for patient in [false, true] {
        let bounds = Bounds {
            hops: 1,
            deadline: now + Duration::from_secs(60),
            patient,
        };
        let mut course = Course::new([lane(0, 0, 0, 1), lane(1, 1, 0, 1)], bounds);
        for member in [0, 1] {
            assert!(matches!(
                course.next(now, |_| Admission::Yes),
                Step::Ask(lane) if lane.member == member
            ));
            course.held(later);
        }
        assert_eq!(course.hops(), 0);
        let expected = if patient {
            Step::Wait(later)
        } else {
            Step::Over(Over::Out(Some(later)))
        };
        assert_eq!(course.next(now, |_| Admission::Yes), expected);
        assert!(matches!(
            course.next(later, |_| Admission::Yes),
            Step::Ask(_)
        ));
    }
}

#[test]
fn after_a_refusal_of_the_ledger_only_what_is_affordable_is_left() {
    let now = Instant::now();
    let one = Bounds {
        hops: 1,
        ..bounds(now, true)
    };
    let mut course = Course::new(three(), one);
    let mut asked = Vec::new();
    while let Step::Ask(lane) = course.next(now, |_| Admission::Yes) {
        asked.push((lane.member, lane.key));
        assert_eq!(course.hops(), 1, "what was refused was no hop");
        course.unaffordable(|lane| lane.member == 2);
    }
    // Its own lanes go as well: another key costs the same.
    assert_eq!(asked, [(0, 0), (2, 0)]);
    assert_eq!(
        course.next(now, |_| Admission::Yes),
        Step::Over(Over::Tried)
    );
}

#[test]
fn who_waits_gets_a_lane_again_and_who_does_not_is_told_when() {
    let now = Instant::now();
    let until = now + 20 * SECOND;
    let one = || [lane(0, 0, 0, 8)];
    let mut patient = Course::new(one(), bounds(now, true));
    assert_eq!(
        patient.next(now, |_| Admission::From(until)),
        Step::Wait(until)
    );
    assert_eq!(
        patient.next(now, |_| Admission::Busy),
        Step::Wait(now + 180 * SECOND)
    );
    assert!(matches!(
        patient.next(until, |_| Admission::Yes),
        Step::Ask(_)
    ));
    patient.failed(fault(Class::Transient), until);
    assert_eq!(
        patient.next(until, |_| Admission::Yes),
        Step::Wait(until + SECOND)
    );
    let again = until + SECOND;
    assert!(matches!(
        patient.next(again, |_| Admission::Yes),
        Step::Ask(_)
    ));
    patient.failed(
        Fault {
            class: Class::RateLimit,
            wait: Some(40 * SECOND),
        },
        again,
    );
    assert_eq!(
        patient.next(again, |_| Admission::Yes),
        Step::Wait(again + 40 * SECOND)
    );

    let mut hasty = Course::new(one(), bounds(now, false));
    assert_eq!(
        hasty.next(now, |_| Admission::From(until)),
        Step::Over(Over::Out(Some(until)))
    );
    let late = now + 180 * SECOND;
    assert_eq!(hasty.next(late, |_| Admission::Yes), Step::Over(Over::Late));
    let beyond = bounds(now, true).deadline + SECOND;
    let mut patient = Course::new(one(), bounds(now, true));
    assert_eq!(
        patient.next(now, |_| Admission::From(beyond)),
        Step::Over(Over::Out(Some(beyond))),
        "it would be too late"
    );
}

fn class() -> impl Strategy<Value = Class> {
    prop::sample::select(vec![
        Class::Credential,
        Class::Quota,
        Class::RateLimit,
        Class::ModelGone,
        Class::ContextLength,
        Class::CallerFault,
        Class::Transient,
    ])
}

fn admission() -> impl Strategy<Value = (u8, u32)> {
    (0u8..8, 1u32..100)
}

proptest! {
    #[test]
    fn every_call_ends_in_time_and_asks_nothing_that_is_ruled_out(
        lanes in prop::collection::vec((0usize..4, 0usize..3, 0usize..3, 1u64..4), 0..12),
        hops in 1u32..6,
        deadline in 1u32..200,
        patient in any::<bool>(),
        ends in prop::collection::vec((class(), 0u32..20, prop::option::of(0u32..90), admission()), 1..40),
    ) {
        let begin = Instant::now();
        let deadline = begin + deadline * SECOND;
        let lanes: Vec<Lane> = lanes
            .into_iter()
            .map(|(member, provider, key, context)| lane(member, provider, key, context))
            .collect();
        let mut course = Course::new(lanes, Bounds { hops, deadline, patient });
        let mut now = begin;
        let mut asked = 0;
        let mut dead_keys = HashSet::new();
        let mut dead_models = HashSet::new();
        let mut ended = false;
        // Each turn a hop is taken, the clock moves, or it is over.
        for turn in 0..200 {
            let (class, took, wait, (kind, until)) = ends[turn % ends.len()];
            let step = course.next(now, |_| match kind {
                0 => Admission::From(now + until * SECOND),
                1 => Admission::Never,
                _ => Admission::Yes,
            });
            match step {
                Step::Over(_) => {
                    ended = true;
                    break;
                }
                Step::Wait(at) => {
                    prop_assert!(patient);
                    prop_assert!(at > now && at <= deadline);
                    now = at;
                }
                Step::Ask(lane) => {
                    asked += 1;
                    prop_assert!(now < deadline, "a hop after the deadline");
                    prop_assert!(asked <= hops);
                    prop_assert!(!dead_keys.contains(&(lane.provider, lane.key)));
                    prop_assert!(!dead_models.contains(&lane.model));
                    now += took * SECOND;
                    course.failed(Fault { class, wait: wait.map(|wait| wait * SECOND) }, now);
                    match class {
                        Class::Credential | Class::Quota => {
                            dead_keys.insert((lane.provider, lane.key));
                        }
                        Class::ModelGone => {
                            dead_models.insert(lane.model);
                        }
                        Class::CallerFault => {
                            prop_assert_eq!(course.next(now, |_| Admission::Yes), Step::Over(Over::Tried));
                            ended = true;
                        }
                        _ => {}
                    }
                    if ended {
                        break;
                    }
                }
            }
        }
        prop_assert!(ended, "a call that never ends");
    }
}
