use crate::routing::course::Admission;
use crate::routing::limits::{Limits, Taken};
use proptest::prelude::*;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
const NONE: Limits = Limits {
    requests: None,
    tokens: None,
    concurrency: None,
};

#[test]
fn a_minutes_worth_passes_at_once_and_the_rest_at_an_even_pace() {
    let (now, limits) = (
        Instant::now(),
        Limits {
            requests: Some(6),
            ..NONE
        },
    );
    let mut taken = Taken::default();
    for _ in 0..6 {
        assert_eq!(taken.room(0, &limits, now), Admission::Yes);
        taken.begin(0, &limits, now);
    }
    assert_eq!(
        taken.room(0, &limits, now),
        Admission::From(now + 10 * SECOND)
    );
    let later = now + 10 * SECOND;
    assert_eq!(taken.room(0, &limits, later), Admission::Yes);
    taken.begin(0, &limits, later);
    assert_eq!(
        taken.room(0, &limits, later),
        Admission::From(later + 10 * SECOND)
    );
}

#[test]
fn tokens_are_corrected_by_what_was_counted() {
    let (now, limits) = (
        Instant::now(),
        Limits {
            tokens: Some(600),
            ..NONE
        },
    );
    let mut taken = Taken::default();
    taken.begin(600, &limits, now);
    assert_eq!(
        taken.room(100, &limits, now),
        Admission::From(now + 10 * SECOND)
    );
    taken.end(600, Some(300), &limits, now);
    assert_eq!(
        taken.room(300, &limits, now),
        Admission::Yes,
        "half was not used"
    );
    taken.begin(100, &limits, now);
    taken.end(100, Some(300), &limits, now);
    assert_eq!(
        taken.room(60, &limits, now),
        Admission::From(now + 6 * SECOND),
        "more than expected"
    );
    let mut large = Taken::default();
    assert_eq!(
        large.room(6000, &limits, now),
        Admission::Yes,
        "larger than the limit, but alone"
    );
    large.begin(6000, &limits, now);
    let more_than_a_minute = Admission::From(now + SECOND / 10);
    assert_eq!(
        large.room(1, &limits, now),
        more_than_a_minute,
        "an estimate takes no more than a minute's worth"
    );
    let mut counted = large;
    counted.end(6000, Some(6000), &limits, now);
    assert_eq!(
        counted.room(1, &limits, now),
        Admission::From(now + 540 * SECOND + SECOND / 10),
        "what was counted takes all"
    );
    large.end(6000, None, &limits, now);
    assert_ne!(
        large.room(1, &limits, now),
        Admission::Yes,
        "not known: as expected"
    );
}

#[test]
fn so_many_at_once() {
    let (now, limits) = (
        Instant::now(),
        Limits {
            concurrency: Some(2),
            ..NONE
        },
    );
    let mut taken = Taken::default();
    taken.begin(0, &limits, now);
    taken.begin(0, &limits, now);
    assert_eq!(taken.room(0, &limits, now), Admission::Busy);
    taken.end(0, None, &limits, now);
    assert_eq!(taken.room(0, &limits, now), Admission::Yes);
}

#[test]
fn what_was_not_sent_takes_nothing() {
    let now = Instant::now();
    let limits = Limits {
        requests: Some(1),
        tokens: Some(10),
        concurrency: Some(1),
    };
    let mut taken = Taken::default();
    taken.begin(10, &limits, now);
    assert_ne!(taken.room(10, &limits, now), Admission::Yes);
    taken.undo(10, &limits, now);
    assert_eq!(taken.room(10, &limits, now), Admission::Yes);
}

proptest! {
    /// Within any minute no more than twice the limit begins: a full bucket, and what comes back meanwhile.
    #[test]
    fn requests_stay_within_the_limit(
        limit in 1u64..50,
        pauses in prop::collection::vec(0u32..5000, 1..300),
    ) {
        let limits = Limits { requests: Some(limit), ..NONE };
        let mut now = Instant::now();
        let mut taken = Taken::default();
        let mut begun: Vec<Instant> = Vec::new();
        for pause in pauses {
            now += Duration::from_millis(u64::from(pause));
            match taken.room(0, &limits, now) {
                Admission::Yes => {
                    taken.begin(0, &limits, now);
                    begun.push(now);
                }
                Admission::From(at) => prop_assert!(at > now && at <= now + 61 * SECOND),
                Admission::Busy | Admission::Never => prop_assert!(false, "there is no such bound"),
            }
            let recent = begun.iter().filter(|at| now - **at < 60 * SECOND).count();
            prop_assert!(u64::try_from(recent).unwrap() <= 2 * limit);
        }
    }
}
