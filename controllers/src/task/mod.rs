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
pub mod limits;
pub mod memo;
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
mod sources;
#[cfg(test)]
pub(crate) mod tests;

pub use run::Memories;

use crate::kit::{Action, Context, Result};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use oarmaster_crds::Task;
use std::sync::Arc;

/// One pass.
pub fn reconcile(task: Arc<Task>, ctx: Arc<Context>) -> BoxFuture<'static, Result<Action>> {
    async move {
        if !task.spec.is_run() {
            let seen = observe::observe(&task, &ctx).await?;
            return act::act(&task, &ctx, &seen, plan::plan(&task, &seen)).await;
        }
        let seen = run::observe(&task, &ctx).await?;
        let of = Arc::clone(&task);
        let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
        let (seen, todo) = ctx
            .think(namespace, move || {
                let todo = plan::plan(&of, &seen);
                (seen, todo)
            })
            .await?;
        act::act(&task, &ctx, &seen, todo).await
    }
    .boxed()
}
