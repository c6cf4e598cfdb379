//! A replay: this Task's agent against the journal of another Task. What the model said and what came of its tool calls is taken from
//! there, and what this agent would have asked is held against what was asked. Nothing is called, and nothing paid.

use super::fold::{Fold, Left};
use super::{Machine, failure};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::assignment::{Assignment, Replay};
use oarmaster_protocol::journal::{Body, Outcome, Record};
use std::collections::BTreeSet;

/// Both agents, record by record.
struct Replaying {
    ours: Fold,
    theirs: Fold,
    /// Name of the other Task.
    task: String,
    /// Answers of the model so far.
    answers: u32,
    /// Messages that both have, and have alike: what gives way among them later gives way in both.
    alike: usize,
    /// Whether an attempt has ended so that the next one begins anew.
    anew: bool,
    /// How the other Task ended by itself.
    end: Option<Outcome>,
}

/// Where the record is left.
enum Stop {
    /// As many answers were taken as are to be.
    Enough,
    /// The first difference.
    Differs(String),
}

impl Machine {
    /// The state at the end of a record, or where it is left.
    pub(super) fn replay(
        ours: &Assignment,
        theirs: &Assignment,
        journal: &[Record],
        how: &Replay,
    ) -> Self {
        let fresh = || {
            let begin = |assignment: &Assignment| Fold::new(Self::new(assignment.clone()));
            (begin(ours), begin(theirs))
        };
        let (our_fold, their_fold) = fresh();
        let mut replaying = Replaying {
            ours: our_fold,
            theirs: their_fold,
            task: theirs.task.name.clone(),
            answers: 0,
            alike: 0,
            anew: false,
            end: None,
        };
        let stop = journal.iter().find_map(|record| {
            if replaying.anew {
                (replaying.ours, replaying.theirs) = fresh();
                replaying.alike = 0;
                replaying.anew = false;
            }
            replaying.take(&record.body, how)
        });
        let stop = stop.or_else(|| replaying.at_the_end());
        let attempt = journal.last().map_or(0, |record| record.attempt);
        replaying.ended(stop, how, attempt)
    }
}

impl Replaying {
    fn take(&mut self, body: &Body, how: &Replay) -> Option<Stop> {
        match body {
            // A program's has no digest; another hop of a call is the same call.
            Body::Open { digest, .. } if !digest.is_empty() => {
                self.ours.settle();
                self.theirs.settle();
                if how.until.is_some_and(|until| self.answers >= until) {
                    return Some(Stop::Enough);
                }
                if let Some(what) = self.difference() {
                    return Some(Stop::Differs(format!(
                        "at model call {}: {what}",
                        self.answers + 1
                    )));
                }
            }
            Body::Answer { call, .. } if self.theirs.asked == Some(*call) => self.answers += 1,
            Body::Check { .. } | Body::Judged { .. } => {
                if let Some(what) = self.other_acceptance() {
                    return Some(Stop::Differs(what));
                }
            }
            Body::Result { outcome } => {
                let failure = outcome.failure.as_ref();
                let waits = failure.is_some_and(|failure| failure.waits.is_some());
                self.anew = failure.is_some_and(|failure| !waits && !failure.class.is_transient());
                self.end = (!waits).then(|| outcome.clone());
                return None;
            }
            Body::Opened { .. } | Body::Claimed { .. } | Body::Fenced { .. } => return None,
            _ => {}
        }
        self.end = None;
        self.ours.take(body);
        self.theirs.take(body);
        None
    }

    /// What this agent would have asked otherwise.
    fn difference(&mut self) -> Option<String> {
        let (ours, theirs) = (&self.ours.machine, &self.theirs.machine);
        let turns = ours.agent().map_or(0, |agent| agent.max_turns);
        if ours.turns >= turns {
            return Some(format!(
                "it has {turns} turns (limits.turns), and more were taken"
            ));
        }
        let calls = ours.agent().map_or(0, |agent| agent.max_tool_calls);
        if ours.tool_calls > calls {
            return Some(format!(
                "it has {calls} tool calls (limits.toolCalls), and more were made"
            ));
        }
        // The same in every call.
        if self.alike == 0
            && let Some(what) = other_head(ours, theirs)
        {
            return Some(what);
        }
        let most = ours.messages.len().max(theirs.messages.len());
        let other = (self.alike..most)
            .find(|index| ours.messages.get(*index) != theirs.messages.get(*index));
        self.alike = other.unwrap_or(most);
        Some(match other? {
            0 => "other instructions".to_owned(),
            1 => "another prompt".to_owned(),
            index => format!("message {} of the conversation is another one", index + 1),
        })
    }

