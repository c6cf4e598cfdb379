//! What is known of an Approval: its Task.

use super::plan::Observed;
use crate::kit::Context;
use crate::kit::context::readable;
use jiff::Timestamp;
use oarmaster_crds::Approval;

/// Looks.
pub fn observe(approval: &Approval, ctx: &Context) -> Observed {
    let namespace = approval.metadata.namespace.as_deref().unwrap_or_default();
    Observed {
        now: Timestamp::now(),
        task: readable(&ctx.stores.tasks, namespace, &approval.spec.task.name),
    }
}
