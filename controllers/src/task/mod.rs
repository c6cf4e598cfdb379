//! Task: everything that runs. See `docs/architecture.md` for its life.

mod act;
mod ask;
pub mod asked;
pub mod assignment;
mod attempt;
pub mod census;
mod draft;
pub(crate) mod hire;
pub mod job;
pub(crate) mod observe;
pub mod places;
pub mod plan;
pub mod pod;
mod provenance;
pub mod refs;
pub mod requests;
pub mod run;
pub mod select;
mod shared;
#[cfg(test)]
mod tests;

use crate::kit::{Context, Error, Result};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use kube::runtime::controller::Action;
use oarmaster_crds::Task;
use std::sync::Arc;

/// One pass.
pub fn reconcile(task: Arc<Task>, ctx: Arc<Context>) -> BoxFuture<'static, Result<Action>> {
    async move {
        if task.spec.workflow.is_none() {
            let seen = observe::observe(&task, &ctx).await?;
            return act::act(&task, &ctx, &seen, plan::plan(&task, &seen)).await;
        }
        let seen = run::observe(&task, &ctx).await?;
        // Its expressions may take a second, and are what users wrote.
        let of = Arc::clone(&task);
        let planned = tokio::task::spawn_blocking(move || {
            let todo = plan::plan(&of, &seen);
            (seen, todo)
        });
        let (seen, todo) = planned.await.map_err(|error| Error::Protocol {
            act: "plan a run".to_owned(),
            message: error.to_string(),
        })?;
        act::act(&task, &ctx, &seen, todo).await
    }
    .boxed()
}
