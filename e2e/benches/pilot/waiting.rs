//! What an attempt takes of a pilot's memory while its model thinks.

use crate::Arrivals;
use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use oarmaster_e2e::bench::cpu::memory;
use oarmaster_e2e::bench::report::{Goal, Report, short};
use oarmaster_e2e::crash::process::Daemon;
use oarmaster_e2e::crash::scene::Scene;
use oarmaster_e2e::mock::Gate;
use serde_json::json;
use std::time::Duration;

/// Attempts that wait at once.
const WAITING: u32 = 400;
/// For all of them to begin.
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs the phase.
pub async fn run(
    scene: &Scene<'_>,
    arrivals: &Arrivals,
    held: &Gate,
    pilots: &Daemon,
    report: &mut Report,
) -> Result<()> {
    eprintln!("{WAITING} that wait");
    let pid = pilots.pid().context("the pilots do not run")?;
    let (before, _) = memory(pid)?;
    let made = futures::stream::iter(0..WAITING).map(|number| async move {
        scene
            .task(&format!("wait-{number}"), "plain", &json!({}))
            .await
    });
    made.buffer_unordered(8).try_collect::<Vec<_>>().await?;
    let all = arrivals.many("wait-", usize::try_from(WAITING)?);
    tokio::time::timeout(PATIENCE, all)
        .await
        .context("not all Tasks wait")??;
    let (with, _) = memory(pid)?;
    held.open();
    let each = (with - before) * 1024.0 / f64::from(WAITING);
    report.say(&format!(
        "One process of pilots: {} MiB resident after the Tasks above, {} MiB while {WAITING} attempts wait for their model.",
        short(before),
        short(with)
    ));
    report.figure("pilot_waiting_kib_each", each, Goal::Below(200.0));
    Ok(())
}
