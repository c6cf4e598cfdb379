use super::step::{Step, step};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use std::time::Duration;

const TTL: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_secs(2);

fn lease(holder: Option<&str>, seconds: Option<i32>) -> Lease {
    Lease {
        spec: Some(LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: seconds,
            ..LeaseSpec::default()
        }),
        ..Lease::default()
    }
}

fn next(lease: &Lease, unchanged: u64) -> Step {
    step(Some(lease), "a", TTL, LOOK, Duration::from_secs(unchanged))
}

#[test]
fn an_absent_lease_is_created_and_a_free_one_taken() {
    assert_eq!(step(None, "a", TTL, LOOK, Duration::ZERO), Step::Create);
    assert_eq!(next(&lease(Some(""), Some(15)), 0), Step::Take);
    assert_eq!(next(&lease(None, None), 0), Step::Take);
    assert_eq!(next(&Lease::default(), 0), Step::Take);
}

#[test]
fn our_own_lease_is_renewed_however_old() {
    assert_eq!(next(&lease(Some("a"), Some(15)), 0), Step::Renew);
    assert_eq!(next(&lease(Some("a"), Some(15)), 99), Step::Renew);
}

#[test]
fn another_holder_is_waited_for_until_it_was_silent_for_its_time() {
    let other = lease(Some("b"), Some(15));
    assert_eq!(next(&other, 0), Step::Wait(LOOK));
    assert_eq!(next(&other, 14), Step::Wait(Duration::from_secs(1)));
    assert_eq!(next(&other, 15), Step::Take);
}

#[test]
fn failover_takes_at_most_twenty_seconds() {
    // Silent from the moment we first saw it: its time, and one look.
    let other = lease(Some("b"), Some(15));
    let mut waited = Duration::ZERO;
    while let Step::Wait(more) = step(Some(&other), "a", TTL, LOOK, waited) {
        waited += more;
    }
    assert!(waited + LOOK <= Duration::from_secs(20), "{waited:?}");
}

#[test]
fn an_absurd_duration_does_not_block_for_hours() {
    let other = lease(Some("b"), Some(i32::MAX));
    assert_eq!(next(&other, 60), Step::Take);
    let other = lease(Some("b"), Some(-1));
    assert_eq!(next(&other, 15), Step::Take);
}
