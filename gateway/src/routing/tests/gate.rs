use crate::catalog::Id;
use crate::routing::course::Admission;
use crate::routing::gate::{Entry, Gates, Held, Limits, MAX_CALLERS, Whose};
use crate::routing::limits::{self, Bound};
use std::time::{Duration, Instant};

const NONE: limits::Limits = limits::Limits {
    requests: None,
    tokens: None,
    concurrency: None,
};

fn pool() -> Id {
    ("team".to_owned(), "fast".to_owned())
}

fn enter<'a>(
    gates: &'a Gates,
    limits: &Limits,
    caller: &str,
    now: Instant,
) -> Result<Entry<'a>, Held> {
    gates.enter((&pool(), limits), caller, 10, now)
}

#[test]
fn a_caller_at_its_own_limit_holds_up_nobody_else() {
    let (gates, now) = (Gates::default(), Instant::now());
    let each = limits::Limits {
        concurrency: Some(1),
        ..NONE
    };
    let limits = Limits { all: NONE, each };
    let first = enter(&gates, &limits, "task:a", now).unwrap();
    assert_eq!(
        enter(&gates, &limits, "task:a", now).unwrap_err(),
        Held {
            whose: Whose::Caller,
            bound: Bound::Concurrency,
            admission: Admission::Busy
        }
    );
    let _other = enter(&gates, &limits, "task:b", now).unwrap();
    drop(first);
    assert!(enter(&gates, &limits, "task:a", now).is_ok());
}

#[test]
fn a_pool_at_its_limit_takes_nobody_and_says_from_when_on() {
    let (gates, now) = (Gates::default(), Instant::now());
    let all = limits::Limits {
        requests: Some(2),
        ..NONE
    };
    let limits = Limits { all, each: NONE };
    for caller in ["task:a", "user:b"] {
        enter(&gates, &limits, caller, now).unwrap().ended(Some(1));
    }
    assert_eq!(
        enter(&gates, &limits, "user:c", now).unwrap_err(),
        Held {
            whose: Whose::Pool,
            bound: Bound::Requests,
            admission: Admission::From(now + Duration::from_secs(30))
        }
    );
}

#[test]
fn a_call_takes_what_its_hops_had_and_nothing_where_none_was_asked() {
    let gates = Gates::default();
    let each = limits::Limits {
        requests: Some(2),
        tokens: Some(100),
        concurrency: Some(1),
    };
    let limits = Limits { all: each, each };
    let now = Instant::now();
    // Refused by a budget, say.
    for _ in 0..5 {
        drop(enter(&gates, &limits, "task:a", now).unwrap());
    }
    let entry = enter(&gates, &limits, "task:a", now).unwrap();
    entry.ended(Some(40));
    entry.ended(Some(80));
    drop(entry);
    let held = enter(&gates, &limits, "task:a", now).unwrap_err();
    assert_eq!((held.whose, held.bound), (Whose::Pool, Bound::Tokens));
}

#[test]
fn memory_does_not_grow_with_the_number_of_callers() {
    let (gates, now) = (Gates::default(), Instant::now());
    let each = limits::Limits {
        requests: Some(1),
        ..NONE
    };
    let limits = Limits { all: NONE, each };
    for caller in 0..MAX_CALLERS {
        let caller = format!("user:{caller}");
        enter(&gates, &limits, &caller, now).unwrap().ended(Some(1));
    }
    // Two more have one measure together.
    enter(&gates, &limits, "user:x", now)
        .unwrap()
        .ended(Some(1));
    assert!(enter(&gates, &limits, "user:y", now).is_err());
    // A known one still has its own, and an hour later the others are forgotten.
    assert!(enter(&gates, &limits, "user:1", now).is_err());
    let later = now + Duration::from_secs(3600);
    for caller in ["user:x", "user:y", "user:z"] {
        assert!(enter(&gates, &limits, caller, later).is_ok(), "{caller}");
    }
}
