//! What a run of a workflow may take, before it runs: tokens, money and time, from the least to the most. Pure.
//!
//! Of an Agent counts what its Tasks took before; of one without any, its budget and the step's time are the bound. What nobody can know is said, and
//! not guessed: what another workflow does, and how many items an expression gives.

use crate::graph::{Graph, Step};
use crate::made::literal_items;
use oarmaster_crds::kinds::goal::PlanEstimate;
use oarmaster_crds::kinds::workflow::MAX_ITEMS;
use oarmaster_crds::{GepDuration, TaskSpec, Usd};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Texts that say what is not known, at most.
const TOLD: usize = 8;

/// From the least to the most; nothing bounds it where `most` is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The least.
    pub least: u64,
    /// The most.
    pub most: Option<u64>,
}

impl Range {
    /// Both bounds.
    #[must_use]
    pub const fn new(least: u64, most: u64) -> Self {
        Self {
            least,
            most: Some(most),
        }
    }

    const NOTHING: Self = Self::new(0, 0);

    fn plus(self, other: Self) -> Self {
        let most = self.most.zip(other.most);
        Self {
            least: self.least.saturating_add(other.least),
            most: most.map(|(one, other)| one.saturating_add(other)),
        }
    }

    fn times(self, other: Self) -> Self {
        let most = match (self.most, other.most) {
            (Some(0), _) | (_, Some(0)) => Some(0),
            (Some(one), Some(other)) => Some(one.saturating_mul(other)),
            _ => None,
        };
        Self {
            least: self.least.saturating_mul(other.least),
            most,
        }
    }

    /// The longer of two that go on beside each other.
    fn beside(self, other: Self) -> Self {
        let most = self.most.zip(other.most);
        Self {
            least: self.least.max(other.least),
            most: most.map(|(one, other)| one.max(other)),
        }
    }

    /// Not more than this, if there is a bound.
    fn within(self, bound: Option<u64>) -> Self {
        let most = self.most.into_iter().chain(bound).min();
        Self {
            least: most.map_or(self.least, |most| self.least.min(most)),
            most,
        }
    }

    fn text(self, write: impl Fn(u64) -> String) -> String {
        let least = write(self.least);
        match self.most.map(write) {
            Some(most) if most == least => most,
            Some(most) => format!("{least}-{most}"),
            None => format!("{least}-?"),
        }
    }
}

/// What Tasks of an Agent took before, from the one that took least to the one that took most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// How many there were.
    pub tasks: u64,
    /// Tokens.
    pub tokens: Range,
    /// Money in pico-USD.
    pub pico: Range,
    /// Running time in seconds.
    pub seconds: Range,
}

/// Most that may be spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// Tokens.
    pub tokens: Option<u64>,
    /// Money in pico-USD.
    pub pico: Option<u64>,
}

/// What is known beside the workflow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// What Tasks of Agents took before, by Agent.
    pub history: BTreeMap<String, Past>,
    /// What one Task of an Agent may spend, by Agent.
    pub agents: BTreeMap<String, Bound>,
    /// What the whole run may spend.
    pub whole: Bound,
    /// Most Tasks that its steps may become, if that is bounded.
    pub most_tasks: Option<usize>,
}

/// What a run may take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Tokens.
    pub tokens: Range,
    /// Money in pico-USD.
    pub pico: Range,
    /// Running time in seconds, along the longest way from step to step. Time in which people are waited for does not count.
    pub seconds: Range,
    /// What is not known.
    pub unknown: Vec<String>,
}

impl Estimate {
    /// For people.
    #[must_use]
    pub fn texts(&self) -> PlanEstimate {
        let time = |seconds| GepDuration::from_duration(Duration::from_secs(seconds)).to_string();
        PlanEstimate {
            tokens: self.tokens.text(|tokens| tokens.to_string()),
            usd: self.pico.text(|pico| Usd::from_pico(pico).0),
            duration: self.seconds.text(time),
            unknown: self.unknown.clone(),
        }
    }
}

/// What a run of this workflow may take, where it succeeds. What undoes steps is not in it.
#[must_use]
pub fn estimate(graph: &Graph, known: &Known) -> Estimate {
    let mut unknown = BTreeSet::new();
    let mut sum = (Range::NOTHING, Range::NOTHING);
    let mut own = Vec::with_capacity(graph.steps.len());
    for step in &graph.steps {
        let takes = of_step(step, known, &mut unknown);
        sum = (sum.0.plus(takes.tokens), sum.1.plus(takes.pico));
        own.push(takes.seconds);
    }
    let timeouts = &graph.spec.timeouts;
    let limit = |time: &GepDuration| time.get().unwrap_or_default().as_secs();
    let main = longest(graph, &own, 0..graph.main).within(Some(limit(&timeouts.run)));
    let last = longest(graph, &own, graph.main..graph.steps.len());
    let last = last.within(Some(limit(&timeouts.finally)));
    Estimate {
        tokens: sum.0.within(known.whole.tokens),
        pico: sum.1.within(known.whole.pico),
        seconds: main.plus(last),
        unknown: unknown.into_iter().take(TOLD).collect(),
    }
}

/// What one step takes, with all its items and repetitions.
struct Takes {
    tokens: Range,
    pico: Range,
    seconds: Range,
}

