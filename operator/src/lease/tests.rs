use super::gate::{Gate, NotLeading};
use super::run::{Lease as Held, Lost};
use super::step::{Step, step};
use super::tenure::{Tenure, boot_time};
use futures::future::ready;
use http::{Method, Request, Response};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::client::Body;
use serde_json::json;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower::{BoxError, Layer as _, Service as _};

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

#[test]
fn a_tenure_lasts_until_its_end() {
    let tenure = Tenure::default();
    assert!(!tenure.lasts(Duration::ZERO));
    tenure.set(Duration::from_secs(10));
    assert!(tenure.lasts(Duration::from_millis(9_999)));
    assert!(!tenure.lasts(Duration::from_secs(10)));
    tenure.end();
    assert!(!tenure.lasts(Duration::ZERO));
}

#[test]
fn the_clock_goes_on() {
    let before = boot_time();
    assert!(before > Duration::ZERO);
    assert!(boot_time() >= before);
}

#[tokio::test]
async fn the_gate_lets_reads_pass_and_writes_only_while_leading() {
    let tenure = Tenure::default();
    let sent = Arc::new(AtomicUsize::new(0));
    let arrived = Arc::clone(&sent);
    let server = tower::service_fn(move |_: Request<()>| {
        arrived.fetch_add(1, Ordering::SeqCst);
        ready(Ok::<_, BoxError>(()))
    });
    let mut gated = Gate(tenure.clone()).layer(server);
    for (leads, method, passes) in [
        (true, Method::GET, true),
        (true, Method::POST, true),
        (true, Method::PATCH, true),
        (false, Method::GET, true),
        (false, Method::POST, false),
        (false, Method::PUT, false),
        (false, Method::PATCH, false),
        (false, Method::DELETE, false),
    ] {
        tenure.end();
        if leads {
            tenure.set(boot_time() + Duration::from_secs(3600));
        }
        let before = sent.load(Ordering::SeqCst);
        let request = Request::builder().method(&method).body(()).unwrap();
        let answer = gated.call(request).await;
        assert_eq!(answer.is_ok(), passes, "{leads} {method}");
        if let Err(error) = answer {
            assert!(error.is::<NotLeading>(), "{error}");
        }
        let sent = sent.load(Ordering::SeqCst) - before;
        assert_eq!(sent, usize::from(passes), "{leads} {method}");
    }
}

/// A client whose calls get these answers, in this order.
fn answers(list: Vec<(u16, serde_json::Value)>) -> kube::Client {
    let list = Arc::new(Mutex::new(VecDeque::from(list)));
    let server = tower::service_fn(move |_: Request<Body>| {
        let (code, body) = list.lock().unwrap().pop_front().unwrap();
        let answer = Response::builder().status(code);
        let answer = answer.body(Body::from(body.to_string().into_bytes()));
        ready(answer.map_err(BoxError::from))
    });
    kube::Client::new(server, "default")
}

fn failure(code: u16, reason: &str) -> (u16, serde_json::Value) {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason});
    (code, body)
}

fn stored(holder: &str) -> (u16, serde_json::Value) {
    let mut lease = lease(Some(holder), Some(15));
    lease.metadata.name = Some("oarmaster-operator".to_owned());
    lease.metadata.resource_version = Some("7".to_owned());
    (200, serde_json::to_value(lease).unwrap())
}

#[tokio::test]
async fn writing_is_allowed_from_the_lease_to_its_loss() {
    let client = answers(vec![
        failure(404, "NotFound"),
        stored("a"),
        // The first renewal finds that somebody else was faster.
        failure(409, "Conflict"),
        stored("b"),
    ]);
    let tenure = Tenure::default();
    let begun = boot_time();
    let mut held = Held::acquire(client, "ns", "a", tenure.clone()).await;
    assert!(tenure.lasts(begun + Duration::from_secs(9)));
    assert!(!tenure.lasts(boot_time() + Duration::from_secs(10)));
    assert!(matches!(held.keep().await, Lost::Taken));
    assert!(!tenure.lasts(Duration::ZERO));
}

#[tokio::test]
async fn writing_ends_before_the_lease_is_given_back() {
    let client = answers(vec![stored(""), stored("a"), failure(500, "Broken")]);
    let tenure = Tenure::default();
    let held = Held::acquire(client, "ns", "a", tenure.clone()).await;
    assert!(tenure.lasts(boot_time()));
    held.release().await;
    assert!(!tenure.lasts(Duration::ZERO));
}
