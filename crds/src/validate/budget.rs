//! Checks of a Budget.

use super::{Problem, bounds};
use crate::kinds::budget::BudgetSpec;
use std::collections::BTreeSet;

/// What is wrong with a Budget.
#[must_use]
pub fn budget(spec: &BudgetSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    bounds::money(&mut problems, "spec.usd", &spec.usd);
    bounds::list(&mut problems, "spec.pools", &spec.pools, 32);
    for (index, pool) in spec.pools.iter().enumerate() {
        let field = format!("spec.pools[{index}]");
        bounds::text(&mut problems, &format!("{field}.name"), &pool.name, 253);
        let namespace = format!("{field}.namespace");
        bounds::text(&mut problems, &namespace, &pool.namespace, 63);
    }
    bounds::list(&mut problems, "spec.warnAt", &spec.warn_at, 5);
    let mut seen = BTreeSet::new();
    for (index, percent) in spec.warn_at.iter().enumerate() {
        let field = format!("spec.warnAt[{index}]");
        bounds::number(&mut problems, &field, *percent, 1, 100);
        if !seen.insert(percent) {
            problems.push(Problem::spec(field, format!("{percent} is there twice")));
        }
    }
    if let Some(namespaces) = &spec.namespaces {
        bounds::selector(&mut problems, "spec.namespaces", namespaces);
    }
    problems
}
