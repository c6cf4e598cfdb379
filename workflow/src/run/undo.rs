//! What was done is undone: the steps that succeeded, the last one first, one after the other.

use super::follow::Became;
use super::make::Which;
use super::standing::{State, failed_step, told, unit};
use super::{CANCELLED, Run};
use oarmaster_crds::kinds::steps::{ActiveStep, FailedStep};
use oarmaster_crds::kinds::task::{DesiredState, Phase};
use oarmaster_crds::kinds::workflow::OnFailure;
use oarmaster_protocol::FailureClass;
use std::time::Duration;

impl Run<'_> {
    /// A run that is to be rolled back, and whose end was another one so far.
    pub(super) fn rolls_back(&mut self) {
        let begun = (self.graph.main..self.graph.steps.len())
            .any(|at| !matches!(self.standing.state(at), State::Idle));
        let Some(ending) = &mut self.standing.ending else {
            return;
        };
        if self.seen.wanted == DesiredState::RolledBack
            && ending.phase != Phase::RolledBack
            && !begun
        {
            ending.phase = Phase::RolledBack;
            ending.failure = None;
            self.standing.certain = false;
        }
    }

    /// Whether what was done is to be undone. Somebody who cancels a run stops that, too.
    pub(super) fn undoes(&self) -> bool {
        let Some(ending) = &self.standing.ending else {
            return false;
        };
        match ending.phase {
            _ if self.seen.wanted == DesiredState::Cancelled || self.undo_is_over() => false,
            Phase::RolledBack => true,
            Phase::Failed => self.graph.spec.on_failure == OnFailure::Undo,
            _ => false,
        }
    }

    /// Whether the time for it is over.
    fn undo_is_over(&self) -> bool {
        self.undo_left().is_some_and(|left| left.is_zero())
    }

    /// How much time is left for it, once it has begun.
    pub(super) fn undo_left(&self) -> Option<Duration> {
        self.left(
            self.standing.undo.since.as_ref(),
            &self.graph.spec.timeouts.run,
        )
    }

    /// Goes on with it; whether it is through.
    pub(super) fn undo(&mut self) -> bool {
        self.follow_undo();
        if self.undo_is_over()
            && let Some(at) = self.next_to_undo()
        {
            let name = self.graph.steps.get(at).map(|step| step.spec.name.clone());
            let text = format!(
                "the time of {} for undoing is used up; raise spec.timeouts.run of the Workflow",
                self.graph.spec.timeouts.run
            );
            let failed = failed_step(None, FailureClass::Timeout.as_str(), &text);
            self.undo_failed(&name.unwrap_or_default(), failed);
        }
        if !self.undoes() {
            return self.standing.undoing.is_empty();
        }
        while let Some(at) = self.next_to_undo() {
            self.seen.counts_from(&mut self.standing.undo.since);
            let items: Vec<Option<i64>> = match self.standing.fans.get(&at) {
                None => vec![None],
                Some(fan) => {
                    let done = (0..fan.items).rev().filter(|item| fan.succeeded(*item));
                    done.map(Some).collect()
                }
            };
            let Some(step) = self.graph.steps.get(at) else {
                return true;
            };
            loop {
                let begun = usize::try_from(self.standing.undo.begun).ok();
                let next = begun.and_then(|begun| items.get(begun));
                let Some(item) = next.copied() else { break };
                let places = step
                    .parallel()
                    .min(self.seen.most.saturating_sub(self.standing.taken()));
                if self.seen.wanted == DesiredState::Paused
                    || self.standing.undoing.len() >= places.max(1)
                {
                    return false;
                }
                let which = Which {
                    undo: true,
                    ..self.standing.which(at, item)
                };
                self.standing.undo.begun += 1;
                if !self.was_taken(at, item) {
                    self.undo_unit(at, which);
                }
                if !self.wants.borrow().is_empty() {
                    return false; // one item is read at a time: all of them may be much
                }
            }
            if !self.standing.undoing.is_empty() {
                return false;
            }
            self.standing.undo.done.push(step.spec.name.clone());
            self.standing.undo.begun = 0;
        }
        true
    }

    /// The step that is undone now: of those that are left the last one that succeeded, or items of which did.
    fn next_to_undo(&self) -> Option<usize> {
        let done = &self.standing.undo.done;
        let steps = self.graph.steps.iter().enumerate().take(self.graph.main);
        let left = steps.filter(|(_, step)| step.undo.is_some() && !done.contains(&step.spec.name));
        let nth = left.filter_map(|(at, _)| match self.standing.state(at) {
            State::Succeeded(nth) => Some((*nth, at)),
            State::Failed(nth, _) if self.standing.fans.contains_key(&at) => Some((*nth, at)),
            _ => None,
        });
        nth.max().map(|(_, at)| at)
    }

    fn follow_undo(&mut self) {
        for held in std::mem::take(&mut self.standing.undoing) {
            match self.became(&held) {
                Became::Live(uid, phase) => {
                    let uid = Some(uid);
                    self.standing
                        .undoing
                        .push(ActiveStep { uid, phase, ..held });
                }
                Became::Missing(_) if self.undoes() => {
                    let at = self.graph.find(&held.name);
                    if let Some(at) = at {
                        self.undo_unit(at, self.standing.which_of(at, &held));
                    }
                }
                Became::Missing(_) => {
                    self.undo_failed(
                        &held.name,
                        failed_step(None, CANCELLED, "the run was cancelled"),
                    );
                }
                Became::Succeeded | Became::Waits => {}
                Became::Failed(class, message) => {
                    let failed = failed_step(Some(held.object), &class, &message);
                    self.undo_failed(&held.name, failed);
                }
            }
        }
    }

    fn undo_unit(&mut self, at: usize, which: Which) {
        let Some(step) = self.graph.steps.get(at) else {
            return;
        };
        let unit = unit(self.seen, step, which);
        match self.make(at, step, &unit) {
            Ok(()) => self.standing.undoing.push(unit),
            Err((class, why)) => {
                let failed = failed_step(None, class.as_str(), &why);
                self.undo_failed(&step.spec.name, failed);
            }
        }
    }

    /// What could not be undone is told, and the rest is undone.
    fn undo_failed(&mut self, name: &str, failed: FailedStep) {
        let failed = FailedStep {
            name: name.to_owned(),
            ..failed
        };
        self.standing.undo.failed.get_or_insert(failed);
    }

    /// What is said of the first step that could not be undone.
    pub(super) fn not_undone(&self) -> Option<String> {
        let failed = self.standing.undo.failed.as_ref()?;
        Some(format!(
            "{} (when it was to be undone)",
            told(&failed.name, failed)
        ))
    }
}
