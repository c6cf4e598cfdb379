//! What Tasks of Agents took before: for the estimate of a plan. Pure.

use crate::task::census;
use jiff::Timestamp;
use oarmaster_crds::kinds::task::Phase;
use oarmaster_crds::{Task, TaskStatus, Usd};
use oarmaster_workflow::estimate::{Past, Range};
use std::collections::{BTreeMap, BTreeSet};

/// How many of an agent's Tasks count.
const NEWEST: usize = 50;

/// When a Task ended, its UID, and what it took.
type Ended<'a> = (Timestamp, &'a str, [u64; 3]);

/// What the newest Tasks took that are Complete, of each of these agents.
pub(super) fn history<'a>(
    tasks: impl Iterator<Item = &'a Task>,
    agents: &[String],
) -> BTreeMap<String, Past> {
    let mut ended: BTreeMap<&str, BTreeSet<Ended<'_>>> = BTreeMap::new();
    for task in tasks {
        let uid = task.metadata.uid.as_deref().unwrap_or_default();
        let status = task.status.as_ref();
        let agent = status.and_then(census::agent);
        let named = agents.iter().find(|name| Some(name.as_str()) == agent);
        if let (Some(name), Some((at, took))) = (named, status.and_then(took)) {
            let held = ended.entry(name).or_default();
            held.insert((at, uid, took));
            if held.len() > NEWEST {
                held.pop_first();
            }
        }
    }
    let past = ended.into_iter().map(|(name, held)| {
        let range = |nth: usize| {
            let all = || {
                held.iter()
                    .filter_map(|(_, _, took)| took.get(nth).copied())
            };
            Range::new(all().min().unwrap_or(0), all().max().unwrap_or(0))
        };
        let past = Past {
            tasks: u64::try_from(held.len()).unwrap_or(u64::MAX),
            tokens: range(0),
            pico: range(1),
            seconds: range(2),
        };
        (name.to_owned(), past)
    });
    past.collect()
}

/// When a Task was Complete, and its tokens, its money in pico-USD and its running time in seconds.
fn took(status: &TaskStatus) -> Option<(Timestamp, [u64; 3])> {
    if status.phase != Some(Phase::Succeeded) {
        return None;
    }
    let at = status.finished_at.as_ref()?.0;
    let usage = status.usage.as_ref();
    let tokens = usage.map_or(0, |usage| usage.total_tokens);
    let pico = usage.map_or(0, |usage| Usd(usage.usd.clone()).pico().unwrap_or(0));
    let ran = status.ran_for.as_ref().and_then(|ran| ran.get().ok());
    // What took no whole second took one.
    let seconds = ran.map_or(0, |ran| ran.as_secs()).max(1);
    Some((at, [u64::try_from(tokens).unwrap_or(0), pico, seconds]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ended(index: u64, agent: &str, phase: &str, tokens: u64, ran: &str) -> Task {
        let at = Timestamp::from_second(i64::try_from(index).unwrap()).unwrap();
        serde_json::from_value(json!({
            "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task",
            "metadata": { "name": "t", "namespace": "team", "uid": format!("uid-{index}") },
            "spec": {},
            "status": {
                "attempt": 1, "phase": phase, "pinned": { "agent": format!("{agent}@sha256:0") },
                "finishedAt": at.to_string(), "ranFor": ran,
                "usage": { "usd": format!("0.{tokens:03}"), "totalTokens": tokens },
            },
        }))
        .unwrap()
    }

    #[test]
    fn the_newest_fifty_that_are_complete_count_from_the_least_to_the_most() {
        let mut tasks: Vec<Task> = (0..60)
            .map(|index| ended(index, "coder", "Succeeded", 100 + index, "90s"))
            .collect();
        tasks.push(ended(70, "coder", "Failed", 999, "1h"));
        tasks.push(ended(71, "other", "Succeeded", 999, "1h"));
        tasks.push(ended(72, "coder", "Succeeded", 120, "100ms"));
        let agents = ["coder".to_owned(), "new".to_owned()];
        for past in [
            history(tasks.iter(), &agents),
            history(tasks.iter().rev(), &agents),
        ] {
            assert_eq!(past.keys().collect::<Vec<_>>(), ["coder"]);
            let coder = past["coder"];
            assert_eq!(coder.tasks, 50);
            assert_eq!(coder.tokens, Range::new(111, 159));
            assert_eq!(coder.pico, Range::new(111_000_000_000, 159_000_000_000));
            assert_eq!(coder.seconds, Range::new(1, 90));
        }
    }
}
