//! What decides an outcome: the program of a `run`, and the check.

use super::super::show;
use super::{Machine, Next, Phase, failure};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::assignment::{Accept, Program, Sandbox, Target};
use oarmaster_protocol::exec::{FailedCode, Ran, Request, Response, Run, Stopped};
use oarmaster_protocol::journal::{About, Body, Failure, Outcome};
use oarmaster_protocol::text;
use serde_json::Value;
use std::collections::BTreeMap;

/// Characters of a check's command that a message repeats: a check can be a program of its own.
const MAX_COMMAND: usize = 80;

impl Machine {
    pub(super) fn ran(&mut self, response: Response) -> Next {
        let ran = match response {
            Response::Ran(ran) => ran,
            Response::Failed(failed) => {
                let class = match failed.code {
                    FailedCode::InvalidRequest | FailedCode::TooLarge => FailureClass::InvalidInput,
                    FailedCode::NotConfined => FailureClass::IsolationUnproven,
                    _ => FailureClass::StartFailed,
                };
                return self.fail(class, &failed.message);
            }
            _ => return self.fail(FailureClass::Internal, "exec did not answer the run"),
        };
        let (output, replaced) = show::run_output(&ran);
        for what in replaced {
            self.note(what);
        }
        let output = serde_json::to_value(output).unwrap_or_default();
        match run_failure(&ran, &self.sandbox) {
            Some(failure) => self.keep(Outcome {
                failure: Some(failure),
                output: Some(output),
                ..Outcome::default()
            }),
            None => self.accept(output),
        }
    }

    /// An output that is complete: the check decides, where there is one.
    pub(super) fn accept(&mut self, output: Value) -> Next {
        let Some(Accept { command, .. }) = &self.assignment.accept else {
            return self.succeed(output);
        };
        if command.is_empty() {
            self.rounds += 1;
            return self.judge(output);
        }
        let run = Run {
            program: Program::Command(command.clone()),
            env: BTreeMap::new(),
            timeout_ms: None,
            disk_bytes: None,
        };
        self.exec(Phase::Checking(output), Request::Run(run))
    }

    pub(super) fn checked(&mut self, output: Value, response: &Response) -> Next {
        match response {
            Response::Ran(ran) => {
                let text = show::ran_text(ran, &self.sandbox);
                self.check_ended(output, Some(ran), text)
            }
            other => {
                let (_, text) = show::show(other, &self.sandbox);
                self.check_ended(output, None, text)
            }
        }
    }

    /// Without a `ran` the check gave no verdict, which never accepts.
    pub(super) fn check_ended(&mut self, output: Value, ran: Option<&Ran>, text: String) -> Next {
        let Some(accept) = self.assignment.accept.clone() else {
            return self.succeed(output);
        };
        self.rounds += 1;
        let exit_code = ran
            .filter(|ran| ran.stopped.is_none())
            .and_then(|ran| ran.exit_code);
        let accepted = exit_code == Some(accept.exit_code);
        self.records.push(Body::Check {
            round: self.rounds,
            accepted,
            exit_code,
            text: text.clone(),
            checkpoint: self.layers.taken(),
        });
        if accepted {
            return self.judge(output);
        }
        let is_agent = matches!(self.assignment.target, Target::Agent(_));
        if is_agent && self.rounds < accept.rounds {
            let observation = format!(
                "The check of your answer, `{}`, did not accept it (round {} of {}). It must end with exit code {}; it ended so:\n{text}\n\nRepair the cause, then answer again.",
                accept.command.join(" "),
                self.rounds,
                accept.rounds,
                accept.exit_code
            );
            return self.say(About::Check, observation);
        }
        if let Some(best) = self.best.take() {
            return self.succeed(best.output);
        }
        let ending = ran.map_or_else(|| text.clone(), |ran| show::ending(ran, &self.sandbox));
        let last = ran
            .map(|ran| show::last_lines(ran, 400))
            .unwrap_or_default();
        let command = accept.command.join(" ").replace('\n', " ");
        let message = format!(
            "the check `{}` did not accept ({} of {} rounds): {ending}{}{last}",
            text::shorten(&command, MAX_COMMAND),
            self.rounds,
            if is_agent { accept.rounds } else { 1 },
            if last.is_empty() { "" } else { ": " }
        );
        self.keep(Outcome {
            failure: Some(failure(FailureClass::NotAccepted, &message)),
            output: Some(output),
            ..Outcome::default()
        })
    }
}

/// Why the program of a `run` failed; `None` after exit code 0.
fn run_failure(ran: &Ran, sandbox: &Sandbox) -> Option<Failure> {
    if show::succeeded(ran) {
        return None;
    }
    let class = match ran.stopped {
        Some(Stopped::Timeout) => FailureClass::Timeout,
        Some(Stopped::OutOfMemory) => FailureClass::OutOfMemory,
        Some(Stopped::TooManyProcesses | Stopped::DiskFull) | None => FailureClass::ToolFailed,
    };
    let last = show::last_lines(ran, 400);
    let colon = if last.is_empty() { "" } else { ": " };
    Some(failure(
        class,
        &format!(
            "the program failed: {}{colon}{last}",
            show::ending(ran, sandbox)
        ),
    ))
}
