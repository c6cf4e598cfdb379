//! How the steps of a run stand, as `status.steps` of its Task says. Pure.

mod table;
#[cfg(test)]
mod tests;

pub use table::{Below, HEADER, rows, waits};

use crate::text::one_line;
use oarmaster_crds::kinds::task::{ActiveStep, FailedStep, Phase, RequestKind, StepsStatus};
use std::collections::BTreeMap;

/// Characters of a failure in a line.
const WHY: usize = 200;

/// A phase in a word.
pub fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "Pending",
        Phase::Running => "Running",
        Phase::Waiting => "Waiting",
        Phase::Paused => "Paused",
        Phase::Succeeded => "Succeeded",
        Phase::Failed => "Failed",
        Phase::Cancelled => "Cancelled",
    }
}

/// How a step stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Nothing of it has begun.
    Idle,
    Active(ActiveStep),
    Succeeded,
    Skipped,
    Omitted,
    Failed(FailedStep),
}

/// How the steps stand that are named, in the order in which a person wants to hear of them: what has ended, then what is under way.
fn states(steps: &StepsStatus) -> Vec<(&str, State)> {
    let StepsStatus {
        active,
        succeeded,
        skipped,
        omitted,
        failed,
        ..
    } = steps;
    let succeeded = succeeded.iter().map(|name| (&**name, State::Succeeded));
    let failed = failed.iter();
    let failed = failed.map(|step| (&*step.name, State::Failed(step.clone())));
    let skipped = skipped.iter().map(|name| (&**name, State::Skipped));
    let omitted = omitted.iter().map(|name| (&**name, State::Omitted));
    let active = active.iter();
    let active = active.map(|step| (&*step.name, State::Active(step.clone())));
    let ended = succeeded.chain(failed).chain(skipped).chain(omitted);
    ended.chain(active).collect()
}

/// Class and message of a failure in a line.
fn failure(step: &FailedStep) -> String {
    match step.message.as_str() {
        "" => step.class.clone(),
        message => one_line(&format!("{}: {message}", step.class), WHY),
    }
}

/// Tells what has changed since it was last shown how the steps stand.
#[derive(Debug)]
pub struct Changes {
    /// What a command needs to reach the cluster, with a leading space.
    flags: String,
    seen: BTreeMap<String, State>,
    ending: bool,
}

impl Changes {
    /// Nothing was shown yet.
    pub fn new(flags: String) -> Self {
        Self {
            flags,
            seen: BTreeMap::new(),
            ending: false,
        }
    }

    /// A line for each change.
    pub fn lines(&mut self, steps: &StepsStatus) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, now) in states(steps) {
            let before = self.seen.insert(name.to_owned(), now.clone());
            let said = self.said(before.as_ref().unwrap_or(&State::Idle), &now);
            lines.extend(said.map(|said| format!("step {name} {said}")));
        }
        if let Some(ending) = &steps.ending
            && !std::mem::replace(&mut self.ending, true)
        {
            lines.push(format!(
                "the run ends as {}: what is left are steps to stop, and `finally`",
                word(ending.phase)
            ));
        }
        lines
    }

    fn said(&self, before: &State, now: &State) -> Option<String> {
        let flags = &self.flags;
        if before == now {
            return None;
        }
        Some(match now {
            State::Idle => return None,
            State::Succeeded => "succeeded".to_owned(),
            State::Skipped => "is skipped: its `if` is false".to_owned(),
            State::Omitted => format!("is omitted: {OMITTED}"),
            State::Failed(step) => format!("failed: {}", failure(step)),
            State::Active(now) => {
                let before = match before {
                    State::Active(before) if before.object == now.object => Some(before.phase),
                    _ => None,
                };
                let object = &now.object;
                match (now.kind, before, now.phase) {
                    (RequestKind::Approval, None, _) => {
                        format!("asks people: oar approvals {object}{flags}")
                    }
                    (RequestKind::Task, None, _) => format!("begins: Task {object}"),
                    // Its UID is known now, or the like.
                    (RequestKind::Approval, Some(_), _) => return None,
                    (RequestKind::Task, Some(before), now) if before == now => return None,
                    (RequestKind::Task, _, Phase::Waiting) => {
                        format!("waits; what for: oar get {object}{flags}")
                    }
                    (RequestKind::Task, _, Phase::Paused) => "is paused".to_owned(),
                    (RequestKind::Task, _, Phase::Running) => "runs".to_owned(),
                    (RequestKind::Task, Some(_), Phase::Pending) => "is started again".to_owned(),
                    // Its run has not taken note of it yet.
                    (RequestKind::Task, _, _) => return None,
                }
            }
        })
    }
}

/// Why a step is omitted.
const OMITTED: &str = "one that it needs did not succeed, or the run stopped first";
