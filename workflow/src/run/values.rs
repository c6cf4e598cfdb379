//! The values of expressions.

use super::make::name_of;
use super::standing::State;
use super::{Child, MAX_ROUNDS, Run};
use crate::expr::{Reads, Values};
use oarmaster_crds::kinds::task::RequestKind;
use oarmaster_protocol::FailureClass;
use serde_json::{Value, json};

impl Run<'_> {
    /// The values of what an expression reads.
    ///
    /// # Errors
    /// A step has an output that nobody has any more.
    pub(super) fn values(&self, reads: &Reads) -> Result<Values, (FailureClass, String)> {
        let mut values = Values::default();
        for name in &reads.names {
            let value = match name.as_str() {
                "params" => Value::Object(self.seen.params.clone()),
                "run" => {
                    let ending = self.standing.ending.as_ref();
                    let phase = ending.map_or(json!("Running"), |ending| json!(ending.phase));
                    let failure = ending.and_then(|ending| ending.failure.as_ref());
                    json!({ "phase": phase, "failure": failure })
                }
                _ => continue,
            };
            values.names.insert(name.clone(), value);
        }
        for name in &reads.steps {
            let Some(at) = self.graph.find(name) else {
                continue;
            };
            let value = self.step(at, name)?;
            values.steps.insert(name.clone(), value);
        }
        Ok(values)
    }

    fn step(&self, at: usize, name: &str) -> Result<Value, (FailureClass, String)> {
        let state = self.standing.state(at);
        let output = match state {
            State::Succeeded(_) | State::Failed(..) => self.output(at),
            _ => Some(Value::Null),
        };
        let output = match (output, state) {
            (Some(output), _) => output,
            (None, State::Succeeded(_)) => {
                return Err((
                    FailureClass::StateRegressed,
                    format!(
                        "the output of step {name} is gone: its Task was deleted; run the workflow anew"
                    ),
                ));
            }
            (None, _) => Value::Null,
        };
        let failure = match state {
            State::Failed(_, failed) => {
                json!({ "class": failed.class, "message": failed.message })
            }
            _ => Value::Null,
        };
        Ok(json!({
            "phase": self.standing.phase(at),
            "succeeded": matches!(state, State::Succeeded(_)),
            "failed": matches!(state, State::Failed(..)),
            "skipped": matches!(state, State::Skipped | State::Omitted),
            "output": output,
            "failure": failure,
        }))
    }

    /// What a step that has ended left, if it is still there.
    fn output(&self, at: usize) -> Option<Value> {
        let step = self.graph.steps.get(at)?;
        let mut rounds = 1..=MAX_ROUNDS;
        let found = match name_of(self.seen, &step.spec, 1) {
            (RequestKind::Task, name) => self.seen.found.get(&name),
            (RequestKind::Approval, _) => rounds.find_map(|round| {
                let (_, name) = name_of(self.seen, &step.spec, round);
                self.seen.found.get(&name).filter(|found| {
                    found.ours && matches!(found.now, Child::Succeeded(_) | Child::Failed(..))
                })
            }),
        };
        match &found.filter(|found| found.ours)?.now {
            Child::Succeeded(output) => Some(output.clone()),
            Child::Failed(_, output) => Some(output.clone().unwrap_or_default()),
            Child::Live(_) | Child::Cancelled => Some(Value::Null),
        }
    }
}
