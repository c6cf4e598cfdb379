//! Requests to the operator: another agent's work, people's leave, people's answers. The attempt waits a while for an answer; after that
//! it ends, and the Task waits without a pod.

use super::super::answer::Call;
use super::super::asks::{self, AskTool, Means};
use super::{Machine, Next, Phase, Save, Saved, failure};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::journal::{Blob, Body, Checkpoint, Failure, Outcome};
use oarmaster_protocol::request::{Answer, Ask, MAX_ASK_BYTES, Waits};
use serde_json::Value;

/// A request that is not answered yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    id: String,
    what: Ask,
    then: Then,
}

/// Files that another agent left are being taken over.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TakenOver {
    /// The call that gave it work.
    call: Call,
    /// What the model is shown of its answer.
    text: String,
    /// What it left.
    blobs: Vec<Blob>,
    /// Why it cannot be had: what was there before is put back.
    failed: Option<String>,
}

/// What an answer is for.
#[derive(Clone, Debug, PartialEq)]
enum Then {
    /// This tool call.
    Call(Call),
    /// Whether this output is accepted.
    Output(Value),
}

impl Machine {
    /// What requests are made with.
    pub(super) fn means(&self) -> Means {
        Means {
            agents: self
                .agent()
                .map(|agent| agent.delegates.clone())
                .unwrap_or_default(),
            workspace: self.assignment.sandbox.as_ref().map(|_| self.layers.all()),
        }
    }

    pub(super) fn take_over(&mut self, taken: TakenOver) -> Next {
        let blobs = match taken.failed {
            None => taken.blobs.clone(),
            Some(_) => self.layers.all(),
        };
        self.phase = Phase::TakingOver(Box::new(taken));
        Next::Restore(blobs)
    }

    /// The tools that are requests, as the model may call them.
    pub(super) fn ask_tools(&self) -> Vec<AskTool> {
        let names = self.agent().map(|agent| agent.tools.as_slice());
        let names = names.unwrap_or_default().iter();
        names.filter_map(|name| AskTool::from_name(name)).collect()
    }

    /// The request that a tool call is, or that it needs before it is run.
    ///
    /// # Errors
    /// A sentence that tells the model why it cannot be asked for.
    pub(super) fn asks(&self, call: &Call) -> Result<Option<Ask>, String> {
        let Some(agent) = self.agent() else {
            return Ok(None);
        };
        let ask = match AskTool::from_name(&call.name) {
            Some(tool) => Some(tool.ask(&call.arguments, &self.means())?),
            None if agent.approvals.contains(&call.name) => Some(Ask::Approval {
                tool: call.name.clone(),
                arguments: call.arguments.clone(),
            }),
            None => None,
        };
        match ask {
            Some(ask) if ask.is_too_large() => Err(format!(
                "The arguments of {} are more than can be handed on: at most {MAX_ASK_BYTES} bytes, and less where characters are in them that people cannot see. Make them smaller.",
                call.name
            )),
            ask => Ok(ask),
        }
    }

    /// Asks for what a tool call needs. The workspace that is handed on is kept before it is asked for.
    pub(super) fn ask_for(&mut self, call: Call, what: Ask) -> Next {
        if what.handed().is_some() && !self.layers.are_whole() {
            self.phase = Phase::Handing(call);
            return Next::Save(Save { base: true });
        }
        self.write_down(what, Then::Call(call))
    }

    /// The workspace that this call hands on is kept, or could not be.
    pub(super) fn handed_on(&mut self, call: Call, saved: Saved) -> Next {
        let problem = match &saved {
            Saved::Failed(why) => Some(format!(
                "Your files could not be kept, and so not be handed on: {why}"
            )),
            Saved::Same | Saved::Taken { .. } => None,
        };
        self.saved(saved);
        match problem.map_or_else(|| self.asks(&call), Err) {
            Ok(Some(what)) => self.write_down(what, Then::Call(call)),
            Ok(None) => self.call_ended(&call, false, "There is nothing to ask for.".to_owned()),
            Err(problem) => self.call_ended(&call, false, problem),
        }
    }

