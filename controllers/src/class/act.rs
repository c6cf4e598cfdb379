//! Writes a class's status.

use crate::kit::{Context, Result, ready};
use kube::Api;
use kube::runtime::controller::Action;
use oarmaster_crds::{SandboxClass, SandboxClassStatus};

/// Carries the plan out.
pub async fn act(
    class: &SandboxClass,
    ctx: &Context,
    todo: ready::Plan<SandboxClassStatus>,
) -> Result<Action> {
    ready::act(&Api::all(ctx.client.clone()), class, ctx, todo).await
}
