//! Which pool an agent means, and whether it may: pure.

use crate::kit::context::Labels;
use oarmaster_crds::{Agent, ModelPool, access, names};
use std::sync::Arc;

/// Namespace and name.
pub type Id<'a> = (&'a str, &'a str);

/// The pools that an agent may mean, the first that there is. `shared` is the pool that `default` falls back to.
fn candidates<'a>(agent: &'a Agent, shared: Option<Id<'a>>) -> impl Iterator<Item = Id<'a>> {
    let namespace = agent.metadata.namespace.as_deref().unwrap_or_default();
    let named = &agent.spec.model.pool;
    let falls_back = named.namespace.is_none() && named.name == names::DEFAULT;
    let own = (named.namespace(namespace), named.name.as_str());
    std::iter::once(own).chain(shared.filter(|_| falls_back))
}

/// Whether an agent may mean this pool.
#[must_use]
pub fn may_mean(agent: &Agent, pool: Id<'_>, shared: Option<Id<'_>>) -> bool {
    candidates(agent, shared).any(|candidate| candidate == pool)
}

/// The pool that an agent means, if the agent's namespace, which has these labels, may name it.
pub fn meant(
    agent: &Agent,
    shared: Option<Id<'_>>,
    labels: Option<&Labels>,
    find: impl Fn(Id<'_>) -> Option<Arc<ModelPool>>,
) -> Option<Arc<ModelPool>> {
    let from = agent.metadata.namespace.as_deref().unwrap_or_default();
    let found = candidates(agent, shared).find_map(|id| Some((id.0, find(id)?)));
    let (namespace, pool) = found?;
    let allowed = pool.spec.allowed_namespaces.allows(namespace, from, labels);
    allowed.then_some(pool)
}

/// What is said where there is no such pool.
#[must_use]
pub fn absent(agent: &Agent) -> String {
    let from = agent.metadata.namespace.as_deref().unwrap_or_default();
    let named = &agent.spec.model.pool;
    let text = access::absent("ModelPool", (named.namespace(from), &named.name), from);
    if named.namespace.is_none() && named.name == names::DEFAULT {
        format!(
            "{text}, or an administrator can set the chart's defaultPool, or spec.allowedNamespaces: {{from: All}} of the pool that it made"
        )
    } else {
        text
    }
}
