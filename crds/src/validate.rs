//! The checks that a schema cannot express, as one pure function per kind. Called by the controllers on every object, so that one that
//! was stored around the API's validation becomes a condition and never a crash.
//!
//! A check repeats the bounds of the schema where acting on a value beyond them would do harm (money, time, sizes, paths), and adds what
//! the schema cannot say. Every problem names the field and says what to write instead.

mod agent;
mod bounds;
mod budget;
mod class;
mod cloud;
mod command;
mod git;
mod goal;
mod handover;
pub mod image;
mod mcp;
mod pool;
mod provider;
mod requests;
mod sandbox;
mod task;

pub use agent::{MAX_OUTPUT_SCHEMA_BYTES, agent};
pub use budget::budget;
pub use class::class;
pub use git::reachable;
pub use goal::{MAX_SPEC_BYTES, allow, approvers};
pub use pool::pool;
pub use provider::provider;
pub use sandbox::{agent_within_class, threshold, within_class};
pub use task::{MAX_TIMEOUT, TRACKING_ANNOTATIONS, TRACKING_LABELS, task};

/// What kind of rule a [`Problem`] breaks; it decides the reason of the condition and the class of the failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The object asks for something that cannot be done.
    Spec,
    /// The parameters do not fit what the agent takes.
    Params,
    /// A command of an Agent cannot be used.
    Command,
    /// The SandboxClass does not allow it.
    Class,
}

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Problem {
    /// Path of the field, like `spec.files[2].path`.
    pub field: String,
    /// What is wrong and what to write instead.
    pub message: String,
    /// What kind of rule it breaks.
    pub rule: Rule,
}

impl Problem {
    /// A problem with the spec itself.
    pub fn spec(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
            rule: Rule::Spec,
        }
    }

    /// The same, as a rule of another kind.
    #[must_use]
    pub fn of(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }
}

/// Problems as one text: at most five, and how many more there are.
#[must_use]
pub fn summary(problems: &[Problem]) -> String {
    listed(problems, 5)
}

/// Problems as one text: at most so many, and how many more there are.
#[must_use]
pub fn listed(problems: &[Problem], most: usize) -> String {
    let mut text = problems
        .iter()
        .take(most)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ");
    if problems.len() > most {
        text.push_str(&format!("; and {} more", problems.len() - most));
    }
    text
}

#[cfg(test)]
mod tests;
