//! Writes a budget's status.

use super::plan::Plan;
use crate::kit::{Action, Context, Result, ready};
use jiff::Timestamp;
use kube::Api;
use oarmaster_crds::Budget;

/// Carries the plan out.
pub async fn act(budget: &Budget, ctx: &Context, todo: Plan) -> Result<Action> {
    let Plan { ready, next } = todo;
    let writes = ready.status.is_some();
    let api = Api::all(ctx.client.clone());
    let done = ready::act(&api, budget, ctx, ready).await?;
    if writes {
        let uid = budget.metadata.uid.as_deref().unwrap_or_default();
        ctx.remember(uid, Some(Timestamp::now()));
    }
    Ok(next.map_or(done, Action::requeue))
}
