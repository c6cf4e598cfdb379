//! What is known of a budget.

use super::plan::Observed;
use crate::kit::Context;
use jiff::Timestamp;
use oarmaster_crds::Budget;

/// Looks.
pub fn observe(budget: &Budget, ctx: &Context) -> Observed {
    let name = budget.metadata.name.as_deref().unwrap_or_default();
    let uid = budget.metadata.uid.as_deref().unwrap_or_default();
    let reports = ctx.budgets.load();
    Observed {
        now: Timestamp::now(),
        report: reports.get(name).cloned(),
        written: ctx.written(uid),
    }
}
