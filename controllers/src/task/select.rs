//! Which agent does a Task that names capabilities instead of an agent: pure, and the same whatever order the agents come in.
//!
//! An agent can do it if it has all the capabilities and is Ready. Of these the first is one with a free place; then the one with the best
//! score; then the one whose name comes first. The score is out of 1000: 500 for how often the agent's newest Tasks were Complete, 300 for
//! how much of its `limits.parallelTasks` is free, 200 for how little its Tasks cost beside the others'.

use super::census::Past;
use oarmaster_crds::Usd;
use oarmaster_protocol::text::shorten;
use std::cmp::Reverse;

/// Without a limit as many running Tasks count as half of what an agent can do.
const HALF: u64 = 10;
/// Most agents that a message tells of.
const SHOWN: usize = 8;

/// An agent that might do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Capabilities that it does not have.
    pub lacks: Vec<String>,
    /// Why it is not Ready, if it is not.
    pub not_ready: Option<String>,
    /// Its `limits.parallelTasks`.
    pub limit: Option<u32>,
    /// How many Tasks it runs.
    pub running: u32,
    /// How its newest Tasks ended.
    pub past: Past,
}

/// The agent that does it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its name.
    pub agent: String,
    /// Why: the agents that could do it with their scores, the best first.
    pub why: String,
}

/// Chooses.
///
/// # Errors
/// What each agent lacks, where none can do it.
pub fn choose(
    namespace: &str,
    wanted: &[String],
    mut candidates: Vec<Candidate>,
) -> Result<Choice, String> {
    candidates.sort_by(|one, other| one.name.cmp(&other.name));
    let (mut able, others): (Vec<_>, Vec<_>) = candidates
        .into_iter()
        .partition(|each| each.lacks.is_empty() && each.not_ready.is_none());
    let cheapest = able.iter().filter_map(mean).filter(|cost| *cost > 0).min();
    able.sort_by_key(|each| (each.is_full(), Reverse(each.score(cheapest))));
    let Some(best) = able.first() else {
        return Err(nobody(namespace, wanted, others));
    };
    let told = able.iter().map(|each| each.told(cheapest)).chain(
        others
            .iter()
            .filter(|each| each.lacks.is_empty())
            .map(|each| format!("{} is not Ready", each.name)),
    );
    Ok(Choice {
        agent: best.name.clone(),
        why: some(told.collect()),
    })
}

/// Mean cost of a Task, if any ended.
fn mean(candidate: &Candidate) -> Option<u64> {
    candidate.past.cost.checked_div(candidate.past.ended)
}

impl Candidate {
    fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.running >= limit)
    }

    /// Of 1000. `cheapest` is what the Tasks of the cheapest agent cost.
    fn score(&self, cheapest: Option<u64>) -> u64 {
        // Laplace's rule: who did nothing yet is taken to fail half of the time, and one failure does not make an agent hopeless.
        let success = 500 * (self.past.complete + 1) / (self.past.ended + 2);
        let running = u64::from(self.running);
        let free = match self.limit.map(u64::from) {
            Some(limit) => 300 * limit.saturating_sub(running) / limit.max(1),
            None => 300 * HALF / (HALF + running),
        };
        let cheap = match (mean(self), cheapest) {
            (Some(own), Some(cheapest)) if own > cheapest => {
                let part = u128::from(cheapest) * 200 / u128::from(own);
                u64::try_from(part).unwrap_or(0)
            }
            _ => 200,
        };
        success + free + cheap
    }

    fn told(&self, cheapest: Option<u64>) -> String {
        let Past {
            ended, complete, ..
        } = self.past;
        let limit = self.limit.map(|limit| format!(" of {limit}"));
        let cost = mean(self).map(|cost| format!(", ${} a Task", Usd::from_pico(cost)));
        format!(
            "{} {} ({complete} of {ended} complete, {}{} running{})",
            self.name,
            self.score(cheapest),
            self.running,
            limit.unwrap_or_default(),
            cost.unwrap_or_default()
        )
    }
}

fn some(mut told: Vec<String>) -> String {
    let more = told.len().saturating_sub(SHOWN);
    told.truncate(SHOWN);
    let told = told.join(", ");
    match more {
        0 => told,
        more => format!("{told}, and {more} more"),
    }
}

fn nobody(namespace: &str, wanted: &[String], mut others: Vec<Candidate>) -> String {
    // Those that lack least are what a person wants to see.
    others.sort_by_key(|each| each.lacks.len());
    let told = others
        .iter()
        .map(|each| match (&each.not_ready, each.lacks.as_slice()) {
            (Some(why), []) => format!("{} is not Ready: {}", each.name, shorten(why, 200)),
            (_, lacks) => format!("{} lacks {}", each.name, lacks.join(" and ")),
        });
    let told = match some(told.collect()) {
        none if none.is_empty() => "there is none at all".to_owned(),
        told => told,
    };
    format!(
        "no Agent in namespace {namespace} is Ready and has the capabilities {}: {told}",
        wanted.join(", ")
    )
}

#[cfg(test)]
mod tests;
