//! Writes an Approval's status. Nothing else of it is ever written: what people decided stays as they wrote it.

use super::plan::Plan;
use crate::kit::ready::tell;
use crate::kit::{Action, Context, Result, write};
use kube::Api;
use oarmaster_crds::Approval;

/// Carries the plan out.
pub async fn act(approval: &Approval, ctx: &Context, todo: Plan) -> Result<Action> {
    let Plan {
        status,
        notes,
        next,
    } = todo;
    let meta = &approval.metadata;
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    if let Some(status) = status {
        let api: Api<Approval> = Api::namespaced(ctx.client.clone(), namespace);
        match write::status(&api, approval, &status).await {
            Ok(_) => {}
            // A newer version, or the deletion, is on its way here.
            Err(error) if error.is_conflict() || error.is_not_found() => {
                return Ok(Action::await_change());
            }
            Err(error) => return Err(error),
        }
    }
    for note in notes {
        tell(ctx, approval, &note).await;
    }
    Ok(next.map_or_else(Action::await_change, Action::requeue))
}
