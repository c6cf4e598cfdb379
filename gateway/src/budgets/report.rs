//! What the operator is told of budgets, and what callers are told of time.

use super::{Budgets, Refused};
use oarmaster_crds::kinds::budget::MAX_COUNTERS;
use oarmaster_protocol::admin::{BudgetCounter, BudgetReport};
use oarmaster_store::CounterView;
use std::collections::BTreeMap;
use std::time::Duration;

/// One entry per Budget, in order of name, with its largest counters of this window.
#[must_use]
pub fn report(
    budgets: &Budgets,
    counters: &[CounterView],
    refused: &Refused,
    now_ms: i64,
) -> Vec<BudgetReport> {
    let mut by_budget: BTreeMap<&str, Vec<&CounterView>> = BTreeMap::new();
    for view in counters {
        by_budget.entry(&view.id.budget).or_default().push(view);
    }
    let rules = budgets.rules();
    rules
        .map(|(name, rule)| {
            let held = by_budget.remove(name.as_str()).unwrap_or_default();
            let mut held: Vec<BudgetCounter> = held
                .into_iter()
                .filter(|view| view.id.window == rule.window)
                .map(|view| BudgetCounter {
                    key: view.id.key.clone(),
                    spent_pico: view.counter.spent,
                    reserved_pico: view.counter.reserved,
                    exceeded: refused.exceeded(&view.id, view.counter.spent, rule.limit_pico),
                })
                .collect();
            held.sort_by(|a, b| {
                let largest = |counter: &BudgetCounter| {
                    std::cmp::Reverse((counter.spent_pico, counter.reserved_pico))
                };
                largest(a).cmp(&largest(b)).then_with(|| a.key.cmp(&b.key))
            });
            BudgetReport {
                name: name.clone(),
                generation: rule.generation,
                problem: rule.problem.clone(),
                limit_pico: rule.limit_pico,
                resets_ms: rule.window.at(now_ms).end_ms,
                exceeded: held.iter().filter(|counter| counter.exceeded).count() as u64,
                counter_count: held.len() as u64,
                counters: held.into_iter().take(MAX_COUNTERS).collect(),
            }
        })
        .collect()
}

/// How long a caller is to wait for a reset.
#[must_use]
pub fn soonest(resets_ms: Option<i64>, now_ms: i64) -> Option<Duration> {
    let wait = resets_ms?.saturating_sub(now_ms);
    // Rounded up: whoever comes back then is not too early.
    let seconds = u64::try_from(wait).ok()?.div_ceil(1000);
    Some(Duration::from_secs(seconds.max(1)))
}
