//! Checks of a ModelPool.

use super::{Problem, bounds};
use crate::kinds::pool::ModelPoolSpec;
use std::collections::BTreeSet;

/// What is wrong with a ModelPool.
#[must_use]
pub fn pool(spec: &ModelPoolSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    if spec.members.is_empty() {
        problems.push(Problem::spec("spec.members", "list at least one member"));
    }
    bounds::list(&mut problems, "spec.members", &spec.members, 32);
    let mut seen = BTreeSet::new();
    for (index, member) in spec.members.iter().enumerate() {
        let field = format!("spec.members[{index}]");
        bounds::text(
            &mut problems,
            &format!("{field}.provider.name"),
            &member.provider.name,
            253,
        );
        bounds::text(&mut problems, &format!("{field}.model"), &member.model, 256);
        bounds::number(
            &mut problems,
            &format!("{field}.priority"),
            member.priority,
            0,
            1000,
        );
        if !seen.insert((&member.provider.name, &member.model)) {
            problems.push(Problem::spec(
                field,
                format!(
                    "model '{}' of provider '{}' is there twice; a member is tried once per call",
                    member.model, member.provider.name
                ),
            ));
        }
    }
    problems
}
