//! Going on where another attempt stopped: the state of the machine from the records of the journal.
//!
//! What the model was told stands in the records, so a newer runner tells it the same. Only what is counted (turns, calls, answers that
//! could not be used, repetitions) is counted again by the rules of this one.

use super::super::answer::{Answer, Call};
use super::super::asks::AskTool;
use super::super::tools::Tool;
use super::repeat::Verdict;
use super::save::Layers;
use super::turn::{Planned, Work};
use super::{MAX_UNUSABLE, Machine, Next, Phase, failure, read};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::assignment::{Assignment, Target};
use oarmaster_protocol::exec::Request;
use oarmaster_protocol::journal::{About, Blob, Body, Checkpoint, Outcome, Record};
use oarmaster_protocol::request::{self, Ask};
use oarmaster_protocol::tool::OUTCOME_UNKNOWN;
use serde_json::{Value, json};

/// What stands in place of a result that never was.
const NOT_MADE: &str = "This call was not made: the task ended before it.";

/// What a follow-up is told whose conversation is about files that nobody has kept.
const NOT_HERE: &str =
    "Files that this conversation is about are not in your workspace: they were another task's.";

/// Where an attempt stopped.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Left {
    /// The model is to be asked.
    Asking,
    /// The model was asked under this number, and may be answering still.
    Asked(u64),
    /// The model had answered this, and nothing was made of it.
    Answered(Value),
    /// This tool call was being carried out; whether it had been approved, and was handed on.
    Called(Call, bool),
    /// Tool calls of the last answer are left.
    Calls,
    /// The check of this output was being made, or its outcome drawn.
    Checking(Value),
    /// It is over before it began: what the Task was to go on from is not there, or was all that there was to do.
    Over(Box<Outcome>),
}

impl Left {
    /// Whether nothing is left to do.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self, Self::Over(_))
    }
}

/// What a Task begins with of another one.
#[derive(Clone, Debug)]
pub enum Before {
    /// Its assignment and journal.
    Task(Box<Assignment>, Vec<Record>),
    /// The workspace that it hands on, or kept.
    Workspace(Vec<Blob>),
    /// It cannot be had, and why.
    Gone(String),
}

/// The records so far, folded.
pub(super) struct Fold {
    pub(super) machine: Machine,
    /// The newest model call that was made, while it has no answer.
    pub(super) asked: Option<u64>,
    /// The number of the newest model call.
    newest: Option<u64>,
    answer: Option<Value>,
    /// The text of the last answer without tool calls.
    pub(super) text: String,
    call: Option<(Call, bool)>,
    /// Whether that call was approved, and handed on.
    handed_on: bool,
    checked: bool,
    /// Whether something ran that may have left more than files: processes, `/tmp`.
    touched: bool,
}

impl Machine {
    /// The state after these records, all of the Task's up to now. An attempt that ended by what another one may end by again leaves
    /// everything; one that ended by itself leaves nothing, since the next one begins anew.
    #[must_use]
    pub fn resume(assignment: Assignment, before: Option<Before>, records: &[Record]) -> Self {
        let begin = match (before, &assignment.replay) {
            (None, _) => Self::new(assignment.clone()),
            (Some(Before::Task(theirs, journal)), None) => {
                Self::follow(assignment.clone(), *theirs, &journal)
            }
            (Some(Before::Task(theirs, journal)), Some(how)) => {
                Self::replay(&assignment, &theirs, &journal, how)
            }
            (Some(Before::Workspace(blobs)), _) => Self {
                layers: match &assignment.handed {
                    Some(_) => Layers::handed(&blobs),
                    None => Layers::taken_over(&blobs),
                },
                ..Self::new(assignment.clone())
            },
            (Some(Before::Gone(why)), _) => Self::gone_before(assignment.clone(), &why),
        };
        // What the gateway writes is no beginning of ours.
        let began = |record: &Record| {
            !matches!(
                record.body,
                Body::Opened { .. } | Body::Claimed { .. } | Body::Fenced { .. }
            )
        };
        if begin.left.as_ref().is_some_and(Left::is_over) || !records.iter().any(began) {
            return begin;
        }
        let fresh = || Self {
            begins: None,
            ..begin.clone()
        };
        if !matches!(assignment.target, Target::Agent(_)) {
            return fresh();
        }
        let mut fold = Fold::new(fresh());
        let mut before = 0;
        let mut approvals = 0;
        for record in records {
            if let Body::Asked {
                id,
                what: Ask::Approval { .. },
                ..
            } = &record.body
            {
                approvals = approvals.max(request::number(id).map_or(0, |number| number + 1));
            }
            if let Body::Result { outcome } = &record.body
                && let Some(failure) = &outcome.failure
                && failure.waits.is_none()
                && !failure.class.is_transient()
            {
                fold = Fold::new(fresh());
                fold.machine.asks_from = approvals;
                continue;
            }
            fold.take(&record.body);
            before = record.attempt;
        }
        fold.end(before)
    }