fn of_step(step: &Step, known: &Known, unknown: &mut BTreeSet<String>) -> Takes {
    let name = &step.spec.name;
    let one = of_task(step, known, unknown);
    let limit = u64::try_from(step.limit()).unwrap_or(1).max(1);
    let turns = Range::new(1, limit);
    let items = match literal_items(&step.spec).map(u64::try_from) {
        Some(Ok(items)) => Range::new(items, items),
        _ => {
            unknown.insert(format!("how many items step {name} has"));
            let most = known.most_tasks.unwrap_or(MAX_ITEMS).min(MAX_ITEMS);
            Range::new(0, u64::try_from(most).unwrap_or(u64::MAX))
        }
    };
    // A step with an `if` may not run at all.
    let runs = Range::new(u64::from(step.condition.is_none()), 1);
    let parallel = match step.over {
        Some(_) => u64::try_from(step.parallel()).unwrap_or(1).max(1),
        None => 1,
    };
    let rounds = Range {
        least: items.least.div_ceil(parallel),
        most: items.most.map(|most| most.div_ceil(parallel)),
    };
    let each = turns.times(runs);
    Takes {
        tokens: one.tokens.times(each).times(items),
        pico: one.pico.times(each).times(items),
        seconds: one.seconds.times(each).times(rounds),
    }
}

/// What one Task of a step takes.
fn of_task(step: &Step, known: &Known, unknown: &mut BTreeSet<String>) -> Takes {
    let spec = &step.spec;
    let name = &spec.name;
    let task = &step.pattern.task;
    let nothing = Takes {
        tokens: Range::NOTHING,
        pico: Range::NOTHING,
        seconds: Range::NOTHING,
    };
    if spec.approval.is_some() {
        return nothing;
    }
    if let Some(wait) = &spec.wait {
        let time = wait.for_.as_ref().and_then(|time| time.get().ok());
        if time.is_none() {
            unknown.insert(format!("how long step {name} waits"));
        }
        let seconds = match time.map(|time| time.as_secs()) {
            Some(seconds) if wait.condition.is_some() => Range::new(0, seconds),
            Some(seconds) => Range::new(seconds, seconds),
            None => Range::default(),
        };
        return Takes { seconds, ..nothing };
    }
    if spec.workflow.is_some() || spec.goal.is_some() {
        unknown.insert(format!("what the run of step {name} takes"));
        let stated = stated(task);
        return Takes {
            tokens: Range::default().within(stated.tokens),
            pico: Range::default().within(stated.pico),
            seconds: Range::default(),
        };
    }
    let time = task.timeout.get().unwrap_or_default().as_secs();
    if let Some(run) = &spec.run {
        if run.pool.is_none() {
            return Takes {
                seconds: Range::new(0, time),
                ..nothing
            };
        }
        unknown.insert(format!("what models the code of step {name} asks"));
        let stated = stated(task);
        return Takes {
            tokens: Range::default().within(stated.tokens),
            pico: Range::default().within(stated.pico),
            seconds: Range::new(0, time),
        };
    }
    let agent = spec.agent.as_ref().and_then(|call| call.name.as_deref());
    let Some(agent) = agent else {
        unknown.insert(format!("which Agent does step {name}"));
        return Takes {
            seconds: Range::new(0, time),
            tokens: Range::default(),
            pico: Range::default(),
        };
    };
    let own = stated(task);
    let bound = known.agents.get(agent).copied().unwrap_or_default();
    // A Task that states a budget has that, and not the Agent's.
    let bound = if task.budget.is_some() { own } else { bound };
    match known.history.get(agent) {
        Some(past) if past.tasks > 0 => Takes {
            tokens: past.tokens.within(bound.tokens),
            pico: past.pico.within(bound.pico),
            seconds: past.seconds.within(Some(time)),
        },
        _ => {
            unknown.insert(format!(
                "what Agent {agent} takes: none of its Tasks has ended"
            ));
            Takes {
                tokens: Range::default().within(bound.tokens),
                pico: Range::default().within(bound.pico),
                seconds: Range::new(0, time),
            }
        }
    }
}

fn stated(task: &TaskSpec) -> Bound {
    let budget = task.budget.as_ref();
    let tokens = budget.and_then(|budget| budget.tokens);
    let usd = budget.and_then(|budget| budget.usd.as_ref());
    Bound {
        tokens: tokens.and_then(|tokens| u64::try_from(tokens).ok()),
        pico: usd.and_then(|usd| usd.pico().ok()),
    }
}

/// The longest way through steps that wait for each other.
fn longest(graph: &Graph, own: &[Range], steps: std::ops::Range<usize>) -> Range {
    let mut ends: BTreeMap<usize, Range> = BTreeMap::new();
    let mut all = Range::NOTHING;
    // A step after those that it needs; a checked graph has no cycle.
    while ends.len() < steps.len() {
        let before = ends.len();
        for at in steps.clone() {
            let Some(step) = graph.steps.get(at).filter(|_| !ends.contains_key(&at)) else {
                continue;
            };
            let needs: Option<Vec<Range>> = step
                .needs
                .iter()
                .map(|need| ends.get(need).copied())
                .collect();
            let Some(needs) = needs else { continue };
            let begins = needs.into_iter().fold(Range::NOTHING, Range::beside);
            let end = begins.plus(own.get(at).copied().unwrap_or(Range::NOTHING));
            all = all.beside(end);
            ends.insert(at, end);
        }
        if ends.len() == before {
            break;
        }
    }
    all
}

#[cfg(test)]
mod tests;
