//! Every table of cases, for the test that all rules have one.

use crate::support::Case;
use crate::{agent, approval, budget, class, pool, provider, task, workflow};

/// Every case of every kind.
pub fn all() -> Vec<Case> {
    [
        agent::cases(),
        approval::cases(),
        budget::cases(),
        class::cases(),
        pool::cases(),
        provider::cases(),
        task::cases(),
        workflow::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