    fn other_acceptance(&self) -> Option<String> {
        let accept = |fold: &Fold| fold.machine.assignment.accept.clone();
        (accept(&self.ours) != accept(&self.theirs))
            .then(|| "what accepts its answer is another check or judge (accept)".to_owned())
    }

    /// All records are taken: what came of them may still be another thing.
    fn at_the_end(&mut self) -> Option<Stop> {
        let end = self.end.as_ref()?;
        if let Some(what) = self.other_acceptance() {
            return Some(Stop::Differs(what));
        }
        let output = end.output.as_ref().filter(|_| end.failure.is_none())?;
        let accept = self.ours.machine.assignment.accept.as_ref();
        if accept.is_some_and(|accept| accept.best) {
            return None; // the output may be an earlier one's
        }
        self.ours.settle();
        let ours = self.ours.machine.output_of(&self.ours.text);
        let same = ours.is_ok_and(|(ours, _)| ours == *output);
        (!same).then(|| {
            Stop::Differs(
                "at the end: its answer does not lead to the same output (output.schema)"
                    .to_owned(),
            )
        })
    }

    fn ended(mut self, stop: Option<Stop>, how: &Replay, attempt: u32) -> Machine {
        let end = self.end.take();
        let Self { task, answers, .. } = &self;
        let failed = |message: String| Outcome {
            failure: Some(failure(FailureClass::NotAccepted, &message)),
            ..Outcome::default()
        };
        let (then, over) = match (stop, end) {
            (Some(Stop::Enough), _) => ("; from here on it asks the model".to_owned(), None),
            (Some(Stop::Differs(what)), _) if how.live => (
                format!("; it differs from there {what}; from here on it asks the model"),
                None,
            ),
            (Some(Stop::Differs(what)), _) => {
                let message = format!("the replay differs from Task {task} {what}");
                (String::new(), Some(failed(message)))
            }
            (None, Some(end)) => {
                // What it kept is the other Task's.
                let outcome = Outcome {
                    artifacts: Vec::new(),
                    workspace: None,
                    ..end
                };
                ("; nothing differs".to_owned(), Some(outcome))
            }
            (None, None) if how.live => (
                "; its record ends there; from here on it asks the model".to_owned(),
                None,
            ),
            (None, None) => {
                let message = format!(
                    "the replay cannot come to an end: Task {task} was stopped from outside after {answers} answers of the model, with which this one agrees"
                );
                (String::new(), Some(failed(message)))
            }
        };
        let note =
            format!("replayed {answers} answers of the model as recorded in Task {task}{then}");
        let mut machine = match over {
            Some(outcome) => {
                let mut machine = self.ours.machine;
                machine.left = Some(Left::Over(Box::new(outcome)));
                machine
            }
            None => {
                self.ours.machine.layers = self.ours.machine.layers.inherited();
                self.ours.end(attempt)
            }
        };
        machine.begins = Some(note);
        machine.heard = 0; // that of another tree
        machine
    }
}

/// What is the same in every call of an agent, and another thing in those of the other.
fn other_head(ours: &Machine, theirs: &Machine) -> Option<String> {
    let servers = |machine: &Machine| machine.agent().map(|agent| agent.mcp.clone());
    if servers(ours) != servers(theirs) {
        return Some("other MCP servers".to_owned());
    }
    let (ours, theirs) = (ours.head(), theirs.head());
    let keys = ours.keys().chain(theirs.keys());
    let keys: BTreeSet<&str> = keys
        .filter(|key| ours.get(*key) != theirs.get(*key))
        .map(String::as_str)
        .collect();
    let keys: Vec<_> = keys.into_iter().collect();
    (!keys.is_empty()).then(|| format!("other {}", keys.join(", ")))
}
