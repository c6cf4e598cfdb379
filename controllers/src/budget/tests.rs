use super::plan::{COALESCE, Observed, plan};
use jiff::Timestamp;
use oarmaster_crds::{Budget, BudgetStatus, conditions};
use oarmaster_protocol::admin::{BudgetCounter, BudgetReport};
use serde_json::{Value, json};
use std::time::Duration;

fn budget(spec: Value) -> Budget {
    serde_json::from_value(json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Budget",
        "metadata": { "name": "team", "generation": 2 }, "spec": spec,
    }))
    .unwrap()
}

fn daily() -> Budget {
    budget(json!({ "window": "Day", "usd": "10" }))
}

fn counter(key: &str, usd: u64, exceeded: bool) -> BudgetCounter {
    BudgetCounter {
        key: key.to_owned(),
        spent_pico: usd * 1_000_000_000_000,
        reserved_pico: 500_000_000_000,
        exceeded,
    }
}

fn report(counters: Vec<BudgetCounter>) -> BudgetReport {
    BudgetReport {
        name: "team".to_owned(),
        generation: 2,
        problem: None,
        limit_pico: 10_000_000_000_000,
        resets_ms: Some(86_400_000),
        exceeded: counters.iter().filter(|counter| counter.exceeded).count() as u64,
        counter_count: counters.len() as u64,
        counters,
    }
}

fn seen(report: Option<BudgetReport>) -> Observed {
    Observed {
        now: Timestamp::UNIX_EPOCH,
        report,
        written: None,
    }
}

fn after(budget: &Budget, seen: &Observed) -> BudgetStatus {
    let mut next = budget.clone();
    next.status = plan(budget, seen).ready.status;
    assert!(plan(&next, seen).ready.status.is_none(), "settled");
    next.status.unwrap()
}

fn condition(status: &BudgetStatus, kind: &str) -> (String, String, String) {
    let held = conditions::find(&status.conditions, kind).unwrap();
    (
        held.status.clone(),
        held.reason.clone(),
        held.message.clone(),
    )
}

fn said(status: &str, reason: &str, message: &str) -> (String, String, String) {
    (status.to_owned(), reason.to_owned(), message.to_owned())
}

#[test]
fn what_was_counted_stands_in_the_status() {
    let counters = vec![
        counter("namespace/a", 10, true),
        counter("namespace/b", 3, false),
    ];
    let status = after(&daily(), &seen(Some(report(counters))));
    assert_eq!(
        condition(&status, conditions::READY),
        said("True", "Ready", "")
    );
    let exceeded = said("True", "WindowExceeded", "namespace/a");
    assert_eq!(condition(&status, conditions::EXCEEDED), exceeded);
    assert_eq!(
        (status.spent.as_deref(), status.counter_count),
        (Some("10"), Some(2))
    );
    assert_eq!(
        status.resets.unwrap().0,
        Timestamp::from_second(86_400).unwrap()
    );
    let second = &status.counters[1];
    assert_eq!(
        (
            second.usd.as_str(),
            second.reserved.as_str(),
            second.exceeded
        ),
        ("3", "0.5", false)
    );
}

#[test]
fn nothing_counted_is_zero_and_within_the_budget() {
    let status = after(&daily(), &seen(Some(report(Vec::new()))));
    assert_eq!(status.spent.as_deref(), Some("0"));
    assert_eq!(
        condition(&status, conditions::EXCEEDED),
        said("False", "WithinBudget", "")
    );
}

#[test]
fn many_full_counters_are_named_up_to_five() {
    let counters: Vec<_> = (0..7)
        .map(|n| counter(&format!("requester/{n}"), 10, true))
        .collect();
    let status = after(&daily(), &seen(Some(report(counters))));
    let text = "requester/0, requester/1, requester/2, requester/3, requester/4 and 2 more";
    assert_eq!(condition(&status, conditions::EXCEEDED).2, text);
    let hidden = BudgetReport {
        exceeded: 60,
        ..report(vec![counter("requester/0", 1, false)])
    };
    let status = after(&daily(), &seen(Some(hidden)));
    assert_eq!(condition(&status, conditions::EXCEEDED).2, "60 counters");
}

#[test]
fn what_the_gateway_says_of_an_older_version_does_not_count() {
    let older = BudgetReport {
        generation: 1,
        ..report(vec![counter("cluster", 10, true)])
    };
    for report in [None, Some(older)] {
        let status = after(&daily(), &seen(report));
        assert_eq!(condition(&status, conditions::READY).1, "GatewayPending");
        assert!(conditions::find(&status.conditions, conditions::EXCEEDED).is_none());
        assert!(status.counters.is_empty());
    }
}

#[test]
fn a_broken_spec_names_its_field() {
    let broken = budget(json!({ "window": "Day", "usd": "10", "warnAt": [0] }));
    let status = after(&broken, &seen(Some(report(Vec::new()))));
    let (_, reason, message) = condition(&status, conditions::READY);
    assert_eq!(reason, "InvalidSpec");
    assert!(message.contains("spec.warnAt[0]"), "{message}");
}

#[test]
fn what_was_spent_is_written_every_five_seconds_at_most_and_a_full_counter_at_once() {
    let mut budget = daily();
    let first = seen(Some(report(vec![counter("cluster", 3, false)])));
    budget.status = plan(&budget, &first).ready.status;
    let later = |counters, after: Duration| Observed {
        now: Timestamp::UNIX_EPOCH + after,
        report: Some(report(counters)),
        written: Some(Timestamp::UNIX_EPOCH),
    };
    let second = Duration::from_secs(1);
    let soon = plan(&budget, &later(vec![counter("cluster", 4, false)], second));
    assert_eq!(
        (soon.ready.status, soon.next),
        (None, Some(COALESCE - second))
    );
    let due = plan(
        &budget,
        &later(vec![counter("cluster", 4, false)], COALESCE),
    );
    assert_eq!(due.ready.status.unwrap().spent.as_deref(), Some("4"));
    let same = plan(&budget, &later(vec![counter("cluster", 3, false)], second));
    assert_eq!((same.ready.status, same.next), (None, None));
    let full = plan(&budget, &later(vec![counter("cluster", 10, true)], second));
    assert!(full.ready.status.is_some());
}