    /// A follow-up turn: the conversation of another Task, whatever its end, and then what this one is asked; its workspace, and then the files
    /// of this one.
    fn follow(assignment: Assignment, mut theirs: Assignment, journal: &[Record]) -> Self {
        let (journal, kept) = match journal.split_last() {
            Some((last, rest)) if matches!(last.body, Body::Result { .. }) => {
                (rest, last.body.checkpoint())
            }
            _ => (journal, None),
        };
        // Their output is not judged again, least of all by their schema in a process of many.
        if let Target::Agent(agent) = &mut theirs.target {
            agent.output_schema = None;
        }
        let files = std::mem::take(&mut theirs.files);
        // Those that it was handed, or began with, are a third one's.
        let others =
            theirs.handed.is_some() || theirs.workspace.from.is_some() || !theirs.placed.is_empty();
        let lacks_files = others && assignment.sandbox.is_some();
        let mut earlier = Self::resume(theirs, None, journal);
        match kept {
            // With what it stands on.
            Some(whole @ Checkpoint::Layer { .. }) => earlier.layers.add(whole),
            _ if earlier.layers.is_empty() => earlier.layers = Layers::default(),
            _ => {}
        }
        let mut machine = Self::new(assignment);
        let asked = machine.messages.split_off(1);
        if earlier.layers.is_empty() && machine.assignment.sandbox.is_some() {
            // Nothing changed the workspace: it is what their Task said.
            machine.assignment.files.splice(0..0, files);
        }
        if lacks_files && earlier.layers.is_empty() {
            machine.seam = Some(NOT_HERE.to_owned());
        }
        machine.layers = earlier.layers.clone().inherited();
        machine.messages.extend(earlier.conversation());
        machine.messages.extend(asked);
        machine
    }

    /// What was said, without the instructions, and so that every tool call has a result.
    fn conversation(mut self) -> Vec<Value> {
        match self.left.take() {
            Some(Left::Answered(response)) => {
                let answer = read(&response, self.turns);
                if !answer.text.trim().is_empty() || !answer.calls.is_empty() {
                    self.messages.push(answer.message());
                }
                self.queue.extend(answer.calls);
            }
            Some(Left::Called(call, _)) => self.queue.push_front(call),
            _ => {}
        }
        for call in std::mem::take(&mut self.queue) {
            self.observe(&call, false, NOT_MADE.to_owned());
        }
        self.messages.split_off(1)
    }

    /// The first thing that an attempt does which goes on: it says so.
    pub(super) fn begin_again(&mut self) {
        if let Some(text) = self.begins.take() {
            self.note(text);
            return;
        }
        if self.left.is_none() {
            return;
        }
        let (turns, calls) = (self.turns, self.tool_calls);
        let mut text = format!(
            "goes on where the attempt before stopped: {turns} answers and {calls} tool calls are taken over"
        );
        if !self.layers.is_empty() {
            text.push_str(", and the workspace as it was at its last checkpoint");
        }
        self.note(text);
    }

    /// What comes first, once the workspace is ready.
    pub(super) fn go_on(&mut self) -> Next {
        match self.left.take() {
            None | Some(Left::Asking) => self.ask(),
            Some(Left::Asked(call)) => {
                self.turns += 1;
                self.phase = Phase::Attaching;
                // As it was asked: what is to be told comes after the answer.
                let body = self.request();
                Next::Again { call, body }
            }
            Some(Left::Answered(response)) => self.answered(&response),
            Some(Left::Called(call, handed_on)) => self.call_again(call, handed_on),
            Some(Left::Calls) => self.next_call(),
            Some(Left::Checking(output)) => self.accept(output),
            Some(Left::Over(outcome)) => self.over(*outcome),
        }
    }

