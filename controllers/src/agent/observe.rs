//! What an agent names.

use super::plan::Observed;
use super::pool::{self, Named};
use crate::kit::Context;
use crate::kit::context::readable;
use jiff::Timestamp;
use oarmaster_crds::{Agent, ModelPool};
use std::sync::Arc;

/// Looks.
pub fn observe(agent: &Agent, ctx: &Context) -> Observed {
    Observed {
        now: Timestamp::now(),
        pool: meant(pool::of_agent(agent), ctx),
        class: readable(&ctx.stores.classes, "", &agent.spec.sandbox.class.name),
    }
}

/// The pool that is meant, if it may be.
pub fn meant(named: Named<'_>, ctx: &Context) -> Option<Arc<ModelPool>> {
    let labels = ctx.labels(named.from);
    named.meant(ctx.settings.shared_pool(), labels.as_ref(), |id| {
        readable(&ctx.stores.pools, id.0, id.1)
    })
}