    /// What another agent left is put into the workspace, and kept as this Task's.
    pub(super) fn took_over(&mut self, taken: TakenOver, restored: Result<(), String>) -> Next {
        match (restored, &taken.failed) {
            (Ok(()), None) => {
                self.phase = Phase::TakingOver(Box::new(taken));
                Next::Save(Save { base: true })
            }
            (Ok(()), Some(why)) => {
                let text = format!(
                    "What the other agent left could not be taken over: {why}\n[Your files are as they were.]"
                );
                self.call_ended(&taken.call, false, text)
            }
            (Err(why), None) => self.take_over(TakenOver {
                failed: Some(why),
                ..taken
            }),
            (Err(why), Some(_)) => self.finish_now(
                FailureClass::StateRegressed,
                &format!("the workspace could not be put back: {why}"),
            ),
        }
    }

    /// What another agent left is kept, or could not be.
    pub(super) fn kept_over(&mut self, taken: TakenOver, saved: Saved) -> Next {
        let mut text = taken.text;
        if let Saved::Failed(why) = &saved {
            text.push_str(&format!(
                "\n[They could not be kept, so that they are lost if you are interrupted: {why}]"
            ));
        }
        self.saved(saved);
        self.call_ended(&taken.call, true, text)
    }

    /// Asks the judge for its judgement of an output.
    pub(super) fn ask_judge(&mut self, what: Ask, output: Value) -> Next {
        self.write_down(what, Then::Output(output))
    }

    /// Writes the request down and waits for its answer.
    fn write_down(&mut self, what: Ask, then: Then) -> Next {
        // Who begins anew is given another agent's answer again, but leave was given for one run of the call.
        let number = match what {
            Ask::Approval { .. } => self.asks_from.saturating_add(self.tool_calls),
            Ask::Delegate { .. } | Ask::Judge { .. } | Ask::Question { .. } => self.tool_calls,
        };
        let id = what.id(number);
        self.records.push(Body::Asked {
            id: id.clone(),
            what: what.clone(),
            checkpoint: self.layers.taken(),
        });
        let asked = Asked {
            id: id.clone(),
            what,
            then,
        };
        self.phase = Phase::Awaiting(Box::new(asked));
        Next::Await { id }
    }

    /// The answer is there.
    pub(super) fn replied(&mut self, asked: Asked, answer: &Answer) -> Next {
        let Asked { what, then, .. } = asked;
        let call = match then {
            Then::Call(call) => call,
            Then::Output(output) => return self.judged(output, answer),
        };
        if matches!(what, Ask::Approval { .. }) && answer.ok {
            return match self.planned(&call) {
                Ok(work) => {
                    // Written down once more: from here on it is not made again, whoever goes on.
                    self.intend(&call);
                    self.carry_out(call, work.once())
                }
                Err(problem) => self.call_ended(&call, false, problem),
            };
        }
        let (ok, text) = asks::shown(&what, answer);
        match &answer.workspace {
            Some(Checkpoint::Layer { blobs, .. }) if ok => self.take_over(TakenOver {
                call,
                text,
                blobs: blobs.clone(),
                failed: None,
            }),
            _ => self.call_ended(&call, ok, text),
        }
    }

    /// There is none yet. Whoever goes on finds the call's intent, the request and its answer in the journal.
    pub(super) fn park(&mut self, asked: Asked) -> Next {
        let Asked { id, what, .. } = asked;
        let (class, message) = match &what {
            Ask::Delegate { agent, .. } | Ask::Judge { agent, .. } => (
                FailureClass::StepFailed,
                format!("waits for the agent {agent}"),
            ),
            Ask::Approval { tool, .. } => (
                FailureClass::ApprovalTimeout,
                format!("waits for approval of a call of {tool}"),
            ),
            Ask::Question { .. } => (
                FailureClass::ApprovalTimeout,
                "waits for people's answer to a question".to_owned(),
            ),
        };
        self.phase = Phase::Ended;
        Next::Finish(Outcome {
            failure: Some(Failure {
                waits: Some(Waits::Request { id }),
                ..failure(class, &message)
            }),
            ..Outcome::default()
        })
    }
}
