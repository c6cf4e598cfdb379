//! Checks of a ModelPool.

use super::{Problem, bounds};
use crate::duration::GepDuration;
use crate::kinds::pool::ModelPoolSpec;
use std::collections::BTreeSet;
use std::time::Duration;

/// What is wrong with a ModelPool of this namespace.
#[must_use]
pub fn pool(spec: &ModelPoolSpec, namespace: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    bounds::allowed(&mut problems, &spec.allowed_namespaces);
    if spec.members.is_empty() {
        problems.push(Problem::spec("spec.members", "list at least one member"));
    }
    bounds::list(&mut problems, "spec.members", &spec.members, 32);
    let mut seen = BTreeSet::new();
    for (index, member) in spec.members.iter().enumerate() {
        let field = format!("spec.members[{index}]");
        bounds::reference(
            &mut problems,
            &format!("{field}.provider"),
            &member.provider,
        );
        bounds::text(&mut problems, &format!("{field}.model"), &member.model, 256);
        bounds::number(
            &mut problems,
            &format!("{field}.priority"),
            member.priority,
            0,
            1000,
        );
        bounds::number(
            &mut problems,
            &format!("{field}.weight"),
            member.weight,
            0,
            1000,
        );
        let provider = &member.provider;
        if !seen.insert((provider.namespace(namespace), &provider.name, &member.model)) {
            problems.push(Problem::spec(
                field,
                format!(
                    "model '{}' of provider '{}' is there twice; a member is tried once per call",
                    member.model,
                    provider.path(namespace)
                ),
            ));
        }
    }
    bounds::list(&mut problems, "spec.aliases", &spec.aliases, 32);
    for (index, alias) in spec.aliases.iter().enumerate() {
        let field = format!("spec.aliases[{index}]");
        bounds::text(&mut problems, &field, alias, 128);
        if alias.contains('/') {
            problems.push(Problem::spec(
                field,
                "has a slash, which parts a namespace from a pool: leave out what stands before it",
            ));
        }
    }
    for (field, limits) in [
        ("spec.limits", &spec.limits),
        ("spec.callerLimits", &spec.caller_limits),
    ] {
        if let Some(limits) = limits {
            bounds::rates(&mut problems, field, limits);
        }
    }
    limits(&mut problems, spec);
    problems
}

fn limits(problems: &mut Vec<Problem>, spec: &ModelPoolSpec) {
    let (failover, breaker) = (&spec.failover, &spec.breaker);
    for (field, value, most) in [
        ("failover.maxHops", failover.max_hops, 16),
        ("breaker.errorPercent", breaker.error_percent, 100),
        ("breaker.minRequests", breaker.min_requests, 1000),
    ] {
        bounds::number(problems, &format!("spec.{field}"), value, 1, most);
    }
    let mut duration = |field: &str, value: &GepDuration, most: u64| {
        let (field, least) = (format!("spec.{field}"), Duration::from_secs(1));
        bounds::duration(problems, &field, value, least, Duration::from_secs(most))
    };
    duration("failover.deadline", &failover.deadline, 3600);
    duration("breaker.window", &breaker.window, 600);
    duration("cache.ttl", &spec.cache.ttl, 7 * 24 * 3600);
    let cooldown = duration("breaker.cooldown", &breaker.cooldown, 3600);
    let longest = duration("breaker.maxCooldown", &breaker.max_cooldown, 3600);
    if cooldown > longest && longest.is_some() {
        problems.push(Problem::spec(
            "spec.breaker.maxCooldown",
            format!(
                "{} is shorter than the cooldown of {}",
                breaker.max_cooldown, breaker.cooldown
            ),
        ));
    }
}
