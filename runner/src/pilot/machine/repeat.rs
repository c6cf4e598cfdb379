//! Tool calls that lead nowhere: the same call, with the same result, again and again.
//!
//! A call is its tool and arguments, its result the text that the model saw. A call that may change the workspace and whose result is not
//! that of its last run is a change of state: whatever was tried before may now end otherwise. Only a fold over the calls and results
//! of the attempt, so that whoever folds them again decides the same.

use super::super::answer::Call;
use oarmaster_protocol::digest;
use serde_json::json;
use std::collections::BTreeMap;

/// Runs of a call with one result, without a change of state between them, that are enough to know it.
const ENOUGH: u32 = 2;

/// What is to be done with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may tell something.
    Run,
    /// It is not run; the model is told why.
    Hint,
    /// The model was told, and insists.
    Stop,
}

/// What is known of the calls that ran.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Repeats {
    /// By digest of the call.
    calls: BTreeMap<String, Known>,
}

#[derive(Clone, Debug, PartialEq)]
struct Known {
    /// Digest of the last result.
    result: String,
    /// Runs with this result since the last change of state.
    runs: u32,
    /// The turn in which the model was told, since the last change of state.
    told_in: Option<u32>,
}

impl Repeats {
    /// Decides on a call of this turn. Calls of one turn are one decision of the model: it is not yet told when it makes the others.
    pub(super) fn judge(&mut self, call: &Call, turn: u32) -> Verdict {
        match self.calls.get_mut(&key(call)) {
            Some(known) if known.runs >= ENOUGH => {
                if *known.told_in.get_or_insert(turn) < turn {
                    Verdict::Stop
                } else {
                    Verdict::Hint
                }
            }
            _ => Verdict::Run,
        }
    }

    /// Takes in how a call ended, and whether it may have changed the workspace.
    pub(super) fn ran(&mut self, call: &Call, may_change: bool, result: &str) {
        let (key, result) = (key(call), digest(result.as_bytes()));
        match self.calls.get_mut(&key) {
            Some(known) if known.result == result => known.runs += 1,
            _ => {
                if may_change {
                    for known in self.calls.values_mut() {
                        known.runs = 0;
                        known.told_in = None;
                    }
                }
                let known = Known {
                    result,
                    runs: 1,
                    told_in: None,
                };
                self.calls.insert(key, known);
            }
        }
    }
}

fn key(call: &Call) -> String {
    digest(json!([call.name, call.arguments]).to_string().as_bytes())
}
