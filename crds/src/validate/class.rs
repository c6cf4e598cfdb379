//! Checks of a SandboxClass.

use super::{Problem, bounds, image};
use crate::kinds::class::SandboxClassSpec;
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
    problems
}
