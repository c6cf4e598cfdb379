//! The end of a run: `finally`, and the output.

use super::make::failed;
use super::standing::State;
use super::values::{Local, Wrong};
use super::{MAX_OUTPUT_BYTES, Over, Run};
use crate::expr::{Reads, json_bytes};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use oarmaster_crds::GepDuration;
use oarmaster_crds::kinds::task::{DesiredState, FailureStatus, Phase};
use oarmaster_protocol::FailureClass;
use serde_json::{Map, Value};
use std::time::Duration;

impl Run<'_> {
    /// Goes through `finally`, once nothing else is under way; gives the end, once there is one.
    pub(super) fn finish(&mut self) -> Option<Over> {
        let certain = self.standing.certain && self.standing.ending.is_some();
        let main = 0..self.graph.main;
        if !main.clone().all(|at| self.standing.has_ended(at)) {
            return None;
        }
        // Whatever acts on the end does so once it is written down: a pass after this one could see it otherwise until then. It also sees every Task that a
        // pass before it has made: they come in the same stream, before what was written.
        if !certain || !self.undo() {
            return None;
        }
        let ending = self.standing.ending.clone()?;
        // What a pass made that was not written down stops first, too.
        if ending.finally_since.is_none() && self.strays().next().is_some() {
            return None;
        }
        let last = self.graph.main..self.graph.steps.len();
        // Its time begins when nothing else is under way any more.
        if let Some(ending) = &mut self.standing.ending {
            self.seen.counts_from(&mut ending.finally_since);
        }
        if self.finally_is_over() {
            self.standing.omit(last.clone());
        } else if self.seen.wanted != DesiredState::Paused {
            while self.schedule(last.clone()) {}
        }
        self.settle(last.clone());
        if !last.clone().all(|at| self.standing.has_ended(at)) || self.strays().next().is_some() {
            return None;
        }
        let of_finally = |at: &usize| *at >= self.graph.main;
        let first = self.standing.failures().find(of_finally);
        let first = first.map(|at| self.standing.told(self.graph, at));
        let not_undone = self.not_undone();
        Some(match (ending.phase, ending.failure) {
            (Phase::Cancelled, _) => Over::Cancelled,
            (Phase::RolledBack, _) => match not_undone {
                None => Over::RolledBack,
                Some(message) => Over::Failed(FailureStatus {
                    class: FailureClass::StepFailed.to_string(),
                    message,
                }),
            },
            (Phase::Failed, Some(FailureStatus { class, message })) => {
                Over::Failed(FailureStatus {
                    class,
                    message: match not_undone {
                        None => message,
                        Some(also) => format!("{message}; and {also}"),
                    },
                })
            }
            _ => match first {
                Some(text) => Over::Failed(FailureStatus {
                    class: FailureClass::StepFailed.to_string(),
                    message: text,
                }),
                None if self.out_of_time() => Over::Failed(FailureStatus {
                    class: FailureClass::Timeout.to_string(),
                    message: format!(
                        "finally did not end within {}; raise spec.timeouts.finally of the Workflow",
                        self.graph.spec.timeouts.finally
                    ),
                }),
                None => match self.result() {
                    Ok(output) => Over::Succeeded(output),
                    Err((class, message)) => Over::Failed(FailureStatus {
                        class: class.to_string(),
                        message,
                    }),
                },
            },
        })
    }

    /// Whether `finally` was cut off before all of it was begun.
    fn out_of_time(&self) -> bool {
        let last = self.graph.main..self.graph.steps.len();
        let omitted = |at: usize| matches!(self.standing.state(at), State::Omitted);
        self.finally_is_over() && last.clone().any(omitted)
    }

    /// Whether the time for `finally` is over.
    pub(super) fn finally_is_over(&self) -> bool {
        self.finally_left().is_some_and(|left| left.is_zero())
    }

    fn finally_left(&self) -> Option<Duration> {
        let since = self.standing.ending.as_ref()?.finally_since.as_ref();
        self.left(since, &self.graph.spec.timeouts.finally)
    }

    /// How much is left of a time that runs since then, if it does.
    pub(super) fn left(&self, since: Option<&Time>, limit: &GepDuration) -> Option<Duration> {
        let passed = self.seen.now.duration_since(since?.0);
        let passed = Duration::try_from(passed).unwrap_or_default();
        Some(limit.get().unwrap_or_default().saturating_sub(passed))
    }

    /// When something is due that nobody tells.
    pub(super) fn wakes(&self) -> Option<Duration> {
        if !self.fresh.is_empty() {
            return Some(Duration::ZERO);
        }
        if self.standing.ending.is_some() {
            if !self.standing.certain {
                return Some(Duration::ZERO);
            }
            let left = self.finally_left().into_iter().chain(self.undo_left());
            return left.filter(|left| !left.is_zero()).min();
        }
        let limit = self.graph.spec.timeouts.run.get().unwrap_or_default();
        let due = self
            .standing
            .all_units()
            .filter_map(|(_, unit)| unit.due.as_ref());
        let due = due.map(|due| {
            let left = due.0.duration_since(self.seen.now);
            Duration::try_from(left).unwrap_or_default()
        });
        due.chain([limit.saturating_sub(self.seen.ran)]).min()
    }

    /// The output of a run that succeeded.
    fn result(&mut self) -> Result<Value, Wrong> {
        let output = match &self.graph.output {
            Some(output) => {
                let values = self.values(&output.reads(), &Local::default())?;
                output.evaluate(&values).map_err(|error| {
                    let (class, why) = failed(error);
                    (class, format!("output: {why}"))
                })?
            }
            None => {
                let mut all = Map::new();
                for name in self.graph.leaves() {
                    let reads = Reads {
                        steps: [name.to_owned()].into(),
                        ..Reads::default()
                    };
                    let mut values = self.values(&reads, &Local::default())?;
                    let output = values.steps.get_mut(name).map(|step| step["output"].take());
                    let output = output.unwrap_or_default();
                    if !output.is_null() {
                        all.insert(name.to_owned(), output);
                    }
                }
                Value::Object(all)
            }
        };
        let bytes = json_bytes(&output);
        if bytes > MAX_OUTPUT_BYTES {
            return Err((
                FailureClass::OutputTooLarge,
                format!(
                    "the output of the run has {bytes} bytes, at most {MAX_OUTPUT_BYTES} are possible: say in spec.output of the Workflow what of it is needed"
                ),
            ));
        }
        Ok(output)
    }
}
