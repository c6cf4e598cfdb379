//! What must be proven before untrusted code runs: the sandbox, always, and the pod's NetworkPolicy, where the class demands it.

use super::super::tools::Tool;
use super::{After, Held, Machine, Next, Phase, RESTARTED};
use crate::languages::{LANGUAGES, Language};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::assignment::Target;
use oarmaster_protocol::exec::{Request, Response};
use oarmaster_protocol::journal::Body;
use oarmaster_protocol::probe::NetworkFindings;

impl Machine {
    pub(super) fn probe(&mut self, after: After) -> Next {
        self.exec(Phase::Probing(after), Request::Probe)
    }

    pub(super) fn probed(&mut self, after: After, response: Response) -> Next {
        let (proven, findings, languages) = match response {
            Response::Probed {
                proven,
                findings,
                languages,
            } => (proven, findings, languages),
            Response::Failed(failed) => (false, vec![failed.message], Vec::new()),
            _ => {
                let nothing = "exec did not answer the probe".to_owned();
                (false, vec![nothing], Vec::new())
            }
        };
        let first = findings.first().cloned().unwrap_or_default();
        self.findings = findings;
        if !proven {
            self.record_isolation(false);
            return self.finish_now(
                FailureClass::IsolationUnproven,
                &format!(
                    "the sandbox could not prove that it is isolated, so nothing was run: {first}"
                ),
            );
        }
        // One half of what is demanded is no proof: it is recorded with the other.
        if !self.awaits_network() {
            self.record_isolation(true);
        }
        if let Some(missing) = self.missing(&languages) {
            return self.finish_now(FailureClass::StartFailed, &missing);
        }
        match after {
            After::Place(index) => self.place(index),
            After::Restore => self.restore(),
            After::TakeOver(taken) => self.take_over(*taken),
            After::Call(call) => self.call_ended(&call, false, RESTARTED.to_owned()),
            After::Check(output) => self.check_ended(output, None, RESTARTED.to_owned()),
            After::Again(held) => self.exec(held.phase, held.request),
        }
    }

    /// What the image lacks for the Agent's tools: it is told before the first model call is paid.
    fn missing(&self, languages: &[String]) -> Option<String> {
        let Target::Agent(agent) = &self.assignment.target else {
            return None; // the program of a `run` is started at once, and says it itself
        };
        let has = |tool: Tool| agent.tools.iter().any(|name| name == tool.name());
        let what = if has(Tool::Shell) && !languages.iter().any(|name| name == "shell") {
            "sh, which the Agent's tool Shell needs".to_owned()
        } else if has(Tool::RunCode) && languages.is_empty() {
            let mut programs: Vec<String> = LANGUAGES.iter().map(Language::needs).collect();
            programs.dedup();
            let programs = programs.join(", ");
            format!("interpreter for the Agent's tool RunCode ({programs})")
        } else {
            return None;
        };
        Some(format!(
            "the sandbox image has no {what}; choose an image that has it, or take the tool from the Agent"
        ))
    }

    /// Takes over what was found of a NetworkPolicy that nobody demands: it is recorded with the next step.
    pub fn learn(&mut self, found: NetworkFindings) {
        self.network = Some(found);
        if !self.findings.is_empty() {
            self.record_isolation(true);
        }
    }

    /// Whether a request of this phase has to wait for the NetworkPolicy: what the model or the Task asks for does, also by what a server
    /// sends; files are only written down.
    pub(super) fn holds(&self, phase: &Phase) -> bool {
        self.awaits_network()
            && matches!(
                phase,
                Phase::Fetching(..)
                    | Phase::Calling(_)
                    | Phase::Editing(..)
                    | Phase::Running
                    | Phase::Checking(_)
            )
    }

    fn awaits_network(&self) -> bool {
        self.sandbox.network_policy_within_ms.is_some() && self.network.is_none()
    }

    /// The NetworkPolicy was proven, or could not be in the time it has.
    pub(super) fn policed(&mut self, held: Held, found: NetworkFindings) -> Next {
        let enforced = found.enforced();
        let sentence = found.sentence();
        self.network = Some(found);
        self.record_isolation(enforced);
        if !enforced {
            return self.finish_now(
                FailureClass::IsolationUnproven,
                &format!(
                    "the NetworkPolicy must be enforced, since the class demands it or the sandbox has egress or a pool, and it is not, so nothing was run: the pod {sentence}"
                ),
            );
        }
        let Held { phase, request } = held;
        self.exec(phase, request)
    }

    fn record_isolation(&mut self, proven: bool) {
        let mut findings = Vec::new();
        if let Some(found) = &self.network {
            let verdict = if found.enforced() {
                "enforced"
            } else {
                "not enforced"
            };
            findings.push(format!(
                "network policy {verdict}: the pod {}",
                found.sentence()
            ));
        }
        findings.extend(self.findings.iter().cloned());
        self.records.push(Body::Isolation { proven, findings });
    }
}
