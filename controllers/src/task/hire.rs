//! The agent of a Task, from the caches: named, pinned or chosen; and whether it has a place for one more.

use super::census::{self, Census};
use super::limits::Limit;
use super::places::{Employer, Full, Shown, Wish};
use super::refs::{Refs, first};
use super::select::{Candidate, Choice, choose};
use crate::kit::Context;
use crate::kit::context::readable;
use crate::kit::watch::named;
use kube::runtime::reflector::ObjectRef;
use oarmaster_crds::conditions::reason;
use oarmaster_crds::kinds::task::AgentSelect;
use oarmaster_crds::{Agent, Task, conditions};
use std::sync::Arc;

/// An agent that was looked up.
#[derive(Clone, Debug, Default)]
pub struct Hired {
    /// The agent, if it is there.
    pub agent: Option<Arc<Agent>>,
    /// How it was chosen, or why none was. `None`: it is named, or pinned already.
    pub choice: Option<Result<Choice, String>>,
}

impl Hired {
    /// Why it was chosen, if it was.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        let choice = self.choice.as_ref()?.as_ref().ok()?;
        Some(&choice.why)
    }
}

/// Looks up the agent of a Task whose first attempt is about to begin.
#[must_use]
pub fn look(task: &Task, ctx: &Context) -> Hired {
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    let Some(call) = &task.spec.agent else {
        return Hired::default();
    };
    let pinned = task.status.as_ref().and_then(census::agent);
    let choice = call
        .select
        .as_ref()
        .filter(|_| pinned.is_none())
        .map(|select| {
            choose(
                namespace,
                &select.capabilities,
                candidates(task, select, ctx),
            )
        });
    let chosen = choice.as_ref().and_then(|choice| choice.as_ref().ok());
    let name = call
        .name
        .as_deref()
        .or(pinned)
        .or(chosen.map(|choice| choice.agent.as_str()));
    Hired {
        agent: name.and_then(|name| readable(&ctx.stores.agents, namespace, name)),
        choice,
    }
}

/// Whether a Task that waits may be waiting for this agent.
#[must_use]
pub fn may_mean(task: &Task, agent: &str) -> bool {
    let pinned = task.status.as_ref().and_then(census::agent);
    task.spec.agent.as_ref().is_some_and(|call| {
        let named = call.name.as_deref().or(pinned);
        named.is_none_or(|named| named == agent)
    })
}

fn candidates(task: &Task, select: &AgentSelect, ctx: &Context) -> Vec<Candidate> {
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    let census = census(namespace, ctx);
    let agents = ctx.stores.agents.state();
    agents
        .iter()
        .filter_map(|agent| agent.0.as_ref().ok())
        .filter(|agent| agent.metadata.namespace.as_deref() == Some(namespace))
        .map(|agent| {
            let name = agent.metadata.name.clone().unwrap_or_default();
            let has = &agent.spec.capabilities;
            let lacks = |wanted: &&String| !has.contains(wanted);
            Candidate {
                lacks: select.capabilities.iter().filter(lacks).cloned().collect(),
                not_ready: not_ready(agent),
                limit: limit(agent),
                running: ctx.places.running(namespace, &name, uid),
                past: census.past(&name),
                name,
            }
        })
        .collect()
}

/// What its status says, if that is about the spec of now.
fn not_ready(agent: &Agent) -> Option<String> {
    let seen = agent
        .status
        .as_ref()
        .and_then(|status| status.observed_generation);
    if seen != agent.metadata.generation {
        return Some("its newest spec was not looked at yet".to_owned());
    }
    let held = agent.status.as_ref().map(|status| &status.conditions);
    match held.and_then(|list| conditions::find(list, conditions::READY)) {
        Some(held) if held.status == "True" => None,
        Some(held) => Some(held.message.clone()),
        None => Some("it was not looked at yet".to_owned()),
    }
}

fn limit(agent: &Agent) -> Option<u32> {
    let limit = agent.spec.limits.parallel_tasks?;
    Some(u32::try_from(limit.max(1)).unwrap_or(u32::MAX))
}

