//! The scheduler of a run: from what is written down and what is known of its steps' Tasks and Approvals to what is done next. Pure.
//!
//! What has happened to a step is written once and stays: nothing is decided twice, whatever a later pass sees. A step that is under way is
//! written down together with the name of its Task, which follows from run and step; a pass that is made again makes the same one.

mod end;
mod make;
mod standing;
#[cfg(test)]
mod tests;
mod values;

pub use make::{Make, What, object, objects};

use crate::graph::Graph;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use oarmaster_crds::kinds::task::{
    DesiredState, Ending, FailureStatus, Phase, RequestKind, StepsStatus,
};
use oarmaster_protocol::FailureClass;
use serde_json::{Map, Value};
use standing::{Standing, State};
use std::collections::BTreeMap;
use std::time::Duration;

/// Most steps of a run that are under way at once. A run that is a step of another one has fewer.
pub const MAX_ACTIVE: usize = 100;
/// Most bytes of the output of a run (16 KiB), as of any Task.
pub const MAX_OUTPUT_BYTES: usize = 16 << 10;
/// Most often that an Approval is asked, each time under another name, where it is deleted.
const MAX_ROUNDS: i64 = 8;
/// The class of a step that was stopped.
pub const CANCELLED: &str = "Cancelled";

/// What is known of a run.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The clock.
    pub now: Timestamp,
    /// Name of the run's Task, for the names of what it makes.
    pub task: &'a str,
    /// UID of it.
    pub uid: &'a str,
    /// What the run should be doing.
    pub wanted: DesiredState,
    /// Its parameters, defaults filled in.
    pub params: &'a Map<String, Value>,
    /// The Tasks and Approvals that are there under the names of its steps, by name.
    pub found: &'a BTreeMap<String, Found>,
    /// For how long it has run.
    pub ran: Duration,
    /// Most steps that may be under way at once.
    pub most: usize,
    /// Steps whose object the API server does not take, with what it says.
    pub refused: &'a BTreeMap<String, String>,
    /// Whether it was paused until now: then its Tasks are, too, and go on with it. One that somebody has paused by itself stays so.
    pub was_paused: bool,
}

/// A Task or an Approval under the name of a step's.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its UID.
    pub uid: String,
    /// Whether it belongs to the run.
    pub ours: bool,
    /// Whether it is told to run.
    pub state: DesiredState,
    /// How it stands.
    pub now: Child,
}

/// How the Task or the Approval of a step stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Child {
    /// Under way.
    Live(Phase),
    /// Ended well, with this output.
    Succeeded(Value),
    /// Failed, with this output, if it has one.
    Failed(FailureStatus, Option<Value>),
    /// Was stopped.
    Cancelled,
}

/// What is done next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moves {
    /// How the steps stand after it.
    pub steps: StepsStatus,
    /// What is made. What is there already under its name is found by the next pass.
    pub make: Vec<Make>,
    /// Tasks that are told something else, by name.
    pub tell: Vec<(String, DesiredState)>,
    /// Set when nothing is left to do.
    pub over: Option<Over>,
    /// When to look again, if nothing happens before.
    pub next: Option<Duration>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Over {
    /// Well, with this output.
    Succeeded(Value),
    /// It failed.
    Failed(FailureStatus),
    /// It was stopped.
    Cancelled,
}

/// One pass.
#[must_use]
pub fn advance(graph: &Graph, held: &StepsStatus, seen: &Seen<'_>) -> Moves {
    let mut run = Run {
        graph,
        seen,
        standing: Standing::of(graph, held, seen),
        make: Vec::new(),
    };
    run.follow();
    run.main();
    let over = run.finish();
    let mut moves = Moves {
        next: run.wakes(),
        tell: run.tell(),
        make: run.make,
        steps: run.standing.write(graph),
        over,
    };
    if moves.over.is_some() {
        moves.next = None;
    }
    moves
}

