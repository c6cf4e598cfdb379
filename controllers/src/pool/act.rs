//! Writes a pool's status.

use crate::kit::{Action, Context, Result, ready};
use kube::Api;
use oarmaster_crds::{ModelPool, ModelPoolStatus};

/// Carries the plan out.
pub async fn act(
    pool: &ModelPool,
    ctx: &Context,
    todo: ready::Plan<ModelPoolStatus>,
) -> Result<Action> {
    let namespace = pool.metadata.namespace.as_deref().unwrap_or_default();
    let api = Api::namespaced(ctx.client.clone(), namespace);
    ready::act(&api, pool, ctx, todo).await
}
