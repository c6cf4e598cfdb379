use super::*;
use crate::entry::Entry;
use crate::error::Spent;
use crate::{Ended, IN_DOUBT, Unit};
use oarmaster_protocol::task::ErrorCode;

async fn state_of(store: &Store, claim: &Claim, call: u64) -> Result<CallState, Refusal> {
    store
        .begin_call(UID, 1, &claim.session, claim.next, call, "sha256:d")
        .await
}

#[tokio::test]
async fn a_call_is_reserved_settled_and_answered_once() {
    let (dir, store) = store().await;
    let claimed = begin(&store, usd(100)).await;
    assert_eq!(claimed.next_call, 0);
    let call = new_call(&store, &claimed, claimed.next, 0).await;
    let ticket = call.reserve(hop(60)).await.unwrap();
    let usage = store.usage(UID).await.unwrap();
    assert_eq!((usage.reserved_pico, usage.sum.cost_pico), (60, 0));
    let settled = ticket.settle(answer(Some(used(40)))).await.unwrap();
    assert_eq!(settled.usage, used(40));
    assert_eq!(settled.next, 4);
    drop(call);
    let usage = store.usage(UID).await.unwrap();
    assert_eq!((usage.reserved_pico, usage.sum), (0, used(40)));
    assert_eq!((usage.calls, usage.models), (1, vec!["m-2026".to_owned()]));
    match state_of(&store, &claimed, 0).await.unwrap() {
        CallState::Answered(record) => assert_eq!(record, settled.record),
        other => panic!("{other:?}"),
    }
    let refused = store
        .begin_call(UID, 1, &claimed.session, 4, 0, "sha256:other")
        .await
        .unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Diverged);
    let refused = store
        .begin_call(UID, 1, &claimed.session, 4, 2, "sha256:d")
        .await
        .unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidRequest);
    let refused = store
        .begin_call(UID, 1, &claimed.session, 1, 1, "sha256:d")
        .await
        .unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Conflict);

    drop(store);
    let store = Store::open(options(dir.path())).await.unwrap();
    match state_of(&store, &claimed, 0).await.unwrap() {
        CallState::Answered(record) => assert_eq!(record, settled.record),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_row_of_the_ledger_names_the_requester() {
    let (dir, store) = store().await;
    let claimed = begin(&store, usd(100)).await;
    let call = new_call(&store, &claimed, claimed.next, 0).await;
    for _ in 0..2 {
        let ticket = call.reserve(hop(60)).await.unwrap();
        ticket.settle(failed(Billing::Unbilled)).await.unwrap();
    }
    drop(call);
    drop(store);
    let store = Store::open(options(dir.path())).await.unwrap();
    let rows = store.lock().state.tasks[UID].records.clone();
    let mut reserved = 0;
    for row in rows {
        if let Entry::Open { requested_by, .. } = store.entry(row.at).await.unwrap() {
            assert_eq!(requested_by.as_deref(), Some("alice@acme"));
            reserved += 1;
        }
    }
    assert_eq!(reserved, 2);
}

#[tokio::test]
async fn failover_books_each_hop_by_what_is_known() {
    let (_dir, store) = store().await;
    let claimed = begin(&store, usd(100)).await;
    let call = new_call(&store, &claimed, claimed.next, 0).await;
    assert_eq!(call.next(), claimed.next);
    let unbilled = call.reserve(hop(50)).await.unwrap();
    assert_eq!(call.next(), claimed.next + 1);
    assert_eq!(unbilled.hop(), 0);
    let two = call.reserve(hop(1)).await.unwrap_err();
    assert!(two.to_string().contains("settled first"), "{two}");
    unbilled.settle(failed(Billing::Unbilled)).await.unwrap();
    let unknown = call.reserve(hop(50)).await.unwrap();
    let settled = unknown.settle(failed(Billing::Unknown)).await.unwrap();
    assert!(settled.usage.estimated);
    assert_eq!(settled.usage.cost_pico, 50);
    assert_eq!(
        (settled.usage.input_tokens, settled.usage.output_tokens),
        (10, 5)
    );
    let last = call.reserve(hop(50)).await.unwrap();
    assert_eq!(last.hop(), 2);
    let settled = last.settle(answer(None)).await.unwrap();
    assert!(settled.usage.estimated);
    let usage = store.usage(UID).await.unwrap();
    assert_eq!(usage.sum.cost_pico, 100);
    assert!(usage.sum.estimated);
    let refused = call.reserve(hop(0)).await.unwrap_err();
    assert!(refused.to_string().contains("answered"), "{refused}");
}

#[tokio::test]
async fn a_call_whose_hops_failed_may_be_asked_again() {
    let (_dir, store) = store().await;
    let claimed = begin(&store, usd(100)).await;
    let call = new_call(&store, &claimed, claimed.next, 0).await;
    let ticket = call.reserve(hop(50)).await.unwrap();
    ticket.settle(failed(Billing::Unbilled)).await.unwrap();
    drop(call);
    // The pilot has not seen the two records, and need not.
    let call = new_call(&store, &claimed, claimed.next, 0).await;
    let ticket = call.reserve(hop(50)).await.unwrap();
    assert_eq!(ticket.hop(), 1);
    ticket.settle(answer(Some(used(1)))).await.unwrap();
    store
        .append(
            UID,
            1,
            &claimed.session,
            append(claimed.next, vec![note("x")]),
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn a_second_caller_attaches() {
    let (_dir, store) = store().await;
    let claimed = begin(&store, usd(100)).await;
    let call = new_call(&store, &claimed, claimed.next, 0).await;
    let attach = || async {
        let state = state_of(&store, &claimed, 0).await.unwrap();
        let CallState::Running(attach) = state else {
            panic!("{state:?}")
        };
        attach
    };
    let refused = store
        .begin_call(UID, 1, &claimed.session, claimed.next, 0, "sha256:other")
        .await
        .unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Diverged);
    let first = tokio::spawn(attach().await.ended());
    let ticket = call.reserve(hop(10)).await.unwrap();
    let second = tokio::spawn(attach().await.ended());
    drop(call); // the ticket keeps it running
    let third = tokio::spawn(attach().await.ended());
    let settled = ticket.settle(answer(Some(used(1)))).await.unwrap();
    for waiting in [first, second, third] {
        let ended = waiting.await.unwrap().unwrap();
        assert_eq!(ended, Ended::Answered(settled.record.clone()));
    }
    let call = new_call(&store, &claimed, 4, 1).await;
    let CallState::Running(waiting) = store
        .begin_call(UID, 1, &claimed.session, 4, 1, "sha256:d")
        .await
        .unwrap()
    else {
        panic!("it runs")
    };
    drop(call);
    assert_eq!(waiting.ended().await.unwrap(), Ended::NotSent);
}

#[tokio::test]
async fn a_dropped_ticket_is_booked_and_its_call_in_doubt() {
    let (_dir, store) = store().await;
    let claimed = begin(&store, usd(100)).await;
    let call = new_call(&store, &claimed, claimed.next, 0).await;
    drop(call.reserve(hop(60)).await.unwrap());
    drop(call);
    let usage = store.usage(UID).await.unwrap();
    assert_eq!((usage.reserved_pico, usage.sum.cost_pico), (0, 60));
    assert!(usage.sum.estimated);
    let state = state_of(&store, &claimed, 0).await.unwrap();
    assert!(matches!(state, CallState::InDoubt));
    let digest = store.report(UID, 1).await.unwrap().assignment;
    let again = claim(&store, 1, &digest, "n1").await.unwrap();
    assert_eq!(again.next_call, 1);
}

#[tokio::test]
async fn what_was_open_when_the_process_ended_is_booked_at_start() {
    let (dir, store) = store().await;
    let claimed = begin(&store, usd(100)).await;
    let call = new_call(&store, &claimed, claimed.next, 0).await;
    let ticket = call.reserve(hop(60)).await.unwrap();
    // As after SIGKILL: the files as they are now.
    let after = copy(dir.path());
    ticket.settle(answer(Some(used(1)))).await.unwrap();
    let store = Store::open(options(after.path())).await.unwrap();
    let usage = store.usage(UID).await.unwrap();
    assert_eq!((usage.reserved_pico, usage.sum.cost_pico), (0, 60));
    let last = store.records(UID, 0, 100).await.unwrap().pop().unwrap();
    assert!(
        matches!(&last.body, Body::CallFailed { class, .. } if class == IN_DOUBT),
        "{last:?}"
    );
    let state = state_of(&store, &claimed, 0).await.unwrap();
    assert!(matches!(state, CallState::InDoubt));
    // The same session goes on, with the number it knew, under a new call number.
    let call = new_call(&store, &claimed, claimed.next, 1).await;
    let refused = call.reserve(hop(60)).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the Task's budget of $0.0000000001 does not cover the next model call: $0.00000000006 spent, $0.00 reserved by running calls, up to $0.00000000006 needed; run it again as a new Task with a larger spec.budget.usd"
    );
    let again = Store::open(options(copy(after.path()).path()))
        .await
        .unwrap();
    assert_eq!(again.usage(UID).await.unwrap(), usage, "booked once");
}

pub fn copy(dir: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(dir).unwrap() {
        let file = file.unwrap();
        let name = file.file_name();
        if name.to_string_lossy().ends_with(".log") || name == "keys" {
            std::fs::copy(file.path(), to.path().join(file.file_name())).unwrap();
        }
    }
    to
}

#[tokio::test]
async fn a_late_answer_of_a_fenced_attempt_is_booked_and_does_not_stop_the_next() {
    let (_dir, store) = store().await;
    let claimed = begin(&store, usd(100)).await;
    let call = new_call(&store, &claimed, claimed.next, 0).await;
    let ticket = call.reserve(hop(60)).await.unwrap();
    let second = OpenAttempt {
        assignment: None,
        ..open_request(UID, usd(100))
    };
    let report = store.open_attempt(UID, 2, second).await.unwrap();
    let newer = claim(&store, 2, &report.assignment, "n2").await.unwrap();
    ticket.settle(answer(Some(used(60)))).await.unwrap();
    let refused = call.reserve(hop(1)).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Fenced);
    let done = store
        .append(UID, 2, &newer.session, append(newer.next, vec![note("x")]))
        .await
        .unwrap();
    assert_eq!(done.next, newer.next + 2);
    let again = store
        .append(UID, 2, &newer.session, append(newer.next, vec![note("x")]))
        .await
        .unwrap();
    assert_eq!(again, done);
    assert_eq!(store.usage(UID).await.unwrap().sum.cost_pico, 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_reserves_at_once_the_budget_admits_exactly_k() {
    const K: u64 = 10;
    let (_dir, store) = store().await;
    let claimed = begin(&store, usd(K * 7 + 6)).await;
    let mut calls = Vec::new();
    for number in 0..64 {
        calls.push(new_call(&store, &claimed, claimed.next, number).await);
    }
    let racing: Vec<_> = calls
        .into_iter()
        .map(|call| tokio::spawn(async move { call.reserve(hop(7)).await }))
        .collect();
    let mut tickets = Vec::new();
    for race in racing {
        match race.await.unwrap() {
            Ok(ticket) => tickets.push(ticket),
            Err(refused) => assert_eq!(
                refused,
                Refusal::BudgetExceeded(Box::new(Spent {
                    of: None,
                    unit: Unit::PicoUsd,
                    limit: K * 7 + 6,
                    kept: 0,
                    spent: 0,
                    reserved: K * 7,
                    needed: 7
                }))
            ),
        }
    }
    assert_eq!(tickets.len() as u64, K);
    for ticket in tickets {
        ticket.settle(answer(Some(used(7)))).await.unwrap();
    }
    let usage = store.usage(UID).await.unwrap();
    assert_eq!((usage.reserved_pico, usage.sum.cost_pico), (0, K * 7));
}

#[tokio::test]
async fn tokens_are_a_budget_too_and_numbers_do_not_wrap() {
    let (_dir, store) = store().await;
    let budget = TaskBudget {
        pico_usd: None,
        tokens: Some(29),
        ..TaskBudget::default()
    };
    let claimed = begin(&store, budget).await;
    let call = new_call(&store, &claimed, claimed.next, 0).await;
    let ticket = call.reserve(hop(u64::MAX)).await.unwrap();
    let other = new_call(&store, &claimed, claimed.next + 1, 1).await;
    let refused = other.reserve(hop(1)).await.unwrap_err();
    assert_eq!(refused, Refusal::Overflow);
    let refused = other.reserve(hop(0)).await.unwrap_err();
    let text = "the Task's budget of 29 tokens does not cover the next model call: 0 tokens spent, 15 tokens reserved by running calls, up to 15 tokens needed; run it again as a new Task with a larger spec.budget.tokens";
    assert_eq!(refused.to_string(), text);
    ticket.settle(answer(Some(used(1)))).await.unwrap();
    other.reserve(hop(0)).await.unwrap();
}

#[tokio::test]
async fn a_usage_above_the_reservation_is_booked_in_full() {
    let (_dir, store) = store().await;
    let claimed = begin(&store, usd(100)).await;
    let call = new_call(&store, &claimed, claimed.next, 0).await;
    let ticket = call.reserve(hop(10)).await.unwrap();
    ticket.settle(answer(Some(used(150)))).await.unwrap();
    assert_eq!(store.usage(UID).await.unwrap().sum.cost_pico, 150);
    let call = new_call(&store, &claimed, 4, 1).await;
    let refused = call.reserve(hop(0)).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::BudgetExceeded);
}