/// A pass in the making.
struct Run<'a> {
    graph: &'a Graph,
    seen: &'a Seen<'a>,
    standing: Standing,
    make: Vec<Make>,
}

impl Run<'_> {
    /// Takes over what has become of the steps that are under way.
    fn follow(&mut self) {
        for at in self.standing.active() {
            let State::Active(active) = self.standing.state(at).clone() else {
                continue;
            };
            let found = self.seen.found.get(&active.object);
            let task = active.kind == RequestKind::Task;
            match found {
                Some(found) if !found.ours => {
                    let text = format!(
                        "{:?} {} exists and belongs to somebody else; delete it, or run the workflow under another name",
                        active.kind, active.object
                    );
                    self.standing
                        .fail(at, FailureClass::Conflict.as_str(), &text);
                }
                Some(found) if active.uid.as_ref().is_none_or(|uid| *uid == found.uid) => {
                    self.standing.seen(at, found);
                }
                None if active.uid.is_none() => self.again(at, active.round),
                // The one that was seen is gone, whatever has its name now.
                _ if task => {
                    let text = format!("Task {} was deleted", active.object);
                    self.standing.fail(at, CANCELLED, &text);
                }
                _ => self.again(at, active.round.saturating_add(1)),
            }
        }
    }

    /// Makes what a step needs that was written down and is not there.
    fn again(&mut self, at: usize, round: i64) {
        let stopped = self.standing.ending.is_some() && at < self.graph.main;
        if stopped || self.seen.wanted == DesiredState::Cancelled {
            self.standing
                .fail(at, CANCELLED, "the run was stopped before it began");
            return;
        }
        if round > MAX_ROUNDS {
            let text = format!("its Approval was deleted {MAX_ROUNDS} times");
            self.standing.fail(at, CANCELLED, &text);
            return;
        }
        self.begin(at, round);
    }

    /// The steps before `finally`.
    fn main(&mut self) {
        loop {
            self.look_for_an_end();
            if self.standing.ending.is_some() {
                self.standing.omit(0..self.graph.main);
                self.stop_approvals();
                return;
            }
            if self.seen.wanted == DesiredState::Paused || !self.schedule(0..self.graph.main) {
                return;
            }
        }
    }

    /// Decides steps whose needs have ended; whether there was one.
    fn schedule(&mut self, steps: std::ops::Range<usize>) -> bool {
        let mut moved = false;
        for at in steps {
            let Some(step) = self.graph.steps.get(at) else {
                continue;
            };
            let idle = matches!(self.standing.state(at), State::Idle);
            let ready = step.needs.iter().all(|need| self.standing.has_ended(*need));
            if !idle || !ready {
                continue;
            }
            let runs = match &step.condition {
                None => {
                    // People who were not asked have not said yes.
                    let asks = |need: &usize| {
                        let step = self.graph.steps.get(*need);
                        step.is_some_and(|step| step.spec.approval.is_some())
                    };
                    let fine = |need: &usize| match self.standing.state(*need) {
                        State::Succeeded(_) => true,
                        State::Skipped => !asks(need),
                        _ => false,
                    };
                    if !step.needs.iter().all(fine) {
                        self.standing.set(at, State::Omitted);
                        moved = true;
                        continue;
                    }
                    Ok(true)
                }
                Some(condition) => self
                    .values(condition.reads())
                    .and_then(|values| condition.holds(&values).map_err(make::failed)),
            };
            match runs {
                Ok(true) if self.standing.active().len() >= self.seen.most => continue,
                Ok(true) => self.begin(at, 1),
                Ok(false) => self.standing.set(at, State::Skipped),
                Err((class, why)) => {
                    let text = format!("{}.if: {why}", step.place);
                    self.standing.fail(at, class.as_str(), &text);
                }
            }
            moved = true;
        }
        moved
    }

    /// Whether it is certain by now how the run ends.
    fn look_for_an_end(&mut self) {
        if self.standing.ending.is_some() {
            return;
        }
        let limit = self.graph.spec.timeouts.run.get().unwrap_or_default();
        let main = 0..self.graph.main;
        let failed = self.first_failure();
        let ended = main.clone().all(|at| self.standing.has_ended(at));
        let failure = |class: FailureClass, message: String| FailureStatus {
            class: class.to_string(),
            message,
        };
        let (phase, failure) = if self.seen.wanted == DesiredState::Cancelled && !ended {
            (Phase::Cancelled, None)
        } else if let Some(text) = failed.filter(|_| ended || self.graph.spec.fail_fast) {
            (Phase::Failed, Some(failure(FailureClass::StepFailed, text)))
        } else if ended {
            (Phase::Succeeded, None)
        } else if self.seen.ran >= limit {
            let text = format!(
                "the running time of {} is used up; raise spec.timeouts.run of the Workflow",
                self.graph.spec.timeouts.run
            );
            (Phase::Failed, Some(failure(FailureClass::Timeout, text)))
        } else {
            return;
        };
        self.standing.ending = Some(Ending {
            phase,
            failure,
            finally_since: None,
            since: Time(Timestamp::from_second(self.seen.now.as_second()).unwrap_or(self.seen.now)),
        });
    }

    /// What failed first of the steps whose failure nobody deals with: no step that asks for it has begun, and none of them may still.
    fn first_failure(&self) -> Option<String> {
        let unhandled = |at: &usize| {
            let step = self.graph.steps.get(*at);
            let gave_up = |asks: &usize| {
                matches!(self.standing.state(*asks), State::Skipped | State::Omitted)
            };
            *at < self.graph.main && step.is_some_and(|step| step.asked_by.iter().all(gave_up))
        };
        let first = self.standing.failures().find(unhandled)?;
        Some(self.standing.told(self.graph, first))
    }

    /// An Approval is asked for nobody any more: it expires with the run.
    fn stop_approvals(&mut self) {
        for at in self.standing.active() {
            if at < self.graph.main
                && let State::Active(active) = self.standing.state(at)
                && active.kind == RequestKind::Approval
            {
                self.standing
                    .fail(at, CANCELLED, "the run was stopped before it was decided");
            }
        }
    }

    /// Tasks of steps that were decided not to begin, by a pass that did not see that another one had made them.
    fn strays(&self) -> impl Iterator<Item = (String, &Found)> {
        let steps = self.graph.steps.iter().enumerate();
        steps.filter_map(|(at, step)| {
            let decided = matches!(self.standing.state(at), State::Skipped | State::Omitted);
            let (_, name) = make::name_of(self.seen, &step.spec, 1);
            let found = self.seen.found.get(&name).filter(|_| decided)?;
            let live = matches!(found.now, Child::Live(_)) && step.spec.approval.is_none();
            (found.ours && live).then_some((name, found))
        })
    }

    /// What live Tasks are to be told.
    fn tell(&self) -> Vec<(String, DesiredState)> {
        let strays = self.strays();
        let strays = strays.filter(|(_, found)| found.state != DesiredState::Cancelled);
        let mut tell: Vec<_> = strays
            .map(|(name, _)| (name, DesiredState::Cancelled))
            .collect();
        for at in self.standing.active() {
            let State::Active(active) = self.standing.state(at) else {
                continue;
            };
            let found = self.seen.found.get(&active.object);
            let Some(found) = found.filter(|_| active.kind == RequestKind::Task) else {
                continue;
            };
            let stops = if at < self.graph.main {
                self.standing.ending.is_some()
            } else {
                self.finally_is_over()
            };
            let wanted = match (stops, self.seen.wanted) {
                (true, _) => DesiredState::Cancelled,
                (false, DesiredState::Paused) => DesiredState::Paused,
                (false, _) if self.seen.was_paused => DesiredState::Running,
                (false, _) => continue,
            };
            if found.state != wanted && found.state != DesiredState::Cancelled {
                tell.push((active.object.clone(), wanted));
            }
        }
        tell
    }
}
