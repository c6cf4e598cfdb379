//! What a run runs: a Workflow, the spec of one, or a goal. What is in such a spec is checked where expressions are known.

use super::{Problem, bounds};
use crate::commands::json_bytes;
use crate::kinds::approval::Approvers;
use crate::kinds::goal::{Allow, GoalSpec, PlanApproval, RunWorkflow};
use std::time::Duration;

/// Most bytes of JSON of the spec of a Workflow in a Task (256 KiB).
pub const MAX_SPEC_BYTES: usize = 256 << 10;
/// How long people may be waited for.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(30 * 86_400));

/// What is wrong with it.
pub fn workflow(problems: &mut Vec<Problem>, field: &str, workflow: &RunWorkflow) {
    let RunWorkflow { name, spec, allow } = workflow;
    match (name, spec) {
        (Some(name), None) => bounds::text(problems, &format!("{field}.name"), name, 253),
        (None, Some(spec)) if !spec.is_object() => {
            problems.push(Problem::spec(format!("{field}.spec"), "write an object"));
        }
        (None, Some(spec)) if json_bytes(spec) > MAX_SPEC_BYTES => {
            let text = "is more than 256 KiB of JSON: give long texts as files of an artifact, or do a part of it in a Workflow of its own";
            problems.push(Problem::spec(format!("{field}.spec"), text));
        }
        (None, Some(_)) => {}
        _ => problems.push(Problem::spec(
            field,
            "set exactly one of name (a Workflow of this namespace) or spec (the spec of one)",
        )),
    }
    if let Some(allow) = allow {
        if spec.is_none() {
            let text = "goes with spec: it says what that may name";
            problems.push(Problem::spec(format!("{field}.allow"), text));
        }
        self::allow(problems, &format!("{field}.allow"), allow);
    }
}

/// What is wrong with what a graph may name.
pub fn allow(problems: &mut Vec<Problem>, field: &str, allow: &Allow) {
    let Allow {
        agents,
        images,
        steps,
    } = allow;
    if agents.is_empty() && images.is_empty() {
        problems.push(Problem::spec(
            field,
            "set agents (those that may do steps), images (of run steps), or both",
        ));
    }
    for (name, list, most, longest) in [("agents", agents, 32, 253), ("images", images, 16, 512)] {
        let field = format!("{field}.{name}");
        bounds::list(problems, &field, list, most);
        for text in list.iter().take(most) {
            bounds::text(problems, &field, text, longest);
        }
    }
    bounds::number(problems, &format!("{field}.steps"), *steps, 1, 200);
}

/// What is wrong with a goal.
pub fn goal(problems: &mut Vec<Problem>, field: &str, goal: &GoalSpec) {
    let GoalSpec {
        text,
        planner,
        allow,
        approve_plan,
    } = goal;
    bounds::text(problems, &format!("{field}.text"), text, 16_384);
    bounds::text(
        problems,
        &format!("{field}.planner.name"),
        &planner.name,
        253,
    );
    self::allow(problems, &format!("{field}.allow"), allow);
    let Some(PlanApproval {
        approvers,
        timeout,
        on_timeout: _,
    }) = approve_plan
    else {
        return;
    };
    let field = format!("{field}.approvePlan");
    let (least, most) = PATIENCE;
    bounds::duration(problems, &format!("{field}.timeout"), timeout, least, most);
    problems.extend(self::approvers(&format!("{field}.approvers"), approvers));
}

/// What is wrong with who may decide.
#[must_use]
pub fn approvers(field: &str, approvers: &Approvers) -> Option<Problem> {
    let all = || approvers.groups.iter().chain(&approvers.users);
    let bad = all().next().is_none()
        || approvers.groups.len() > 16
        || approvers.users.len() > 16
        || all().any(|name| name.is_empty() || name.len() > 256)
        || !(1..=10).contains(&approvers.count);
    bad.then(|| {
        Problem::spec(
            field,
            "name groups, users, or both: those who may decide; at most 16 of each, and a count of 1 to 10",
        )
    })
}
