//! Checks of the sandbox and of the check, which Agent and Task share.

use super::{Problem, Rule, bounds, image::Image};
use crate::domain::DomainPattern;
use crate::duration::GepDuration;
use crate::kinds::agent::AgentSpec;
use crate::kinds::class::SandboxClassSpec;
use crate::kinds::sandbox::{AcceptSpec, Egress, SandboxSpec};
use crate::names::is_dns_subdomain;
use std::time::Duration;

/// Least memory of a sandbox: the supervisor and one small process.
pub const LEAST_MEMORY: &str = "32Mi";
/// Least disk of a sandbox.
pub const LEAST_DISK: &str = "1Mi";

/// Most domains of a class, and of a sandbox.
const MAX_DOMAINS: usize = 64;

/// What is wrong with a sandbox by itself.
pub fn sandbox(problems: &mut Vec<Problem>, field: &str, spec: &SandboxSpec) {
    if let Err(error) = Image::parse(&spec.image) {
        problems.push(Problem::spec(format!("{field}.image"), error.to_string()));
    }
    bounds::text(
        problems,
        &format!("{field}.class.name"),
        &spec.class.name,
        253,
    );
    bounds::cpu(problems, &format!("{field}.cpu"), &spec.cpu);
    bounds::size(
        problems,
        &format!("{field}.memory"),
        &spec.memory,
        LEAST_MEMORY,
    );
    bounds::size(problems, &format!("{field}.disk"), &spec.disk, LEAST_DISK);
    bounds::duration(
        problems,
        &format!("{field}.callTimeout"),
        &spec.call_timeout,
        Duration::from_secs(1),
        super::task::MAX_TIMEOUT,
    );
    egress(problems, &format!("{field}.egress"), &spec.egress);
}

/// What is wrong with the domains of a class or of a sandbox.
pub fn egress(problems: &mut Vec<Problem>, field: &str, spec: &Egress) {
    let field = format!("{field}.domains");
    bounds::list(problems, &field, &spec.domains, MAX_DOMAINS);
    for (index, text) in spec.domains.iter().enumerate().take(MAX_DOMAINS) {
        if let Err(error) = DomainPattern::parse(text) {
            let message = format!("it {error}");
            problems.push(Problem::spec(format!("{field}[{index}]"), message));
        }
    }
}

