//! What has become of what is under way.

use super::make::{Which, failed};
use super::standing::unit;
use super::values::{Local, Wrong};
use super::{CANCELLED, Child, MAX_ROUNDS, Run};
use crate::graph::Step;
use oarmaster_crds::kinds::steps::{ActiveStep, StepKind};
use oarmaster_crds::kinds::task::{DesiredState, Phase};
use oarmaster_protocol::FailureClass;

/// What has become of something that was under way.
pub(super) enum Became {
    /// It goes on; its UID.
    Live(String, Phase),
    /// It goes on, and is nobody.
    Waits,
    /// It is to be made, the nth time.
    Missing(i64),
    /// It ended well.
    Succeeded,
    /// It failed: class and message.
    Failed(String, String),
}

impl Run<'_> {
    /// Takes over what has become of the steps that are under way.
    pub(super) fn follow(&mut self) {
        for at in self.standing.active() {
            for unit in self.standing.units(at).to_vec() {
                self.follow_unit(at, unit);
            }
        }
        self.settle(0..self.graph.steps.len());
        // After all that gives to what is shared.
        let graph = self.graph;
        for at in self.standing.active() {
            let Some(step) = graph.steps.get(at).filter(|step| step.opens.is_some()) else {
                continue;
            };
            for unit in self.standing.units(at).to_vec() {
                self.look_whether_open(at, step, &unit);
            }
        }
        self.settle(0..graph.steps.len());
    }

    /// Ends a step that waits for a condition, where that is true or its time is over.
    pub(super) fn look_whether_open(&mut self, at: usize, step: &Step, unit: &ActiveStep) {
        let Some(opens) = &step.opens else {
            return;
        };
        let holds = self
            .values(opens.reads(), &Local::default())
            .and_then(|values| opens.holds(&values).map_err(failed));
        let place = format!("{}.wait.condition", step.place);
        match holds {
            Ok(true) => self.standing.unit_succeeded(at, unit),
            Ok(false) => {
                if let Some(due) = unit.due.as_ref().filter(|due| due.0 <= self.seen.now) {
                    let text = format!(
                        "{place} did not become true until {}; give it more time, or look at what its other steps share",
                        due.0
                    );
                    self.standing
                        .fail(at, FailureClass::Timeout.as_str(), &text);
                }
            }
            Err((class, why)) => {
                self.standing
                    .fail(at, class.as_str(), &format!("{place}: {why}"));
            }
        }
    }

    fn follow_unit(&mut self, at: usize, unit: ActiveStep) {
        let waits = |step: &Step| step.opens.is_some();
        if self.graph.steps.get(at).is_some_and(waits) {
            return;
        }
        match self.became(&unit) {
            Became::Live(uid, phase) => {
                let uid = Some(uid);
                self.standing.add(at, ActiveStep { uid, phase, ..unit });
            }
            Became::Waits => {}
            Became::Missing(round) => self.again(at, &unit, round),
            Became::Succeeded => self.turned(at, &unit),
            Became::Failed(class, message) => {
                self.standing.unit_failed(at, unit.item, &class, &message);
            }
        }
    }

    /// What has become of something that was under way.
    pub(super) fn became(&self, unit: &ActiveStep) -> Became {
        if let Some(due) = &unit.due {
            return match due.0 <= self.seen.now {
                true => Became::Succeeded,
                false => Became::Waits,
            };
        }
        let found = self.seen.found.get(&unit.object);
        let cancelled = |text: &str| Became::Failed(CANCELLED.to_owned(), text.to_owned());
        match found {
            Some(found) if !found.ours => Became::Failed(
                FailureClass::Conflict.to_string(),
                format!(
                    "{:?} {} exists and belongs to somebody else; delete it, or run the workflow under another name",
                    unit.kind, unit.object
                ),
            ),
            Some(found) if unit.uid.as_ref().is_none_or(|uid| *uid == found.uid) => {
                match &found.now {
                    Child::Live(phase) => Became::Live(found.uid.clone(), *phase),
                    Child::Succeeded(_) => Became::Succeeded,
                    Child::Failed(failure, _) => {
                        Became::Failed(failure.class.clone(), failure.message.clone())
                    }
                    Child::Cancelled => cancelled("its Task was cancelled"),
                }
            }
            None if unit.uid.is_none() => Became::Missing(unit.round),
            // The one that was seen is gone, whatever has its name now.
            _ if unit.kind == StepKind::Task => {
                cancelled(&format!("Task {} was deleted", unit.object))
            }
            _ => Became::Missing(unit.round.saturating_add(1)),
        }
    }

    /// Makes what a step needs that was written down and is not there.
    fn again(&mut self, at: usize, unit: &ActiveStep, round: i64) {
        let ends = at < self.graph.main && self.ends();
        if self.is_stopped(at) || self.gives_up(at) || ends {
            let text = "the run was stopped before it began";
            return self.standing.unit_failed(at, unit.item, CANCELLED, text);
        }
        if round > MAX_ROUNDS {
            let text = format!("its Approval was deleted {MAX_ROUNDS} times");
            return self.standing.unit_failed(at, unit.item, CANCELLED, &text);
        }
        self.begin_unit(
            at,
            Which {
                round,
                ..self.standing.which_of(at, unit)
            },
        );
    }

    /// Whether somebody wants the run to end.
    fn ends(&self) -> bool {
        matches!(
            self.seen.wanted,
            DesiredState::Cancelled | DesiredState::RolledBack
        )
    }

    /// Something of a step has ended well: it is through, or done again.
    fn turned(&mut self, at: usize, unit: &ActiveStep) {
        let Some(step) = self.graph.steps.get(at) else {
            return;
        };
        // What it gives is known to have a value from now on.
        let which = self.standing.which_of(at, unit);
        let given = match step.spec.share {
            Some(_) => self.given(at, step, which).map(|_| ()),
            None => Ok(()),
        };
        let through = given.and_then(|()| self.is_through(at, step, which));
        match through {
            Ok(true) => self.standing.unit_succeeded(at, unit),
            Ok(false) => self.next_turn(at, step, unit),
            Err((class, why)) => {
                self.standing
                    .unit_failed(at, unit.item, class.as_str(), &why);
            }
        }
    }

    fn is_through(&mut self, at: usize, step: &Step, which: Which) -> Result<bool, Wrong> {
        let Some(until) = &step.until else {
            return Ok(true);
        };
        let local = self.local_after(at, which)?;
        let values = self.values(until.reads(), &local)?;
        until.holds(&values).map_err(|error| {
            let (class, why) = failed(error);
            (class, format!("{}.repeat.until: {why}", step.place))
        })
    }

    fn next_turn(&mut self, at: usize, step: &Step, done: &ActiveStep) {
        let limit = step.limit();
        if done.turn >= limit {
            let text = format!(
                "{}.repeat.until is not true after {limit} times; raise repeat.limit, or look at what it does",
                step.place
            );
            let class = FailureClass::LimitReached.as_str();
            return self.standing.unit_failed(at, done.item, class, &text);
        }
        let which = Which {
            turn: done.turn.saturating_add(1),
            ..self.standing.which_of(at, done)
        };
        let next = unit(self.seen, step, which);
        // Another pass may have made it already, and not have written it down.
        let found = self.seen.found.get(&next.object);
        if found.is_some_and(|found| found.ours) {
            self.standing.add(at, next.clone());
            return self.follow_unit(at, next);
        }
        let stopped = at < self.graph.main && (self.standing.ending.is_some() || self.ends());
        if stopped || self.gives_up(at) {
            let text = "the run was stopped before it was done again";
            return self.standing.unit_failed(at, done.item, CANCELLED, text);
        }
        self.begin_unit(at, which);
    }
}
