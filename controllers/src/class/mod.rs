//! SandboxClass: says whether pods of this class can be made.

mod act;
mod observe;
pub mod plan;
#[cfg(test)]
mod tests;

use crate::kit::{Context, Result};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use kube::runtime::controller::Action;
use oarmaster_crds::SandboxClass;
use std::sync::Arc;

/// One pass.
pub fn reconcile(
    class: Arc<SandboxClass>,
    ctx: Arc<Context>,
) -> BoxFuture<'static, Result<Action>> {
    async move {
        let seen = observe::observe(&class, &ctx);
        act::act(&class, &ctx, plan::plan(&class, &seen)).await
    }
    .boxed()
}