    /// What the Task was to go on from is not there, which another attempt does not change.
    fn gone_before(assignment: Assignment, why: &str) -> Self {
        let message = if assignment.replay.is_some() {
            format!("replay: {why}")
        } else if assignment.handed.is_some() {
            format!("the files that it was to be handed are not there: {why}")
        } else if assignment.workspace.from.is_some() {
            format!("workspace.from: {why}")
        } else {
            format!("continueFrom: {why}; create a Task that begins anew")
        };
        let outcome = Outcome {
            failure: Some(failure(FailureClass::InvalidInput, &message)),
            ..Outcome::default()
        };
        let mut machine = Self::new(assignment);
        machine.left = Some(Left::Over(Box::new(outcome)));
        machine
    }

    fn call_again(&mut self, call: Call, handed_on: bool) -> Next {
        match self.possible(&call) {
            // People approved one call, and what it did with others cannot be taken back.
            Ok(Planned::Ask(_)) if handed_on => self.unknown(&call),
            Ok(Planned::Do(Work::Exec(Request::Run(_)))) if self.sandbox.has_port() => {
                self.unknown(&call)
            }
            Ok(Planned::Do(Work::Serve(serve))) if serve.once => self.unknown(&call),
            // The same request: it may be answered by now.
            Ok(Planned::Ask(ask)) => self.ask_for(call, ask),
            Ok(Planned::Do(work)) => {
                self.note(format!(
                    "the call {} was being carried out, and is made again",
                    call.id
                ));
                self.carry_out(call, work)
            }
            Err(problem) => {
                self.observe(&call, false, problem);
                self.next_call()
            }
        }
    }

    fn unknown(&mut self, call: &Call) -> Next {
        self.observe(call, false, OUTCOME_UNKNOWN.to_owned());
        self.next_call()
    }

    /// The call that an attempt before made cannot be had: it is booked, and the model is asked anew.
    pub(super) fn not_attached(&mut self, code: &str, message: &str) -> Next {
        match code {
            "in_doubt" | "diverged" => {
                self.tell_the_seam();
                self.phase = Phase::Asking {
                    again: code == "in_doubt",
                };
                Next::Model(self.request())
            }
            _ => self.model_failed(true, code, message),
        }
    }

    /// Tells the model what it cannot see: that its sandbox is another one.
    pub(super) fn tell_the_seam(&mut self) {
        if let Some(text) = self.seam.take() {
            self.tell(About::Seam, text);
        }
    }
}

impl Fold {
    pub(super) fn new(machine: Machine) -> Self {
        Self {
            machine,
            asked: None,
            newest: None,
            answer: None,
            text: String::new(),
            call: None,
            handed_on: false,
            checked: false,
            touched: false,
        }
    }

    pub(super) fn take(&mut self, body: &Body) {
        if let Some(checkpoint) = body.checkpoint() {
            self.machine.layers.add(checkpoint);
        }
        match body {
            // A program's has no digest, and is nobody's to ask for again.
            Body::Open { call, digest, .. } if !digest.is_empty() => {
                self.settle();
                self.asked = Some(*call);
                self.newest = Some(*call);
            }
            Body::CallFailed { call, .. } if self.asked == Some(*call) => self.asked = None,
            // The answer to a call that was given up comes too late.
            Body::Answer {
                call,
                message,
                finish_reason,
                usage,
                ..
            } if self.newest == Some(*call) => {
                self.asked = None;
                self.machine.turns += 1;
                self.machine.measured(usage.input_tokens);
                self.answer = Some(
                    json!({"choices": [{"message": message, "finish_reason": finish_reason}]}),
                );
            }
            Body::ToolIntent { id, .. } if self.is_open(id) => self.handed_on = true,
            Body::ToolIntent { id, .. } => {
                self.settle();
                self.handed_on = false;
                self.machine.tool_calls += 1;
                self.call = self.begun(id);
            }
            Body::ToolResult { text, heard, .. } => {
                self.machine.hear(*heard);
                if let Some((call, ran)) = self.call.take() {
                    if ran {
                        let may_change = self.machine.may_change(&call);
                        let here = Tool::from_name(&call.name).is_some();
                        self.touched |=
                            may_change && (here || AskTool::from_name(&call.name).is_some());
                        self.machine.repeats.ran(&call, may_change, text);
                    }
                    self.machine.show_result(&call, text);
                }
            }
            Body::Observation { about, text } => {
                self.settle();
                self.checked = false;
                match about {
                    About::Repair => self.machine.unusable += 1,
                    About::Check => self.machine.unusable = 0,
                    About::Seam => self.machine.seam = None,
                    About::Tools => {}
                }
                self.machine.tell(*about, text.clone());
            }
            Body::Tools { offer } => self.machine.offer = Some(offer.clone()),
            Body::Dropped { texts } => {
                self.settle();
                self.machine.drop_texts(texts);
            }
            Body::Judged { round, score, .. } => {
                self.settle();
                self.machine.unusable = 0;
                self.machine.rounds = *round;
                self.checked = true;
                if let Ok((output, _)) = self.machine.output_of(&self.text) {
                    self.machine.remember(*score, &output);
                }
            }
            Body::Check { round, .. } => {
                self.settle();
                self.machine.unusable = 0;
                self.machine.rounds = *round;
                self.checked = true;
            }
            _ => {}
        }
    }

