//! A disk that fails, and a full one.

use super::*;
use crate::log::Files;
use crate::log::tests::{Fault, Faulty};
use oarmaster_protocol::task::ErrorCode;
use rustix::mount::{MountFlags, UnmountFlags};
use std::ffi::CString;
use std::io::Write as _;

#[tokio::test]
async fn after_a_failed_write_nothing_is_spent_and_reading_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (store, fault) = faulty(dir.path()).await;
    let claimed = begin(&store, usd(100)).await;
    let call = new_call(&store, &claimed, claimed.next, 0).await;
    let ticket = call.reserve(hop(10)).await.unwrap();
    let before = store.report(UID, 1).await.unwrap();
    assert_eq!(*store.unwritable().borrow(), None);

    fault.broken.store(true, Ordering::SeqCst);
    let one = append(store.next(UID).await.unwrap(), vec![note("lost")]);
    let refused = store
        .append(UID, 1, &claimed.session, one.clone())
        .await
        .unwrap_err();
    assert!(matches!(refused, Refusal::Unwritable(_)), "{refused}");
    assert_eq!(refused.code(), ErrorCode::Internal);
    fault.broken.store(false, Ordering::SeqCst);

    // What was not durable is not shown, and nothing new is accepted though the disk is well again.
    assert_eq!(store.report(UID, 1).await.unwrap(), before);
    let records = store.records(UID, 0, 100).await.unwrap();
    assert_eq!(records.len() as u64, before.next);
    assert!(store.assignment(UID, 1).await.is_ok());
    assert!(store.unwritable().borrow().is_some());
    for refused in [
        store
            .append(UID, 1, &claimed.session, one)
            .await
            .unwrap_err(),
        ticket.settle(answer(None)).await.unwrap_err(),
        call.reserve(hop(1)).await.unwrap_err(),
        store.fence(UID, 1, "x").await.unwrap_err(),
        state_err(&store, &claimed).await,
    ] {
        assert!(matches!(refused, Refusal::Unwritable(_)), "{refused}");
    }
    drop(call);
    drop(store);

    let store = Store::open(options(dir.path())).await.unwrap();
    let usage = store.usage(UID).await.unwrap();
    assert_eq!((usage.reserved_pico, usage.sum.cost_pico), (0, 10));
    store.fence(UID, 1, "x").await.unwrap();
}

async fn faulty(dir: &Path) -> (Store, Fault) {
    let fault = Fault::default();
    let faults = fault.clone();
    let store = Store::open_with(options(dir), move |dir| {
        Box::new(Faulty {
            files: Files::new(dir),
            fault: faults,
        })
    });
    (store.await.unwrap(), fault)
}

#[tokio::test]
async fn a_caller_that_goes_away_while_reserving_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (store, fault) = faulty(dir.path()).await;
    let claimed = begin(&store, usd(100)).await;
    let call = new_call(&store, &claimed, claimed.next, 0).await;
    {
        let _held = fault.gate.lock().unwrap();
        let mut reserving = std::pin::pin!(call.reserve(hop(60)));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(reserving.as_mut().poll(&mut context).is_pending());
        assert_eq!(store.lock().state.task(UID).unwrap().reserved.pico, 60);
    }
    let usage = store.usage(UID).await.unwrap();
    assert_eq!((usage.reserved_pico, usage.sum.cost_pico), (0, 0));
    drop(call);
    // Nothing left, so the number is free.
    drop(new_call(&store, &claimed, claimed.next, 0).await);
}

#[tokio::test]
async fn a_caller_of_an_sdk_that_goes_away_while_reserving_pays_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, fault) = faulty(dir.path()).await;
    let capped = scope("team", "namespace/team", 100);
    let call = store.sdk_call(sdk_caller());
    {
        let _held = fault.gate.lock().unwrap();
        let hop = hop_in(60, std::slice::from_ref(&capped));
        let mut reserving = std::pin::pin!(call.reserve(hop)); // the first one waits for the disk
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(reserving.as_mut().poll(&mut context).is_pending());
        assert_eq!(counted(&store, &capped), (0, 60));
    }
    assert_eq!(counted(&store, &capped), (0, 0));
}

#[tokio::test]
async fn nobody_is_told_what_is_not_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (store, fault) = faulty(dir.path()).await;
    let claimed = begin(&store, usd(100)).await;
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let one = append(claimed.next, vec![note("x")]);
    let mut appending = Box::pin(store.append(UID, 1, &claimed.session, one));
    {
        let _held = fault.gate.lock().unwrap();
        assert!(appending.as_mut().poll(&mut context).is_pending());
        let mut report = std::pin::pin!(store.report(UID, 1));
        assert!(report.as_mut().poll(&mut context).is_pending());
        let mut usage = std::pin::pin!(store.usage(UID));
        assert!(usage.as_mut().poll(&mut context).is_pending());
        let mut again = std::pin::pin!(claim_again(&store, &claimed));
        assert!(again.as_mut().poll(&mut context).is_pending());
    }
    appending.await.unwrap();
    assert_eq!(store.report(UID, 1).await.unwrap().next, claimed.next + 1);
}

async fn claim_again(store: &Store, _: &Claim) -> Result<Claim, Refusal> {
    let digest = store.lock().state.attempt(UID, 1)?.1.digest.clone();
    claim(store, 1, &digest, "n1").await
}

async fn state_err(store: &Store, claimed: &Claim) -> Refusal {
    store
        .begin_call(UID, 1, &claimed.session, claimed.next, 1, "sha256:d")
        .await
        .unwrap_err()
}

/// A small file system of its own, which goes away with this.
struct Tmpfs(TempDir);

impl Tmpfs {
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = CString::new(format!("size={size}")).unwrap();
        // Not by a program: until it is one, a new process holds every lock that the tests beside this one hold.
        let (what, flags) = ("tmpfs", MountFlags::empty());
        let mounted = rustix::mount::mount(what, dir.path(), what, flags, options.as_c_str());
        mounted.is_ok().then_some(Self(dir))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), UnmountFlags::empty());
    }
}

#[tokio::test]
async fn a_full_disk_stops_spending_and_nothing_durable_is_lost() {
    let Some(disk) = Tmpfs::mount("256k") else {
        assert!(
            std::env::var_os("CI").is_none(),
            "mounting a tmpfs needs root"
        );
        // Not `eprintln`, which the test harness swallows.
        let mut stderr = std::io::stderr();
        writeln!(
            stderr,
            "SKIPPED a_full_disk_...: mounting a tmpfs needs root"
        )
        .unwrap();
        return;
    };
    let sized = || Options {
        segment_bytes: 64 << 10,
        ..options(disk.0.path())
    };
    let store = Store::open(sized()).await.unwrap();
    let claimed = begin(&store, usd(100)).await;
    let mut next = claimed.next;
    let refused = loop {
        let one = append(next, vec![note(&"x".repeat(5000))]);
        match store.append(UID, 1, &claimed.session, one).await {
            Ok(done) => next = done.next,
            Err(refused) => break refused,
        }
    };
    assert!(refused.to_string().contains("No space left"), "{refused}");
    let records = store.records(UID, 0, 1000).await.unwrap();
    assert_eq!(records.len() as u64, next);
    drop(store);

    let store = Store::open(sized()).await.unwrap();
    assert_eq!(store.records(UID, 0, 1000).await.unwrap(), records);
}
