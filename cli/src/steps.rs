//! How the steps of a run stand, as `status.steps` of its Task says. Pure.

mod table;
#[cfg(test)]
mod tests;

pub use table::{Below, HEADER, rows, waits};

use crate::text::one_line;
use oarmaster_crds::kinds::steps::{ActiveStep, FailedStep, FanStatus, StepKind, StepsStatus};
use oarmaster_crds::kinds::task::Phase;
use std::collections::BTreeMap;

/// Characters of a failure in a line.
const WHY: usize = 200;

/// A phase in a word.
pub fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "Pending",
        Phase::Queued => "Queued",
        Phase::Running => "Running",
        Phase::Waiting => "Waiting",
        Phase::Paused => "Paused",
        Phase::Succeeded => "Succeeded",
        Phase::Failed => "Failed",
        Phase::Cancelled => "Cancelled",
        Phase::RolledBack => "RolledBack",
    }
}

/// How a step stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Nothing of it has begun.
    Idle,
    Active(ActiveStep),
    /// Some of its items have ended, or none; so many are under way.
    Items(FanStatus, usize),
    Succeeded,
    Undone,
    Skipped,
    Omitted,
    Failed(FailedStep),
}

/// How the steps stand that are named, in the order in which a person wants to hear of them: what has ended, then what is under way.
/// Items and what is undone stand by themselves, as `step[item]` and `undo of step`.
fn states(steps: &StepsStatus) -> Vec<(String, State)> {
    let StepsStatus {
        active,
        succeeded,
        skipped,
        omitted,
        failed,
        ..
    } = steps;
    let undo = steps
        .ending
        .as_ref()
        .and_then(|ending| ending.undo.as_ref());
    let undone = |name: &String| undo.is_some_and(|undo| undo.done.contains(name));
    let succeeded = succeeded.iter().map(|name| match undone(name) {
        true => (name.clone(), State::Undone),
        false => (name.clone(), State::Succeeded),
    });
    let failed = failed.iter();
    let failed = failed.map(|step| (step.name.clone(), State::Failed(step.clone())));
    let skipped = skipped.iter().map(|name| (name.clone(), State::Skipped));
    let omitted = omitted.iter().map(|name| (name.clone(), State::Omitted));
    let ended = succeeded.chain(failed).chain(skipped).chain(omitted);
    let mut all: Vec<(String, State)> = ended.collect();
    let open = |fan: &&FanStatus| all.iter().all(|(name, _)| *name != fan.name);
    let fans: Vec<_> = steps
        .fans
        .iter()
        .filter(open)
        .map(|fan| {
            let own = active
                .iter()
                .filter(|step| step.name == fan.name && !step.undo);
            (fan.name.clone(), State::Items(fan.clone(), own.count()))
        })
        .collect();
    all.extend(fans);
    let active = active.iter();
    all.extend(active.map(|step| (step.label(), State::Active(step.clone()))));
    all
}

/// How far the items of a step are.
fn items(fan: &FanStatus, active: usize) -> String {
    let active = i64::try_from(active).unwrap_or(i64::MAX);
    let ended = fan.begun.saturating_sub(active).max(0);
    let mut text = format!("{ended} of {} items have ended", fan.items);
    if let Some(first) = &fan.first_failure {
        text.push_str(&format!(", the first failure: {}", failure(first)));
    }
    text
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
            let before = self.seen.insert(name.clone(), now.clone());
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
            // Each of them is told by itself.
            State::Items(fan, _) => match before {
                State::Items(..) => return None,
                _ => format!("begins: {} items", fan.items),
            },
            State::Idle => return None,
            State::Undone => "is undone".to_owned(),
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
                    (StepKind::Approval, None, _) => {
                        format!("asks people: oar approvals {object}{flags}")
                    }
                    (StepKind::Wait, None, _) => match &now.due {
                        Some(due) => format!("waits until {}", due.0),
                        None => "waits".to_owned(),
                    },
                    (StepKind::Wait, Some(_), _) => return None,
                    (StepKind::Task, None, _) => format!("begins: Task {object}"),
                    // Its UID is known now, or the like.
                    (StepKind::Approval, Some(_), _) => return None,
                    (StepKind::Task, Some(before), now) if before == now => return None,
                    (StepKind::Task, _, Phase::Queued | Phase::Waiting) => {
                        format!("waits; what for: oar get {object}{flags}")
                    }
                    (StepKind::Task, _, Phase::Paused) => "is paused".to_owned(),
                    (StepKind::Task, _, Phase::Running) => "runs".to_owned(),
                    (StepKind::Task, Some(_), Phase::Pending) => "is started again".to_owned(),
                    // Its run has not taken note of it yet.
                    (StepKind::Task, _, _) => return None,
                }
            }
        })
    }
}

/// Why a step is omitted.
const OMITTED: &str = "one that it needs did not succeed, or the run stopped first";