/// The number that a score is compared with, and whether that number itself accepts.
#[must_use]
pub fn threshold(when: &str) -> Option<(&str, bool)> {
    let rest = when.strip_prefix("judge.score >")?;
    let (number, inclusive) = match rest.strip_prefix('=') {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let number = number.strip_prefix(' ')?;
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let small = whole == "0" || (whole == "1" && part.bytes().all(|byte| byte == b'0'));
    (digits && small).then_some((number, inclusive))
}

/// What is wrong with a check or a judge.
pub fn accept(problems: &mut Vec<Problem>, field: &str, spec: &AcceptSpec) {
    if let Some(check) = &spec.check {
        bounds::argv(problems, &format!("{field}.check.command"), &check.command);
        bounds::number(
            problems,
            &format!("{field}.check.exitCode"),
            check.exit_code,
            0,
            255,
        );
    }
    if spec.check.is_none() && spec.judge.is_none() {
        problems.push(Problem::spec(field, "set check, judge, or both"));
    }
    if let Some(judge) = &spec.judge
        && !is_dns_subdomain(&judge.name)
    {
        let text = "write the name of an Agent, like critic";
        problems.push(Problem::spec(format!("{field}.judge.name"), text));
    }
    if spec.judge.is_some() != spec.when.as_deref().and_then(threshold).is_some() {
        problems.push(Problem::spec(
            format!("{field}.when"),
            "write the score that accepts, like judge.score >= 0.8, beside judge",
        ));
    }
    bounds::number(problems, &format!("{field}.rounds"), spec.rounds, 1, 10);
}

/// What a SandboxClass does not allow of a sandbox. `field` is the path of the sandbox in the object that asks for it.
#[must_use]
pub fn within_class(
    field: &str,
    spec: &SandboxSpec,
    class_name: &str,
    class: &SandboxClassSpec,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |name: &str, message: String| {
        problems.push(Problem::spec(format!("{field}.{name}"), message).of(Rule::Class));
    };
    match Image::parse(&spec.image) {
        Ok(image) => {
            if !image.matches_any(&class.images.allow) {
                refuse(
                    "image",
                    format!(
                        "{} is not allowed by SandboxClass {class_name}, which allows {}",
                        image.name(),
                        class.images.allow.join(", ")
                    ),
                );
            }
            if class.images.require_digest && image.digest.is_none() {
                refuse(
                    "image",
                    format!(
                        "{image} is not allowed by SandboxClass {class_name}: name it by digest, like {}@sha256:...",
                        image.name()
                    ),
                );
            }
        }
        Err(error) => refuse("image", error.to_string()),
    }
    // A value that does not parse is a problem of the object itself, found by its own check.
    let above = |asked: Option<u64>, most: Option<u64>| matches!((asked, most), (Some(asked), Some(most)) if asked > most);
    let most = &class.maximum;
    let beyond = |asked: &str, most: &str| {
        format!("{asked} is above the maximum of SandboxClass {class_name}: write at most {most}")
    };
    if above(spec.cpu.millis().ok(), most.cpu.millis().ok()) {
        refuse("cpu", beyond(&spec.cpu.0, &most.cpu.0));
    }
    if above(spec.memory.bytes().ok(), most.memory.bytes().ok()) {
        refuse("memory", beyond(&spec.memory.0, &most.memory.0));
    }
    if above(spec.disk.bytes().ok(), most.disk.bytes().ok()) {
        refuse("disk", beyond(&spec.disk.0, &most.disk.0));
    }
    let millis = |duration: &GepDuration| {
        duration
            .get()
            .ok()
            .and_then(|found| u64::try_from(found.as_millis()).ok())
    };
    if above(millis(&spec.call_timeout), millis(&most.call_timeout)) {
        refuse(
            "callTimeout",
            beyond(&spec.call_timeout.0, &most.call_timeout.0),
        );
    }
    problems.extend(egress_within_class(field, &spec.egress, class_name, class));
    problems
}

/// What a SandboxClass does not allow of an Agent's sandbox: all of it where code runs in it, and else the domains, where the Agent reads pages of them.
/// `field` is as in [`within_class`].
#[must_use]
pub fn agent_within_class(
    field: &str,
    agent: &AgentSpec,
    runs_code: bool,
    class_name: &str,
    class: &SandboxClassSpec,
) -> Vec<Problem> {
    if runs_code {
        within_class(field, &agent.sandbox, class_name, class)
    } else if agent.reads_pages() {
        egress_within_class(field, &agent.sandbox.egress, class_name, class)
    } else {
        Vec::new()
    }
}

fn egress_within_class(
    field: &str,
    spec: &Egress,
    class_name: &str,
    class: &SandboxClassSpec,
) -> Vec<Problem> {
    // What is no domain is a problem of the object that has it, found by its own check.
    let patterns = |egress: &Egress| -> Vec<DomainPattern> {
        let read = egress.domains.iter().map(|text| DomainPattern::parse(text));
        read.filter_map(Result::ok).collect()
    };
    let allowed = patterns(&class.egress);
    let allows = match allowed.as_slice() {
        [] => "no domain".to_owned(),
        _ => class.egress.domains.join(", "),
    };
    let asked = patterns(spec).into_iter();
    asked
        .filter(|asked| !allowed.iter().any(|pattern| pattern.covers(asked)))
        .map(|asked| {
            let message = format!(
                "{asked} is not allowed by SandboxClass {class_name}, which allows {allows}"
            );
            Problem::spec(format!("{field}.egress.domains"), message).of(Rule::Class)
        })
        .collect()
}
