//! Workflow: says whether a Task could run it.

pub mod plan;
#[cfg(test)]
mod tests;

use crate::kit::{Action, Context, Result, ready};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::Api;
use oarmaster_crds::Workflow;
use std::sync::Arc;

/// One pass.
pub fn reconcile(workflow: Arc<Workflow>, ctx: Arc<Context>) -> BoxFuture<'static, Result<Action>> {
    async move {
        let namespace = workflow.metadata.namespace.as_deref().unwrap_or_default();
        let api = Api::namespaced(ctx.client.clone(), namespace);
        let of = Arc::clone(&workflow);
        let now = move || plan::plan(&of, Timestamp::now());
        let todo = ctx.think(namespace, now).await?;
        ready::act(&api, &*workflow, &ctx, todo).await
    }
    .boxed()
}
