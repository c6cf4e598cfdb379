//! How each step stands.

use super::make::name_of;
use super::{CANCELLED, Child, Found, Seen};
use crate::graph::Graph;
use oarmaster_crds::kinds::task::{ActiveStep, Ending, FailedStep, Phase, StepsStatus};
use oarmaster_protocol::text::shorten;
use std::collections::BTreeMap;

/// Characters of the message of a failed step that are written down.
const MESSAGE: usize = 256;
/// Failed steps whose message is written down.
const TOLD: usize = 16;

/// How a step stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    /// Not begun.
    Idle,
    /// Under way.
    Active(ActiveStep),
    /// Succeeded, as the nth of the run.
    Succeeded(usize),
    /// Its `if` was false.
    Skipped,
    /// Not begun, and never will be.
    Omitted,
    /// Failed, as the nth of the run.
    Failed(usize, FailedStep),
}

/// How all steps stand.
pub(super) struct Standing {
    states: Vec<State>,
    /// How many have succeeded or failed.
    ended: usize,
    pub(super) ending: Option<Ending>,
    /// Whether that was written down before this pass.
    pub(super) certain: bool,
    /// What the scheduler keeps as it is.
    kept: StepsStatus,
}

impl Standing {
    pub(super) fn of(graph: &Graph, held: &StepsStatus, seen: &Seen<'_>) -> Self {
        let mut states = vec![State::Idle; graph.steps.len()];
        let index: BTreeMap<&str, usize> = graph
            .steps
            .iter()
            .enumerate()
            .map(|(at, step)| (step.spec.name.as_str(), at))
            .collect();
        let mut set = |name: &str, state: State| {
            if let Some(held) = index.get(name).and_then(|at| states.get_mut(*at)) {
                *held = state;
            }
        };
        for active in &held.active {
            set(&active.name, State::Active(active.clone()));
        }
        for name in &held.skipped {
            set(name, State::Skipped);
        }
        for name in &held.omitted {
            set(name, State::Omitted);
        }
        let mut ended = 0;
        for name in &held.succeeded {
            set(name, State::Succeeded(ended));
            ended += 1;
        }
        for failed in &held.failed {
            set(&failed.name, State::Failed(ended, failed.clone()));
            ended += 1;
        }
        // What was made, and not written down before the process died, is under way.
        for (state, step) in states.iter_mut().zip(&graph.steps) {
            let (kind, object) = name_of(seen, &step.spec, 1);
            let found = seen.found.get(&object).filter(|found| found.ours);
            if let (State::Idle, Some(found)) = (&*state, found) {
                *state = State::Active(ActiveStep {
                    name: step.spec.name.clone(),
                    kind,
                    object,
                    uid: Some(found.uid.clone()),
                    phase: Phase::Pending,
                    round: 1,
                });
            }
        }
        Self {
            states,
            ended,
            certain: held.ending.is_some(),
            ending: held.ending.clone(),
            kept: StepsStatus {
                revision: held.revision.clone(),
                running_since: held.running_since.clone(),
                ..StepsStatus::default()
            },
        }
    }

    pub(super) fn state(&self, at: usize) -> &State {
        self.states.get(at).unwrap_or(&State::Idle)
    }

    pub(super) fn set(&mut self, at: usize, state: State) {
        if let Some(held) = self.states.get_mut(at) {
            *held = state;
        }
    }

    /// The steps that are under way.
    pub(super) fn active(&self) -> Vec<usize> {
        let states = self.states.iter().enumerate();
        states
            .filter(|(_, state)| matches!(state, State::Active(_)))
            .map(|(at, _)| at)
            .collect()
    }

    pub(super) fn has_ended(&self, at: usize) -> bool {
        !matches!(self.state(at), State::Idle | State::Active(_))
    }

    /// What is not begun never will be.
    pub(super) fn omit(&mut self, steps: std::ops::Range<usize>) {
        for at in steps {
            if matches!(self.state(at), State::Idle) {
                self.set(at, State::Omitted);
            }
        }
    }

