//! What the benchmarks share: the account of processes, the machine's description, a watch that reads little, and the report.

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;

pub mod cpu;
pub mod follow;
pub mod machine;
pub mod report;

/// What holds a bench's parameters.
pub const CONFIG: &str = "OARMASTER_BENCH";

/// What `cargo xtask bench NAME` has a bench measure.
///
/// # Errors
/// When it was not started by that, or is of another version.
pub fn parameters<T: DeserializeOwned>(name: &str) -> Result<T> {
    let text = std::env::var(CONFIG)
        .with_context(|| format!("this program is started by `cargo xtask bench {name}`"))?;
    serde_json::from_str(&text).context("failed to read the parameters")
}
