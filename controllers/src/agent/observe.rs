//! What an agent names.

use super::plan::Observed;
use crate::kit::Context;
use crate::kit::context::readable;
use jiff::Timestamp;
use oarmaster_crds::{Agent, ModelPool, names};
use std::sync::Arc;

/// Looks.
pub fn observe(agent: &Agent, ctx: &Context) -> Observed {
    Observed {
        now: Timestamp::now(),
        pool: pool(agent, ctx),
        class: readable(&ctx.stores.classes, "", &agent.spec.sandbox.class.name),
    }
}

/// The pool that an agent means: the one of its own namespace; for `default`, else the one that the chart made for all namespaces.
pub fn pool(agent: &Agent, ctx: &Context) -> Option<Arc<ModelPool>> {
    let namespace = agent.metadata.namespace.as_deref().unwrap_or_default();
    let name = &agent.spec.model.pool.name;
    let own = readable(&ctx.stores.pools, namespace, name);
    if own.is_some() || name != names::DEFAULT {
        return own;
    }
    let settings = &ctx.settings;
    let shared = settings.default_pool.as_deref()?;
    readable(&ctx.stores.pools, &settings.namespace, shared)
}
