//! Checks of a SandboxClass.

use super::{Problem, bounds, image};
use crate::kinds::class::{SandboxClassSpec, UsersFrom};
use crate::names;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is wrong with a SandboxClass.
#[must_use]
pub fn class(spec: &SandboxClassSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    bounds::list(&mut problems, "spec.images.allow", &spec.images.allow, 64);
    for (index, pattern) in spec.images.allow.iter().enumerate() {
        if let Some(message) = image::pattern_problem(pattern) {
            problems.push(Problem::spec(
                format!("spec.images.allow[{index}]"),
                message,
            ));
        }
    }
    for (name, user) in [("pilot", spec.users.pilot), ("exec", spec.users.exec)] {
        bounds::number(
            &mut problems,
            &format!("spec.users.{name}"),
            user,
            1,
            i64::from(i32::MAX),
        );
    }
    if spec.users.pilot == spec.users.exec {
        problems.push(Problem::spec(
            "spec.users",
            "pilot and exec must be different user ids",
        ));
    }
    // The kubelet maps that many for each pod.
    let mapped = |user: i64| user <= 65_535;
    let users = &spec.users;
    let known = users.from == UsersFrom::Fixed && mapped(users.pilot) && mapped(users.exec);
    if !spec.host_users && !known {
        problems.push(Problem::spec(
            "spec.users",
            "a pod with a user namespace has the user ids up to 65535: with hostUsers false write users of that range, from: Fixed",
        ));
    }
    let requested = bounds::cpu(&mut problems, "spec.requests.cpu", &spec.requests.cpu);
    let maximum = bounds::cpu(&mut problems, "spec.maximum.cpu", &spec.maximum.cpu);
    if let (Some(requested), Some(maximum)) = (requested, maximum)
        && requested > maximum
    {
        problems.push(Problem::spec(
            "spec.requests.cpu",
            format!(
                "{} is above spec.maximum.cpu {}; a request cannot exceed the limit",
                spec.requests.cpu.0, spec.maximum.cpu.0
            ),
        ));
    }
    bounds::size(
        &mut problems,
        "spec.maximum.memory",
        &spec.maximum.memory,
        super::sandbox::LEAST_MEMORY,
    );
    bounds::size(
        &mut problems,
        "spec.maximum.disk",
        &spec.maximum.disk,
        super::sandbox::LEAST_DISK,
    );
    bounds::duration(
        &mut problems,
        "spec.maximum.callTimeout",
        &spec.maximum.call_timeout,
        Duration::from_secs(1),
        super::task::MAX_TIMEOUT,
    );
    super::sandbox::egress(&mut problems, "spec.egress", &spec.egress);
    bounds::duration(
        &mut problems,
        "spec.startupTimeout",
        &spec.startup_timeout,
        Duration::from_secs(1),
        Duration::from_secs(86_400),
    );
    bounds::budget(
        &mut problems,
        "spec.defaultTaskBudget",
        &spec.default_task_budget,
    );
    bounds::list(&mut problems, "spec.tolerations", &spec.tolerations, 16);
    pod_labels(&mut problems, &spec.pod_labels);
    problems
}

fn pod_labels(problems: &mut Vec<Problem>, labels: &BTreeMap<String, String>) {
    if labels.len() > 16 {
        problems.push(Problem::spec("spec.podLabels", "write at most 16 labels"));
    }
    for name in labels.keys() {
        if names::says_whose_a_pod_is(name) {
            let shown: String = name.chars().take(80).collect();
            problems.push(Problem::spec(
                "spec.podLabels",
                format!("'{shown}' says whose a pod is; leave it out"),
            ));
        }
    }
}
