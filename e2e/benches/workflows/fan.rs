//! Many steps at once, in turns with as many Tasks that are no steps: the machine's own ceiling.

use crate::objects;
use crate::world::World;
use anyhow::{Context as _, Result};
use oarmaster_e2e::bench::cpu::Share;
use oarmaster_e2e::bench::report::{Goal, Report, percentile, short};
use serde_json::Value;
use std::time::Instant;

/// Steps of a fan: as many as may be under way at once.
const WIDTH: usize = 100;
/// Rounds of each. The first does not count.
const ROUNDS: usize = 6;
const GROUP: &str = "fan";

/// Runs the phase.
pub async fn run(world: &World<'_>, report: &mut Report) -> Result<()> {
    world.workflow(GROUP, &objects::fan(WIDTH)).await?;
    let (mut ceiling, mut ours, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = None;
    for round in 0..ROUNDS {
        eprintln!(
            "round {} of {ROUNDS}: {WIDTH} Tasks, then a fan of as many",
            round + 1
        );
        let group = format!("bare{round}");
        let names = crate::world::names(&group, WIDTH);
        let (bare, bare_share) = once(world, &group, &names, &objects::bare()).await?;
        let group = format!("fan{round}");
        let names = crate::world::names(&group, 1);
        let (fan, share) = once(world, &group, &names, &objects::run(GROUP)).await?;
        if round > 0 {
            let row = [bare, fan, bare / fan].map(short);
            let cpu = [&bare_share, &share].map(|share| short(share.each("operator", WIDTH)));
            rows.push([vec![round.to_string()], row.to_vec(), cpu.to_vec()].concat());
            ceiling.push(bare);
            ours.push(fan);
            last = Some((bare_share, share));
        }
    }
    report.table(
        &[
            "round",
            "100 Tasks, s (ceiling)",
            "a fan of 100 steps, s",
            "ratio",
            "operator CPU ms per Task",
            "per step",
        ],
        &rows,
    );
    if let Some((bare, share)) = &last {
        let rows = [("Tasks", bare, WIDTH), ("steps", share, WIDTH)];
        report.shares("CPU ms per object, last round", &rows);
    }
    let median = |values: &[f64]| percentile(values, 50);
    report.figure(
        "workflow_fan_100_of_ceiling",
        median(&ceiling) / median(&ours),
        Goal::AtLeast(0.5),
    );
    Ok(())
}

/// Creates Tasks at once, and gives the seconds until the last of them has ended.
async fn once(
    world: &World<'_>,
    group: &str,
    names: &[String],
    spec: &Value,
) -> Result<(f64, Share)> {
    let before = world.look()?;
    let begun = Instant::now();
    world.burst(names, spec).await?;
    world
        .tasks
        .until(group, |count| count.ended == names.len())
        .await?;
    let ended = world.tasks.all(group);
    let ended = ended.iter().filter(|task| task.step.is_none());
    let last = ended.filter_map(|task| task.ended).max();
    let last = last.context("nothing has ended")?;
    let share = world.look()?.since(&before);
    Ok(((last - begun).as_secs_f64(), share))
}
