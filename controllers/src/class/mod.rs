//! SandboxClass: says whether pods of this class can be made, and what a node offers to them, which a probe in such a pod finds out.

mod act;
pub mod job;
mod observe;
pub mod plan;
pub mod pod;
pub mod targets;
#[cfg(test)]
pub(crate) mod tests;

use crate::kit::{Action, Context, Result};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use oarmaster_crds::conditions::{self, reason};
use oarmaster_crds::{SandboxClass, SandboxClassStatus};
use std::sync::Arc;

/// One pass.
pub fn reconcile(
    class: Arc<SandboxClass>,
    ctx: Arc<Context>,
) -> BoxFuture<'static, Result<Action>> {
    async move {
        let seen = observe::observe(&class, &ctx).await?;
        let todo = plan::plan(&class, &seen);
        act::act(&class, &ctx, &seen, todo).await
    }
    .boxed()
}

/// Why no pod of the class can be made for now. What a probe found keeps nobody waiting: the nodes may differ, and each pod proves itself
/// what its class demands.
#[must_use]
pub fn blocked(status: Option<&SandboxClassStatus>) -> Option<&str> {
    let held = status.and_then(|status| conditions::find(&status.conditions, conditions::READY));
    let Some(held) = held else {
        return Some("it was not looked at yet");
    };
    let blocks = matches!(
        held.reason.as_str(),
        reason::INVALID_SPEC | reason::NOT_FOUND
    );
    blocks.then_some(held.message.as_str())
}
