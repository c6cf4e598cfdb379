//! ModelProvider: says whether the gateway can use it. The gateway finds that out; this controller writes it down.

mod act;
mod observe;
pub mod plan;
#[cfg(test)]
mod tests;

use crate::kit::{Action, Context, Result};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use oarmaster_crds::ModelProvider;
use std::sync::Arc;

/// One pass.
pub fn reconcile(
    provider: Arc<ModelProvider>,
    ctx: Arc<Context>,
) -> BoxFuture<'static, Result<Action>> {
    async move {
        let seen = observe::observe(&provider, &ctx);
        act::act(&provider, &ctx, plan::plan(&provider, &seen)).await
    }
    .boxed()
}