    pub(super) fn fail(&mut self, at: usize, class: &str, message: &str) {
        let object = match self.state(at) {
            State::Active(active) => Some(active.object.clone()),
            _ => None,
        };
        let failed = FailedStep {
            name: String::new(), // filled in where it is written
            object,
            class: class.to_owned(),
            message: shorten(message, MESSAGE),
        };
        self.set(at, State::Failed(self.ended, failed));
        self.ended += 1;
    }

    /// Takes over how the Task or the Approval of a step stands.
    pub(super) fn seen(&mut self, at: usize, found: &Found) {
        match &found.now {
            Child::Live(phase) => {
                if let Some(State::Active(active)) = self.states.get_mut(at) {
                    active.uid = Some(found.uid.clone());
                    active.phase = *phase;
                }
            }
            Child::Succeeded(_) => {
                self.set(at, State::Succeeded(self.ended));
                self.ended += 1;
            }
            Child::Failed(failure, _) => self.fail(at, &failure.class, &failure.message),
            Child::Cancelled => self.fail(at, CANCELLED, "its Task was cancelled"),
        }
    }

    /// The steps that failed, the first one first.
    pub(super) fn failures(&self) -> impl Iterator<Item = usize> {
        let mut failed: Vec<(usize, usize)> = self
            .states
            .iter()
            .enumerate()
            .filter_map(|(at, state)| match state {
                State::Failed(nth, _) => Some((*nth, at)),
                _ => None,
            })
            .collect();
        failed.sort_unstable();
        failed.into_iter().map(|(_, at)| at)
    }

    /// What is said of a step that failed.
    pub(super) fn told(&self, graph: &Graph, at: usize) -> String {
        let name = graph.steps.get(at).map_or("", |step| &step.spec.name);
        match self.state(at) {
            State::Failed(_, failed) => {
                let object = failed.object.as_ref();
                let object = object.map_or_else(String::new, |object| format!(" ({object})"));
                let message = match failed.message.as_str() {
                    "" => String::new(),
                    message => format!(": {message}"),
                };
                format!("step {name}{object}: {}{message}", failed.class)
            }
            _ => format!("step {name}"),
        }
    }

    /// As it is written down.
    pub(super) fn write(self, graph: &Graph) -> StepsStatus {
        let mut status = StepsStatus {
            total: i64::try_from(graph.steps.len()).unwrap_or(i64::MAX),
            ending: self.ending,
            ..self.kept
        };
        let mut succeeded = Vec::new();
        let mut failed = Vec::new();
        for (state, step) in self.states.into_iter().zip(&graph.steps) {
            let name = step.spec.name.clone();
            match state {
                State::Idle => {}
                State::Active(active) => status.active.push(active),
                State::Succeeded(nth) => succeeded.push((nth, name)),
                State::Skipped => status.skipped.push(name),
                State::Omitted => status.omitted.push(name),
                State::Failed(nth, step) => failed.push((nth, FailedStep { name, ..step })),
            }
        }
        let ended = succeeded.len() + failed.len() + status.skipped.len() + status.omitted.len();
        status.progress = format!("{ended}/{}", graph.steps.len());
        succeeded.sort();
        failed.sort_by_key(|(nth, _)| *nth);
        status.succeeded = succeeded.into_iter().map(|(_, name)| name).collect();
        status.failed = failed.into_iter().map(|(_, step)| step).collect();
        // The whole status has a bound, and each of these is told by its own Task.
        for failed in status.failed.iter_mut().skip(TOLD) {
            failed.message.clear();
        }
        status
    }

    /// How a step stands, as expressions have it.
    pub(super) fn phase(&self, at: usize) -> &'static str {
        match self.state(at) {
            State::Idle => "Pending",
            State::Active(active) => match active.phase {
                Phase::Running => "Running",
                Phase::Waiting => "Waiting",
                Phase::Paused => "Paused",
                _ => "Pending",
            },
            State::Succeeded(_) => "Succeeded",
            State::Skipped => "Skipped",
            State::Omitted => "Omitted",
            State::Failed(..) => "Failed",
        }
    }
}
