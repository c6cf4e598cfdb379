//! Approval: judges what people decided, and says what they can do.

mod act;
mod observe;
pub mod plan;
#[cfg(test)]
mod tests;

use crate::kit::{Action, Context, Result};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use oarmaster_crds::Approval;
use std::sync::Arc;

/// One pass.
pub fn reconcile(approval: Arc<Approval>, ctx: Arc<Context>) -> BoxFuture<'static, Result<Action>> {
    async move {
        let seen = observe::observe(&approval, &ctx);
        act::act(&approval, &ctx, plan::plan(&approval, &seen)).await
    }
    .boxed()
}
