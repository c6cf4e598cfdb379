//! Budget: writes down what the gateway has counted.

mod act;
mod observe;
pub mod plan;
#[cfg(test)]
mod tests;

use crate::kit::{Action, Context, Result};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use oarmaster_crds::Budget;
use std::sync::Arc;

/// One pass.
pub fn reconcile(budget: Arc<Budget>, ctx: Arc<Context>) -> BoxFuture<'static, Result<Action>> {
    async move {
        let seen = observe::observe(&budget, &ctx);
        act::act(&budget, &ctx, plan::plan(&budget, &seen)).await
    }
    .boxed()
}
