//! Checks of single values that several kinds share.

use super::Problem;
use crate::access::{AllowedFrom, AllowedNamespaces};
use crate::common::{Allowance, NamespacedRef, Operator, RateLimits, Selector};
use crate::duration::GepDuration;
use crate::money::Usd;
use crate::names::is_dns_label;
use crate::quantity::{Cpu, Size};
use std::time::Duration;

/// The duration, if it parses and is within the bounds (both included).
pub fn duration(
    problems: &mut Vec<Problem>,
    field: &str,
    value: &GepDuration,
    least: Duration,
    most: Duration,
) -> Option<Duration> {
    match value.get() {
        Ok(found) if (least..=most).contains(&found) => Some(found),
        Ok(_) => {
            problems.push(Problem::spec(
                field,
                format!(
                    "{value} is out of bounds: write {} to {}",
                    GepDuration::from_duration(least),
                    GepDuration::from_duration(most)
                ),
            ));
            None
        }
        Err(error) => {
            problems.push(Problem::spec(field, error.to_string()));
            None
        }
    }
}

/// The size in bytes, if it parses and is at least `least`.
pub fn size(problems: &mut Vec<Problem>, field: &str, value: &Size, least: &str) -> Option<u64> {
    let least_bytes = Size::new(least).bytes().unwrap_or_default();
    match value.bytes() {
        Ok(bytes) if bytes >= least_bytes => Some(bytes),
        Ok(_) => {
            problems.push(Problem::spec(
                field,
                format!("{} is too small: write at least {least}", value.0),
            ));
            None
        }
        Err(error) => {
            problems.push(Problem::spec(field, error.to_string()));
            None
        }
    }
}

/// The CPU share in millicores, if it parses.
pub fn cpu(problems: &mut Vec<Problem>, field: &str, value: &Cpu) -> Option<u64> {
    value
        .millis()
        .map_err(|error| problems.push(Problem::spec(field, error.to_string())))
        .ok()
}

/// An amount of money.
pub fn money(problems: &mut Vec<Problem>, field: &str, value: &Usd) {
    if let Err(error) = value.pico() {
        problems.push(Problem::spec(field, error.to_string()));
    }
}

/// A budget: at least one of its two limits, both usable.
pub fn budget(problems: &mut Vec<Problem>, field: &str, value: &Allowance) {
    if value.usd.is_none() && value.tokens.is_none() {
        problems.push(Problem::spec(field, "set usd, tokens, or both"));
    }
    if let Some(usd) = &value.usd {
        money(problems, &format!("{field}.usd"), usd);
    }
    if value.tokens.is_some_and(|tokens| tokens < 1) {
        problems.push(Problem::spec(
            format!("{field}.tokens"),
            "write a number from 1 on",
        ));
    }
    for (name, value, most) in [("tasks", value.tasks, 1_000_000), ("depth", value.depth, 3)] {
        if let Some(value) = value {
            number(problems, &format!("{field}.{name}"), value, 1, most);
        }
    }
}

/// A number within bounds (both included).
pub fn number(problems: &mut Vec<Problem>, field: &str, value: i64, least: i64, most: i64) {
    if !(least..=most).contains(&value) {
        problems.push(Problem::spec(
            field,
            format!("{value} is out of bounds: write {least} to {most}"),
        ));
    }
}

/// Numbers from 1 to their bound, each with its name, of which at least one is to be there; `none` says what to set.
pub fn some_of(
    problems: &mut Vec<Problem>,
    field: &str,
    none: &str,
    numbers: &[(&str, Option<i64>, i64)],
) {
    if numbers.iter().all(|(_, value, _)| value.is_none()) {
        problems.push(Problem::spec(field, none));
    }
    for (name, value, most) in numbers {
        if let Some(value) = value {
            number(problems, &format!("{field}.{name}"), *value, 1, *most);
        }
    }
}

