//! Requests to the operator: another agent's work, people's leave, people's answers. The attempt waits a while for an answer; after that
//! it ends, and the Task waits without a pod.

use super::super::answer::Call;
use super::super::asks::{self, AskTool};
use super::{Machine, Next, Phase, failure};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::journal::{Body, Failure, Outcome};
use oarmaster_protocol::request::{Answer, Ask, MAX_ASK_BYTES, Waits};
use serde_json::Value;

/// A request that is not answered yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    id: String,
    what: Ask,
    then: Then,
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
            Some(tool) => Some(tool.ask(&call.arguments, &agent.delegates)?),
            None if agent.approvals.contains(&call.name) => Some(Ask::Approval {
                tool: call.name.clone(),
                arguments: call.arguments.clone(),
            }),
            None => None,
        };
        let size = |ask: &Ask| serde_json::to_vec(ask).map_or(usize::MAX, |text| text.len());
        match ask {
            Some(ask) if size(&ask) > MAX_ASK_BYTES => Err(format!(
                "The arguments of {} are larger than {MAX_ASK_BYTES} bytes, which is more than can be handed on. Make them smaller.",
                call.name
            )),
            ask => Ok(ask),
        }
    }

    /// Asks for what a tool call needs.
    pub(super) fn ask_for(&mut self, call: Call, what: Ask) -> Next {
        self.write_down(what, Then::Call(call))
    }

    /// Asks the judge for its judgement of an output.
    pub(super) fn ask_judge(&mut self, what: Ask, output: Value) -> Next {
        self.write_down(what, Then::Output(output))
    }

    /// Writes the request down and waits for its answer.
    fn write_down(&mut self, what: Ask, then: Then) -> Next {
        let id = what.id(self.tool_calls);
        self.records.push(Body::Asked {
            id: id.clone(),
            what: what.clone(),
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
        self.call_ended(&call, ok, text)
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
            output: None,
            artifacts: Vec::new(),
        })
    }
}
