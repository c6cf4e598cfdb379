//! Which pool an agent or a Task means, and whether it may: pure.

use crate::kit::context::Labels;
use oarmaster_crds::{Agent, ModelPool, NamespacedRef, Task, access, names};
use std::sync::Arc;

/// Namespace and name.
pub type Id<'a> = (&'a str, &'a str);

/// A pool as an object of this namespace names it.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// Where the object is.
    pub from: &'a str,
    /// What it says.
    pub pool: &'a NamespacedRef,
}

impl<'a> Named<'a> {
    /// The pools that it may mean, the first that there is. `shared` is the pool that `default` falls back to.
    fn candidates(self, shared: Option<Id<'a>>) -> impl Iterator<Item = Id<'a>> {
        let own = (self.pool.namespace(self.from), self.pool.name.as_str());
        std::iter::once(own).chain(shared.filter(|_| self.falls_back()))
    }

    fn falls_back(self) -> bool {
        self.pool.namespace.is_none() && self.pool.name == names::DEFAULT
    }

    /// Whether it may mean this pool.
    #[must_use]
    pub fn may_mean(self, pool: Id<'_>, shared: Option<Id<'a>>) -> bool {
        self.candidates(shared).any(|candidate| candidate == pool)
    }

    /// The pool that it means, if its namespace, which has these labels, may name that.
    pub fn meant(
        self,
        shared: Option<Id<'a>>,
        labels: Option<&Labels>,
        find: impl Fn(Id<'_>) -> Option<Arc<ModelPool>>,
    ) -> Option<Arc<ModelPool>> {
        let mut candidates = self.candidates(shared);
        let (namespace, pool) = candidates.find_map(|id| Some((id.0, find(id)?)))?;
        let allowed = &pool.spec.allowed_namespaces;
        allowed.allows(namespace, self.from, labels).then_some(pool)
    }

    /// What is said where there is no such pool.
    #[must_use]
    pub fn absent(self) -> String {
        let id = (self.pool.namespace(self.from), self.pool.name.as_str());
        let text = access::absent("ModelPool", id, self.from);
        if self.falls_back() {
            format!(
                "{text}, or an administrator can set the chart's defaultPool, or spec.allowedNamespaces: {{from: All}} of the pool that it made"
            )
        } else {
            text
        }
    }
}

/// The pool that an agent names.
#[must_use]
pub fn of_agent(agent: &Agent) -> Named<'_> {
    Named {
        from: agent.metadata.namespace.as_deref().unwrap_or_default(),
        pool: &agent.spec.model.pool,
    }
}

/// The pool that the `run` of a Task names.
#[must_use]
pub fn of_run(task: &Task) -> Option<Named<'_>> {
    Some(Named {
        from: task.metadata.namespace.as_deref().unwrap_or_default(),
        pool: task.spec.run.as_ref()?.pool.as_ref()?,
    })
}
