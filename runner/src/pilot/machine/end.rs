//! Ends: the outcome, and the artifacts that are kept before it is handed in.

use super::super::answer::Answer;
use super::turn::too_large;
use super::{Kept, Machine, Next, Phase, Save, Saved, ToKeep, failure};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::journal::{Body, Failure, MAX_OUTPUT_BYTES, Outcome};
use oarmaster_protocol::request::Waits;
use serde_json::Value;

impl Machine {
    pub(super) fn succeed(&mut self, output: Value) -> Next {
        self.keep(Outcome {
            failure: None,
            output: Some(output),
            ..Outcome::default()
        })
    }

    /// Fails, and keeps what there is.
    pub(super) fn fail(&mut self, class: FailureClass, message: &str) -> Next {
        self.keep(Outcome {
            failure: Some(failure(class, message)),
            ..Outcome::default()
        })
    }

    /// Fails before anything ran, or in a way that leaves nothing to keep.
    pub(super) fn finish_now(&mut self, class: FailureClass, message: &str) -> Next {
        self.phase = Phase::Ended;
        Next::Finish(Outcome {
            failure: Some(failure(class, message)),
            output: None,
            artifacts: std::mem::take(&mut self.artifacts),
            ..Outcome::default()
        })
    }

    /// Ends as it was found to have ended.
    pub(super) fn over(&mut self, outcome: Outcome) -> Next {
        self.phase = Phase::Ended;
        Next::Finish(outcome)
    }

    /// A Budget of the cluster has no room. The next attempt starts clean, so nothing is kept.
    pub(super) fn wait_for_budget(&mut self, message: &str) -> Next {
        self.phase = Phase::Ended;
        Next::Finish(Outcome {
            failure: Some(Failure {
                waits: Some(Waits::Budget),
                ..failure(FailureClass::BudgetExceeded, message)
            }),
            ..Outcome::default()
        })
    }

    /// The answer is kept as an artifact, so that nothing is lost.
    pub(super) fn output_too_large(&mut self, answer: &Answer) -> Next {
        self.to_keep.push_back(ToKeep::Bytes {
            name: "output".to_owned(),
            bytes: answer.text.clone().into_bytes(),
        });
        self.fail(
            FailureClass::OutputTooLarge,
            &format!("the output is larger than {MAX_OUTPUT_BYTES} bytes of JSON; it is in the artifact `output`"),
        )
    }

    pub(super) fn keep(&mut self, mut outcome: Outcome) -> Next {
        if outcome.output.as_ref().is_some_and(too_large) {
            outcome.output = None;
        }
        if self.has_sandbox() {
            let rules = self.assignment.artifacts.clone();
            self.to_keep
                .extend(rules.into_iter().map(|rule| ToKeep::Pattern {
                    name: rule.name,
                    pattern: rule.path,
                }));
        }
        self.keep_next(outcome)
    }

    /// The artifact at the head of the list, or the end.
    pub(super) fn keep_next(&mut self, outcome: Outcome) -> Next {
        if self.exec_gone {
            self.to_keep
                .retain(|item| matches!(item, ToKeep::Bytes { .. }));
        }
        match self.to_keep.front().cloned() {
            None if !self.has_sandbox() => self.hand_in(outcome),
            None if self.assignment.workspace.keep => {
                self.phase = Phase::Leaving(outcome);
                Next::Save(self.last_save())
            }
            None if self.leaves_files(&outcome) && self.layers.lack_something() => {
                self.phase = Phase::Leaving(outcome);
                Next::Save(Save { base: true })
            }
            None => self.hand_in(outcome),
            Some(ToKeep::Pattern { name, pattern }) => {
                self.phase = Phase::Keeping(outcome);
                Next::Collect { name, pattern }
            }
            Some(ToKeep::Bytes { name, bytes }) => {
                self.phase = Phase::Keeping(outcome);
                Next::Store { name, bytes }
            }
        }
    }

    /// The workspace is kept as this Task leaves it, or cannot be. One that was asked for and cannot be kept makes a success a failure, as an artifact does.
    pub(super) fn kept_what_it_leaves(&mut self, mut outcome: Outcome, saved: Saved) -> Next {
        let problem = match &saved {
            Saved::Failed(why) if self.assignment.workspace.keep => Some(why.clone()),
            _ => None,
        };
        self.saved(saved);
        if let Some(why) = problem
            && outcome.failure.is_none()
        {
            let message = format!("the workspace could not be kept (workspace.keep): {why}");
            outcome.failure = Some(failure(FailureClass::OutputTooLarge, &message));
        }
        self.hand_in(outcome)
    }

    /// Whether the files that were handed to this Task go back with its outcome.
    fn leaves_files(&self, outcome: &Outcome) -> bool {
        outcome.failure.is_none() && self.assignment.handed.is_some()
    }

    fn hand_in(&mut self, mut outcome: Outcome) -> Next {
        outcome.artifacts = std::mem::take(&mut self.artifacts);
        if self.assignment.workspace.keep {
            outcome.workspace = Some(self.layers.whole());
        } else if self.leaves_files(&outcome) {
            outcome.workspace = self.layers.left();
        }
        self.phase = Phase::Ended;
        Next::Finish(outcome)
    }

    /// An artifact that was asked for and cannot be kept makes a success a failure, never the other way round.
    pub(super) fn kept(&mut self, mut outcome: Outcome, kept: Kept) -> Next {
        let name = match self.to_keep.pop_front() {
            Some(ToKeep::Pattern { name, .. } | ToKeep::Bytes { name, .. }) => name,
            None => String::new(),
        };
        let problem = match kept {
            Kept::Stored { artifact, skipped } => {
                self.artifacts.push(artifact);
                self.note_skipped(&name, &skipped);
                None
            }
            Kept::Nothing { skipped } => {
                self.note(format!(
                    "artifact `{name}`: nothing in the workspace matches its path"
                ));
                self.note_skipped(&name, &skipped);
                None
            }
            Kept::TooLarge(message) => Some((FailureClass::OutputTooLarge, message)),
            Kept::Failed(message) => Some((FailureClass::Internal, message)),
        };
        if let Some((class, message)) = problem {
            let message = format!("artifact `{name}` could not be kept: {message}");
            self.note(message.clone());
            if outcome.failure.is_none() {
                outcome.failure = Some(failure(class, &message));
            }
        }
        self.keep_next(outcome)
    }

    fn note_skipped(&mut self, name: &str, skipped: &[String]) {
        if !skipped.is_empty() {
            self.note(format!(
                "artifact `{name}`: left out {}",
                skipped.join(", ")
            ));
        }
    }

    /// For the reader of the transcript alone.
    pub(super) fn note(&mut self, text: String) {
        self.records.push(Body::Note { text });
    }
}
