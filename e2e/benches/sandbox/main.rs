//! `cargo xtask bench sandbox`: what the sandbox costs, in pods of the local cluster. Everything is real but the model, whose answers are scripted and come at
//! once.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a developer's command talks to its terminal"
)]

mod calls;
mod objects;
mod start;

use anyhow::Result;
use oarmaster_e2e::Space;
use oarmaster_e2e::bench::machine;
use oarmaster_e2e::bench::report::Report;
use oarmaster_e2e::installed::{RELEASE, installed};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// What the command says.
#[derive(Deserialize)]
struct Config {
    /// Where the report is appended.
    report: PathBuf,
    /// What is measured: the commit.
    commit: String,
    /// What else ran on the machine.
    beside: Option<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let config: Config = oarmaster_e2e::bench::parameters("sandbox")?;
    let cluster = installed().await?;
    let mut report = Report::begin(
        "sandbox",
        &config.commit,
        "a cluster of one node, shared by everything",
        config.beside.as_deref(),
    );
    Space::with(cluster, "bench", async |space| {
        let account = format!("--serviceaccount={RELEASE}:oarmaster-gateway");
        let keys = "--clusterrole=oarmaster-gateway-keys";
        space
            .kubectl(&["create", "rolebinding", "keys", keys, &account])
            .await?;
        start::run(space, &mut report).await?;
        calls::run(space, &mut report).await
    })
    .await?;
    report.say(&format!("Load averages at the end: {}.", machine::busy()));
    report.end(&config.report)
}

/// Milliseconds since the Unix epoch.
fn now() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs_f64() * 1e3
}

/// A time of the journal.
fn ms(at_ms: i64) -> f64 {
    // Exact for the next 285,000 years.
    #[allow(clippy::cast_precision_loss)]
    let ms = at_ms as f64;
    ms
}
