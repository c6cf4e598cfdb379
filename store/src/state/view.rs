//! What is shown of the state.

use super::{State, Task};
use crate::Refusal;
use oarmaster_protocol::admin::{AttemptReport, OpenAttemptRef, TaskUsage};

/// Longest line of findings, in characters.
const MAX_LINE: usize = 1024;

impl State {
    /// What is known of an attempt.
    pub fn report(&self, uid: &str, attempt: u32) -> Result<AttemptReport, Refusal> {
        let (task, found) = self.attempt(uid, attempt)?;
        Ok(AttemptReport {
            task: task.task.clone(),
            attempt,
            assignment: found.digest.clone(),
            pinned: found.pinned.clone(),
            runs_in: found.runs_in.clone(),
            opened_at_ms: found.opened_ms,
            claimed_at_ms: found.claimed_ms,
            fenced: found.fenced,
            over: found.over.clone(),
            isolated: found.isolated.clone(),
            outcome: found.outcome.clone(),
            usage: task.usage(),
            below: TaskUsage {
                calls: task.below.calls,
                sum: task.below.sum,
                reserved_pico: task.below.reserved.pico,
                models: task.below.models.clone(),
                ..TaskUsage::default()
            },
            score: found.score,
            requests: task.open_requests(),
            next: task.next(),
        })
    }

    /// The attempts that are neither fenced nor ended, with what a reader of them depends on.
    pub fn open_attempts(&self) -> (Vec<OpenAttemptRef>, u64) {
        let mut depends = 0;
        let mut open = Vec::new();
        for task in self.tasks.values() {
            depends = depends.max(task.depends);
            let attempts = task.attempts.iter().filter(|(_, found)| found.is_open());
            open.extend(attempts.map(|(attempt, _)| OpenAttemptRef {
                task: task.task.clone(),
                attempt: *attempt,
            }));
        }
        (open, depends)
    }
}

impl Task {
    /// What it has used so far.
    pub fn usage(&self) -> TaskUsage {
        TaskUsage {
            requested_by: self.requested_by.clone(),
            calls: self.answers,
            sum: self.sum,
            reserved_pico: self.reserved.pico,
            tool_calls: self.tool_calls,
            models: self.models.clone(),
        }
    }
}

/// Findings as one line of bounded length.
pub fn one_line(findings: &[String]) -> String {
    findings
        .join("; ")
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_LINE)
        .collect()
}
