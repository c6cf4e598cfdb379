//! A gateway without work: its start and its memory. And how soon a changed object counts.

use crate::load::body;
use crate::process::Gateway;
use crate::{Config, World, ledger, objects};
use anyhow::{Result, bail};
use http::StatusCode;
use oarmaster_e2e::bench::cpu::memory;
use oarmaster_e2e::bench::report::{Goal, Report, percentile, short};
use serde_json::json;
use std::time::{Duration, Instant};

/// Starts that are measured.
const STARTS: usize = 5;
/// Changes that are measured.
const CHANGES: usize = 20;
/// How long a gateway is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(2);
/// A change that has not arrived after this never will.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the phase.
pub async fn run(world: &World, config: &Config, report: &mut Report) -> Result<()> {
    eprintln!("starts, idle memory, changes");
    let (mut starts, mut idle) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let gateway = Gateway::start(
            &config.programs,
            &config.folder,
            world.api_port,
            "gateway-idle",
        )
        .await?;
        starts.push(gateway.took.as_secs_f64() * 1e3);
        tokio::time::sleep(IDLE).await;
        idle.push(memory(gateway.process.pid()?)?.0);
        gateway.process.end().await?;
    }
    let (mut objects, mut keys) = (Vec::new(), Vec::new());
    for number in 0..CHANGES {
        objects.push(object(world, number).await?);
        keys.push(key(world, number).await?);
    }
    let row = |what: &str, values: &[f64]| {
        vec![
            what.to_owned(),
            short(percentile(values, 50)),
            short(percentile(values, 100)),
        ]
    };
    report.table(
        &["a gateway without work", "median", "max"],
        &[
            row("start until /readyz, ms", &starts),
            row("resident memory, MiB", &idle),
            row(
                "ModelPool changed -> a call by its new alias succeeds, ms",
                &objects,
            ),
            row("Secret changed -> the provider sees the new key, ms", &keys),
        ],
    );
    let median = |values: &[f64]| percentile(values, 50);
    report.figure("gateway_idle_mib", median(&idle), Goal::Below(30.0));
    report.figure("gateway_start_ms", median(&starts), Goal::Below(100.0));
    let worst = percentile(&objects, 100).max(percentile(&keys, 100));
    report.figure("gateway_change_live_ms", worst, Goal::Below(100.0));
    Ok(())
}

/// Milliseconds from a new alias of a pool until a call by it succeeds.
async fn object(world: &World, number: usize) -> Result<f64> {
    let target = world.ours();
    let mut sender = target.connect().await?;
    let alias = format!("alias-{number}");
    let body = body(&alias, 1, false);
    let (status, _) = target.ask(&mut sender, 0, &body).await?;
    if status == StatusCode::OK {
        bail!("the alias {alias} is there before it was made");
    }
    let begun = Instant::now();
    objects::pool(
        &world.api,
        "plain",
        &["plain"],
        &json!({"aliases": [alias]}),
    )?;
    while begun.elapsed() < PATIENCE {
        let (status, _) = target.ask(&mut sender, 0, &body).await?;
        if status == StatusCode::OK {
            return Ok(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    bail!("the alias {alias} does not work {PATIENCE:?} after it was made")
}

/// Milliseconds from a new key in a Secret until the provider is asked with it.
async fn key(world: &World, number: usize) -> Result<f64> {
    let target = world.ours();
    let mut sender = target.connect().await?;
    let body = body("keyed", 1, false);
    let key = format!("sk-bench-key-{}", number + 1);
    let begun = Instant::now();
    objects::secret(&world.api, "team", "model", &[("api-key", key.as_bytes())])?;
    while begun.elapsed() < PATIENCE {
        target.ask(&mut sender, 0, &body).await?;
        if ledger::bill(world).await?.key == format!("Bearer {key}") {
            return Ok(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    bail!("the provider is not asked with the new key {PATIENCE:?} after its Secret changed")
}
