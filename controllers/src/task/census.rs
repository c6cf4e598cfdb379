//! The Tasks of a namespace by the agent that ran them: how the last ones ended. And what a status says of its agent and its place. Pure.

use oarmaster_crds::kinds::task::Phase;
use oarmaster_crds::{Task, TaskStatus, Usd, conditions};
use std::collections::{BTreeMap, BTreeSet};

/// How many of an agent's ended Tasks count.
const NEWEST: usize = 50;

/// What the Tasks of a namespace say of its agents.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Of each agent when its Tasks ended, their UIDs, whether they are Complete, and what they cost in pico-USD.
    agents: BTreeMap<String, BTreeSet<(jiff::Timestamp, String, bool, u64)>>,
}

/// How the newest Tasks of an agent ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// How many ended as Complete or Failed, at most 50.
    pub ended: u64,
    /// How many of these are Complete.
    pub complete: u64,
    /// What they cost together, in pico-USD.
    pub cost: u64,
}

impl Census {
    /// Counts.
    pub fn of<'a>(tasks: impl Iterator<Item = &'a Task>) -> Self {
        let mut census = Self::default();
        for task in tasks {
            let uid = task.metadata.uid.as_deref().unwrap_or_default();
            let status = task.status.as_ref().filter(|status| is_ended(status));
            let ended = status.and_then(|status| Some((agent(status)?, end(status, uid)?)));
            let Some((agent, end)) = ended else {
                continue;
            };
            let held = census.agents.entry(agent.to_owned()).or_default();
            held.insert(end);
            if held.len() > NEWEST {
                held.pop_first();
            }
        }
        census
    }

    /// How its last Tasks ended.
    #[must_use]
    pub fn past(&self, agent: &str) -> Past {
        let mut past = Past::default();
        for (_, _, complete, cost) in self.agents.get(agent).into_iter().flatten() {
            past.ended += 1;
            past.complete += u64::from(*complete);
            past.cost = past.cost.saturating_add(*cost);
        }
        past
    }
}

/// Whether a Task has ended.
#[must_use]
pub fn has_ended(task: &Task) -> bool {
    task.status.as_ref().is_some_and(is_ended)
}

fn is_ended(status: &TaskStatus) -> bool {
    conditions::is_true(&status.conditions, conditions::FINISHED)
}

/// The agent that is pinned.
#[must_use]
pub fn agent(status: &TaskStatus) -> Option<&str> {
    status.pinned.as_ref()?.agent.split('@').next()
}

/// The newest attempt, 0 before the first.
#[must_use]
pub fn attempt(status: Option<&TaskStatus>) -> u32 {
    let number = status.and_then(|status| status.attempt).unwrap_or(0);
    u32::try_from(number).unwrap_or(0)
}

/// Whether a Task has a live attempt: one was written down, and none is waited for.
#[must_use]
pub fn holds_a_place(status: &TaskStatus) -> bool {
    attempt(Some(status)) > 0 && status.next_attempt_at.is_none() && !is_ended(status)
}

/// How it ended, if that says something of its agent: a cancelled one does not.
fn end(status: &TaskStatus, uid: &str) -> Option<(jiff::Timestamp, String, bool, u64)> {
    let complete = match status.phase {
        Some(Phase::Succeeded) => true,
        Some(Phase::Failed) => false,
        _ => return None,
    };
    let usage = status.usage.as_ref();
    let cost = usage.map_or(0, |usage| Usd(usage.usd.clone()).pico().unwrap_or(0));
    let at = status.finished_at.as_ref()?.0;
    Some((at, uid.to_owned(), complete, cost))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ended(index: u32, phase: &str, usd: &str) -> Task {
        serde_json::from_value(json!({
            "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task",
            "metadata": { "name": "t", "namespace": "team", "uid": format!("uid-{index}") },
            "spec": {},
            "status": {
                "attempt": 1, "phase": phase, "pinned": { "agent": "coder@sha256:0" },
                "finishedAt": jiff::Timestamp::from_second(i64::from(index)).unwrap().to_string(),
                "usage": { "usd": usd },
                "conditions": [{ "type": "Finished", "status": "True", "reason": "X", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" }],
            },
        }))
        .unwrap()
    }

    #[test]
    fn the_newest_fifty_that_were_not_cancelled_count() {
        let mut tasks: Vec<Task> = (0..60)
            .map(|index| {
                let phase = if index < 20 { "Failed" } else { "Succeeded" };
                ended(index, phase, "0.01")
            })
            .collect();
        tasks.extend((60..70).map(|index| ended(index, "Cancelled", "9")));
        let expected = Past {
            ended: 50,
            complete: 40,
            cost: 500_000_000_000,
        };
        assert_eq!(Census::of(tasks.iter()).past("coder"), expected);
        assert_eq!(Census::of(tasks.iter().rev()).past("coder"), expected);
        assert_eq!(Census::of(tasks.iter()).past("other"), Past::default());
    }
}
