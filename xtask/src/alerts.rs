//! The chart's alert rules and dashboards: what promtool says of them, and whether what they name is there.

use anyhow::Result;

use crate::cache::checkout;
use crate::{cluster, cmd};

/// The rules.
const RULES: &str = "charts/oarmaster/monitoring/alerts.yaml";
/// What they say over series of values.
const TESTS: &str = "e2e/fixtures/alerts.yaml";

/// Has promtool check the rules, and run their tests.
///
/// # Errors
/// When promtool cannot be built, or something is wrong.
pub fn check() -> Result<()> {
    for args in [["check", "rules", RULES], ["test", "rules", TESTS]] {
        let mut command = cluster::promtool()?;
        cmd::pass(command.args(args).current_dir(checkout()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