/// Limits of a provider or a pool.
pub fn rates(problems: &mut Vec<Problem>, field: &str, limits: &RateLimits) {
    let requests = limits.requests_per_minute;
    let tokens = limits.tokens_per_minute;
    some_of(
        problems,
        field,
        "set requestsPerMinute, tokensPerMinute or concurrency",
        &[
            ("requestsPerMinute", requests, 1_000_000_000),
            ("tokensPerMinute", tokens, 1_000_000_000_000),
            ("concurrency", limits.concurrency, 1_000_000),
        ],
    );
}

/// A list with at most `most` entries.
pub fn list<T>(problems: &mut Vec<Problem>, field: &str, list: &[T], most: usize) {
    if list.len() > most {
        problems.push(Problem::spec(
            field,
            format!("has {} entries: write at most {most}", list.len()),
        ));
    }
}

/// A text that must not be empty and has at most `most` characters.
pub fn text(problems: &mut Vec<Problem>, field: &str, text: &str, most: usize) {
    if text.trim().is_empty() {
        problems.push(Problem::spec(field, "must not be empty"));
    } else if text.len() > most && text.chars().count() > most {
        problems.push(Problem::spec(
            field,
            format!("is too long: write at most {most} characters"),
        ));
    }
}

/// A selector of labels.
pub fn selector(problems: &mut Vec<Problem>, field: &str, selector: &Selector) {
    if selector.match_labels.len() > 16 {
        let field = format!("{field}.matchLabels");
        problems.push(Problem::spec(field, "write at most 16 labels"));
    }
    let expressions = format!("{field}.matchExpressions");
    list(problems, &expressions, &selector.match_expressions, 16);
    for (index, each) in selector.match_expressions.iter().enumerate() {
        let field = format!("{expressions}[{index}]");
        text(problems, &format!("{field}.key"), &each.key, 317);
        let valued = matches!(each.operator, Operator::In | Operator::NotIn);
        if valued == each.values.is_empty() {
            problems.push(Problem::spec(
                field,
                "In and NotIn need values, Exists and DoesNotExist have none",
            ));
        }
    }
}

/// Who may refer to an object.
pub fn allowed(problems: &mut Vec<Problem>, allowed: &AllowedNamespaces) {
    let field = "spec.allowedNamespaces";
    if (allowed.from == AllowedFrom::Selector) != allowed.selector.is_some() {
        problems.push(Problem::spec(
            field,
            "set selector with from: Selector, and with no other",
        ));
    }
    if let Some(chosen) = &allowed.selector {
        selector(problems, &format!("{field}.selector"), chosen);
    }
}

/// A reference to an object of this namespace or another one.
pub fn reference(problems: &mut Vec<Problem>, field: &str, named: &NamespacedRef) {
    text(problems, &format!("{field}.name"), &named.name, 253);
    if let Some(namespace) = &named.namespace
        && !is_dns_label(namespace)
    {
        problems.push(Problem::spec(
            format!("{field}.namespace"),
            "is no namespace: write 1 to 63 lower-case letters, digits and hyphens",
        ));
    }
}

/// argv: 1 to 64 words, the first not empty, none with a NUL byte (no program can be given one).
pub fn argv(problems: &mut Vec<Problem>, field: &str, words: &[String]) {
    list(problems, field, words, 64);
    if words.first().is_none_or(String::is_empty) {
        problems.push(Problem::spec(
            field,
            "write the program and its arguments as a list, like [python, -m, unittest]",
        ));
    }
    for (index, word) in words.iter().enumerate() {
        if word.contains('\0') {
            problems.push(Problem::spec(
                format!("{field}[{index}]"),
                "has a NUL character, which no program can be given",
            ));
        }
    }
}

/// What is wrong with a path, or a glob, that must stay inside the workspace; `None` if nothing is.
#[must_use]
pub fn path_problem(path: &str) -> Option<&'static str> {
    if path.is_empty() || path.chars().count() > 512 {
        Some("write 1 to 512 characters")
    } else if path.contains('\0') || path.contains('\\') {
        Some("has a NUL or backslash; separate directories with /")
    } else if path.starts_with('/')
        || path
            .split('/')
            .any(|part| part.is_empty() || part == "." || part == "..")
    {
        Some(
            "must be relative and stay inside the workspace, like src/main.py, without empty, . or .. parts",
        )
    } else {
        None
    }
}