fn census(namespace: &str, ctx: &Context) -> Census {
    let tasks = ctx.stores.tasks.state();
    let readable = tasks.iter().filter_map(|task| task.0.as_ref().ok());
    Census::of(readable.filter(|task| task.metadata.namespace.as_deref() == Some(namespace)))
}

/// Why a Task has no place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busy {
    /// Reason of the condition.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// Takes a place in its namespace, and of its agent, for the attempt that is about to begin; what is in the way, if there is none. A Task that
/// begins nothing gives back what it had.
#[must_use]
pub fn place(task: &Task, ctx: &Context, refs: &Refs, blocked: bool) -> Option<Busy> {
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    let resolved = match refs {
        Refs::Found(resolved) if !blocked => resolved,
        _ => {
            ctx.places.give_back(namespace, uid);
            return None;
        }
    };
    let status = task.status.as_ref();
    if status.is_some_and(census::holds_a_place) {
        return None;
    }
    let limits = ctx.places.limits.load().of(namespace);
    let call = task.spec.agent.as_ref();
    let pinned = resolved.pinned.as_ref();
    let agent = pinned.and_then(|pinned| pinned.agent.split('@').next());
    let agent = agent.filter(|_| call.is_some()).map(|name| {
        let key = ObjectRef::new(name).within(namespace);
        let held = ctx.stores.agents.get(&key);
        Employer {
            name,
            any: call.is_some_and(|call| call.select.is_some()) && first(task),
            limit: held.and_then(|held| held.0.as_ref().ok().and_then(limit)),
        }
    });
    let number = status.and_then(|status| status.attempt).unwrap_or(0);
    let created = task.metadata.creation_timestamp.as_ref();
    let wish = Wish {
        namespace,
        name: task.metadata.name.as_deref().unwrap_or_default(),
        uid,
        priority: limits.priority(task.spec.priority),
        created: created.map_or(jiff::Timestamp::UNIX_EPOCH, |time| time.0),
        attempt: u32::try_from(number).unwrap_or(0).saturating_add(1),
        agent,
        limit: limits.running_tasks,
    };
    let full = ctx.places.take(&wish, || shown(task, ctx, &limits)).err()?;
    Some(busy(full, &wish, task.spec.priority))
}

/// What the cache shows of a Task now.
fn shown(task: &Task, ctx: &Context, limits: &Limit) -> Option<Shown> {
    let meta = &task.metadata;
    let key = named(meta.namespace.as_deref()?, meta.name.as_deref()?);
    let held = ctx.stores.tasks.get(&key)?;
    let newest = held.0.as_ref().ok()?;
    let same = newest.metadata.uid == task.metadata.uid;
    let priority = limits.priority(newest.spec.priority);
    same.then(|| Shown::of(newest, priority)).flatten()
}

fn busy(full: Full, wish: &Wish<'_>, stated: i64) -> Busy {
    let namespace = wish.namespace;
    let (reason, mut message) = match full {
        Full::Agent => {
            let agent = wish.agent.map_or("", |agent| agent.name);
            let limit = wish.agent.and_then(|agent| agent.limit).unwrap_or(0);
            let message = format!(
                "Agent {agent} runs as many Tasks at once as its limits.parallelTasks allows ({limit}); this one begins when its turn comes"
            );
            (reason::AGENT_BUSY, message)
        }
        Full::Namespace => {
            let limit = wish.limit.unwrap_or(0);
            let message = format!(
                "namespace {namespace} runs as many Tasks at once as the installation allows ({limit}: runningTasks in the chart's limits.namespaces or limits.defaults); this one begins when its turn comes"
            );
            (reason::NAMESPACE_BUSY, message)
        }
    };
    if wish.priority != stated {
        let counts = wish.priority;
        message.push_str(&format!(
            "; its priority {stated} counts as {counts}, the highest of the namespace (maxPriority there)"
        ));
    }
    Busy { reason, message }
}
