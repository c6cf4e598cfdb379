//! Checks of a Budget.

use super::{Problem, bounds};
use crate::common::{Operator, Selector};
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
        selector(&mut problems, "spec.namespaces", namespaces);
    }
    problems
}

fn selector(problems: &mut Vec<Problem>, field: &str, selector: &Selector) {
    if selector.match_labels.len() > 16 {
        let field = format!("{field}.matchLabels");
        problems.push(Problem::spec(field, "write at most 16 labels"));
    }
    let expressions = format!("{field}.matchExpressions");
    bounds::list(problems, &expressions, &selector.match_expressions, 16);
    for (index, each) in selector.match_expressions.iter().enumerate() {
        let field = format!("{expressions}[{index}]");
        bounds::text(problems, &format!("{field}.key"), &each.key, 317);
        let valued = matches!(each.operator, Operator::In | Operator::NotIn);
        if valued == each.values.is_empty() {
            problems.push(Problem::spec(
                field,
                "In and NotIn need values, Exists and DoesNotExist have none",
            ));
        }
    }
}
