//! The status of a Budget: pure.

use crate::kit::ready;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use oarmaster_crds::conditions::{self, reason};
use oarmaster_crds::kinds::budget::CounterStatus;
use oarmaster_crds::validate::{self, summary};
use oarmaster_crds::{Budget, BudgetStatus, Usd};
use oarmaster_protocol::admin::BudgetReport;
use std::time::Duration;

/// Least time between two status writes that only show what was spent.
pub const COALESCE: Duration = Duration::from_secs(5);
/// Counters that a message names.
const NAMED: usize = 5;

/// Everything the planner may look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The clock.
    pub now: Timestamp,
    /// What the gateway last said of it.
    pub report: Option<BudgetReport>,
    /// When this process last wrote its status.
    pub written: Option<Timestamp>,
}

/// Everything one pass will do.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Status and events.
    pub ready: ready::Plan<BudgetStatus>,
    /// When to look again, if nothing happens before.
    pub next: Option<Duration>,
}

/// Plans one pass.
#[must_use]
pub fn plan(budget: &Budget, seen: &Observed) -> Plan {
    let generation = budget.metadata.generation;
    let mut status = budget.status.clone().unwrap_or_default();
    status.observed_generation = generation;
    let mut set = |kind: &str, value: Option<bool>, reason: &str, message: &str| {
        let list = &mut status.conditions;
        conditions::set(list, kind, value, reason, message, generation, seen.now);
    };
    let problems = validate::budget(&budget.spec);
    // What the gateway says of an older version of the object is not about this one.
    let report = seen.report.as_ref();
    let report = report.filter(|report| Some(report.generation) == generation);
    if !problems.is_empty() {
        let text = summary(&problems);
        set(conditions::READY, Some(false), reason::INVALID_SPEC, &text);
    } else if report.is_some() {
        set(conditions::READY, Some(true), reason::READY, "");
    } else {
        let text = "the gateway has not told about this version yet";
        set(conditions::READY, None, reason::GATEWAY_PENDING, text);
    }
    if let Some(report) = report.filter(|_| problems.is_empty()) {
        let text = full(report);
        let exceeded = !text.is_empty();
        let reason = if exceeded {
            reason::WINDOW_EXCEEDED
        } else {
            reason::WITHIN_BUDGET
        };
        set(conditions::EXCEEDED, Some(exceeded), reason, &text);
        count(&mut status, report);
    }
    let held = budget.status.as_ref();
    if held.is_some_and(|held| only_counts(held, &status))
        && let Some(wait) = too_soon(seen)
    {
        let ready = ready::Plan {
            status: None,
            notes: Vec::new(),
        };
        let next = Some(wait);
        return Plan { ready, next };
    }
    Plan {
        ready: ready::plan(held, status, |status| &status.conditions),
        next: None,
    }
}

/// Takes the counters over.
fn count(status: &mut BudgetStatus, report: &BudgetReport) {
    let usd = |pico: u64| Usd::from_pico(pico).0;
    status.spent = Some(usd(report
        .counters
        .first()
        .map_or(0, |largest| largest.spent_pico)));
    status.resets = report
        .resets_ms
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .map(Time);
    status.counter_count = i64::try_from(report.counter_count).ok();
    status.counters = report
        .counters
        .iter()
        .map(|counter| CounterStatus {
            key: counter.key.clone(),
            usd: usd(counter.spent_pico),
            reserved: usd(counter.reserved_pico),
            exceeded: counter.exceeded,
        })
        .collect();
}

/// Which counters have no room; empty where all have.
fn full(report: &BudgetReport) -> String {
    let counters = report.counters.iter().filter(|counter| counter.exceeded);
    let named: Vec<&str> = counters
        .map(|counter| counter.key.as_str())
        .take(NAMED)
        .collect();
    let more = report.exceeded.saturating_sub(named.len() as u64);
    match (named.join(", "), more) {
        (named, 0) => named,
        (named, more) if named.is_empty() => format!("{more} counters"),
        (named, more) => format!("{named} and {more} more"),
    }
}

/// Whether a status differs from another only in what was counted.
fn only_counts(held: &BudgetStatus, status: &BudgetStatus) -> bool {
    let without = |status: &BudgetStatus| BudgetStatus {
        spent: None,
        counters: Vec::new(),
        counter_count: None,
        ..status.clone()
    };
    held != status && without(held) == without(status)
}

/// How long to wait before the next write.
fn too_soon(seen: &Observed) -> Option<Duration> {
    let age = Duration::try_from(seen.now.duration_since(seen.written?)).unwrap_or_default();
    COALESCE.checked_sub(age).filter(|wait| !wait.is_zero())
}