    fn is_open(&self, id: &str) -> bool {
        self.call.as_ref().is_some_and(|(call, _)| call.id == id)
    }

    /// The call with this id, and whether it is one that is carried out.
    fn begun(&mut self, id: &str) -> Option<(Call, bool)> {
        let machine = &mut self.machine;
        while let Some(call) = machine.queue.pop_front() {
            if call.id != id {
                continue;
            }
            let runs = machine.possible(&call).is_ok()
                && machine.repeats.judge(&call, machine.turns) == Verdict::Run;
            return Some((call, runs));
        }
        None
    }

    /// Something was made of the last answer: it is a part of the conversation.
    pub(super) fn settle(&mut self) {
        let Some(response) = self.answer.take() else {
            return;
        };
        let machine = &mut self.machine;
        let answer: Answer = read(&response, machine.turns);
        self.checked = false;
        if answer.calls.is_empty() {
            // A model that only thought has said nothing.
            if !answer.text.trim().is_empty() {
                machine.messages.push(answer.message());
            }
            self.text = answer.text;
            return;
        }
        machine.messages.push(answer.message());
        let broken = answer
            .calls
            .iter()
            .all(|call| machine.possible(call).is_err());
        machine.unusable = if broken { machine.unusable + 1 } else { 0 };
        machine.queue.extend(answer.calls);
    }

    pub(super) fn end(mut self, attempt: u32) -> Machine {
        // Calls that were left when the model was asked again are none: a newer rule may have dropped them.
        let left = if let Some(response) = self.answer {
            Left::Answered(response)
        } else if let Some((call, _)) = self.call {
            Left::Called(call, self.handed_on)
        } else if !self.machine.queue.is_empty() {
            Left::Calls
        } else if self.checked
            && let Ok((output, _)) = self.machine.output_of(&self.text)
        {
            self.machine.rounds = self.machine.rounds.saturating_sub(1);
            Left::Checking(output)
        } else if let Some(call) = self.asked {
            Left::Asked(call)
        } else {
            Left::Asking
        };
        let mut machine = self.machine;
        machine.records.clear(); // they stand in the journal
        // One more would end the attempt, which the attempt before was kept from saying.
        machine.unusable = machine.unusable.min(MAX_UNUSABLE - 1);
        let nothing = left == Left::Asking && machine.turns == 0;
        if nothing {
            return machine;
        }
        if self.touched && machine.assignment.sandbox.is_some() {
            machine.seam = Some(seam(machine.layers.is_behind(), attempt));
        }
        machine.left = Some(left);
        machine
    }
}

fn seam(behind: bool, attempt: u32) -> String {
    let mut text = format!(
        "You were interrupted (attempt {attempt}), and go on in a new sandbox. Its processes, its environment and its files outside of the workspace are not those of before. "
    );
    text.push_str(if behind {
        "The workspace is as it was some tool calls ago: the last changes could not be kept and are lost. Look at what is there before you go on."
    } else {
        "The workspace is as your last finished tool call left it."
    });
    text
}
