//! A burst of Tasks, in turns with as many bare Jobs: the machine's own ceiling.

use crate::load::{self, Ends};
use crate::machine::{self, BARE};
use crate::{PATIENCE, World, pace};
use anyhow::Result;
use oarmaster_e2e::bench::cpu::{Cpu, Share};
use oarmaster_e2e::bench::report::{Goal, Report, percentile, short};
use serde_json::Value;
use std::time::Instant;

/// Objects of a burst.
const BURST: usize = 500;
/// Rounds of each.
const ROUNDS: usize = 3;

/// Runs the phase.
pub async fn run(world: &mut World, tasks: &Ends, jobs: &Ends, report: &mut Report) -> Result<()> {
    let (mut ceiling, mut ours, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = None;
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}: {BURST} bare Jobs, then {BURST} Tasks");
        let names = load::names(&format!("bare-{round}"), BURST);
        let objects = names.iter().map(|name| machine::job(name)).collect();
        let (bare, bare_share) = once(world, jobs, &machine::jobs(BARE), &names, objects).await?;
        for list in [machine::jobs(BARE), machine::pods(BARE)] {
            delete(world, &list).await?;
        }
        let names = load::names(&format!("burst-{round}"), BURST);
        let objects = names
            .iter()
            .map(|name| machine::task(name, "20m"))
            .collect();
        let (rate, share) = once(world, tasks, &machine::tasks(), &names, objects).await?;
        let before = Cpu::look(&world.pids()?)?;
        pace::settled(world).await?;
        let rest = Cpu::look(&world.pids()?)?.since(&before);
        rows.push(vec![
            round.to_string(),
            short(bare),
            short(rate),
            short(rate / bare),
            short(share.each("operator", BURST) + rest.each("operator", BURST)),
        ]);
        ceiling.push(bare);
        ours.push(rate);
        last = Some((bare_share, share));
    }
    world.audit.read()?;
    report.table(
        &[
            "burst of 500",
            "bare Jobs/s (ceiling)",
            "Tasks/s",
            "ratio",
            "operator CPU ms per Task",
        ],
        &rows,
    );
    if let Some((bare, share)) = &last {
        let rows = [("bare Jobs", bare, BURST), ("Tasks", share, BURST)];
        report.shares("CPU ms per object, last round", &rows);
    }
    let median = |values: &[f64]| percentile(values, 50);
    report.figure(
        "burst_500_of_ceiling",
        median(&ours) / median(&ceiling),
        Goal::AtLeast(0.6),
    );
    Ok(())
}

/// Creates everything at once, and gives the rate at which it ended.
async fn once(
    world: &World,
    ends: &Ends,
    list: &str,
    names: &[String],
    objects: Vec<Value>,
) -> Result<(f64, Share)> {
    let before = Cpu::look(&world.pids()?)?;
    let begun = Instant::now();
    load::burst(&world.clients.admin, list, objects).await?;
    let end = ends.of(names).await?;
    let share = Cpu::look(&world.pids()?)?.since(&before);
    world.stub.check()?;
    let count = u32::try_from(names.len()).map_or(0.0, f64::from);
    Ok((count / (end - begun).as_secs_f64(), share))
}

/// Deletes what a round of bare Jobs left, so that the next one finds the same cluster.
async fn delete(world: &World, list: &str) -> Result<()> {
    let request =
        http::Request::delete(format!("{list}?propagationPolicy=Background")).body(Vec::new())?;
    world.clients.admin.request_text(request).await?;
    machine::until_none(&world.clients.admin, list, PATIENCE).await
}
