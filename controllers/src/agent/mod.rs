//! Agent: says whether a Task could run it now.

mod act;
mod observe;
pub mod plan;
pub(crate) mod pool;
#[cfg(test)]
mod tests;

pub(crate) use observe::meant;

use crate::kit::{Action, Context, Result};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use oarmaster_crds::Agent;
use std::sync::Arc;

/// One pass.
pub fn reconcile(agent: Arc<Agent>, ctx: Arc<Context>) -> BoxFuture<'static, Result<Action>> {
    async move {
        let seen = observe::observe(&agent, &ctx);
        act::act(&agent, &ctx, plan::plan(&agent, &seen)).await
    }
    .boxed()
}
