//! ModelPool: says which of its members can be used.

mod act;
mod observe;
pub mod plan;
#[cfg(test)]
mod tests;

use crate::kit::{Action, Context, Result};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use oarmaster_crds::ModelPool;
use std::sync::Arc;

/// One pass.
pub fn reconcile(pool: Arc<ModelPool>, ctx: Arc<Context>) -> BoxFuture<'static, Result<Action>> {
    async move {
        let seen = observe::observe(&pool, &ctx);
        act::act(&pool, &ctx, plan::plan(&pool, &seen)).await
    }
    .boxed()
}
