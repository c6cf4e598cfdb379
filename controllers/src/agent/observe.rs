//! What an agent names.

use super::plan::Observed;
use super::pool;
use crate::kit::Context;
use crate::kit::context::readable;
use jiff::Timestamp;
use oarmaster_crds::{Agent, ModelPool};
use std::sync::Arc;

/// Looks.
pub fn observe(agent: &Agent, ctx: &Context) -> Observed {
    Observed {
        now: Timestamp::now(),
        pool: meant(agent, ctx),
        class: readable(&ctx.stores.classes, "", &agent.spec.sandbox.class.name),
    }
}

/// The pool that an agent means, if it may.
pub fn meant(agent: &Agent, ctx: &Context) -> Option<Arc<ModelPool>> {
    let namespace = agent.metadata.namespace.as_deref().unwrap_or_default();
    let labels = ctx.labels(namespace);
    pool::meant(agent, ctx.settings.shared_pool(), labels.as_ref(), |id| {
        readable(&ctx.stores.pools, id.0, id.1)
    })
}
