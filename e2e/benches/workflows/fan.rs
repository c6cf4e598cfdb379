//! Many steps at once, in turns with as many Tasks that are no steps: the machine's own ceiling.

use crate::objects;
use crate::world::World;
use anyhow::{Context as _, Result};
use oarmaster_e2e::bench::cpu::Share;
use oarmaster_e2e::bench::report::{Goal, Report, percentile, short};
use serde_json::Value;
use std::time::Instant;

/// What fans out: its name, how wide, and how often beside as many Tasks. The first round does not count.
struct Fan {
    of: &'static str,
    width: usize,
    rounds: usize,
    workflow: fn(usize) -> Value,
    figure: &'static str,
}

/// As many steps as may be under way at once, and a step of many items.
const FANS: [Fan; 2] = [
    Fan {
        of: "steps",
        width: 100,
        rounds: 6,
        workflow: objects::fan,
        figure: "workflow_fan_100_of_ceiling",
    },
    Fan {
        of: "items",
        width: 1000,
        rounds: 4,
        workflow: objects::items,
        figure: "workflow_fan_1000_of_ceiling",
    },
];

/// Runs the phase.
pub async fn run(world: &World<'_>, report: &mut Report) -> Result<()> {
    for fan in &FANS {
        beside(world, fan, report).await?;
    }
    Ok(())
}

async fn beside(world: &World<'_>, fan: &Fan, report: &mut Report) -> Result<()> {
    let Fan {
        of,
        width,
        rounds,
        workflow,
        figure,
    } = *fan;
    let name = format!("fan{of}");
    world.workflow(&name, &workflow(width)).await?;
    let (mut ceiling, mut ours, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = None;
    for round in 0..rounds {
        eprintln!(
            "round {} of {rounds}: {width} Tasks, then a fan of as many {of}",
            round + 1
        );
        let group = format!("bare{of}{round}");
        let names = crate::world::names(&group, width);
        let (bare, bare_share) = once(world, &group, &names, &objects::bare()).await?;
        let group = format!("{name}{round}");
        let names = crate::world::names(&group, 1);
        let (fan, share) = once(world, &group, &names, &objects::run(&name)).await?;
        if round > 0 {
            let row = [bare, fan, bare / fan].map(short);
            let cpu = [&bare_share, &share].map(|share| short(share.each("operator", width)));
            rows.push([vec![round.to_string()], row.to_vec(), cpu.to_vec()].concat());
            ceiling.push(bare);
            ours.push(fan);
            last = Some((bare_share, share));
        }
    }
    report.table(
        &[
            "round",
            &format!("{width} Tasks, s (ceiling)"),
            &format!("a fan of {width} {of}, s"),
            "ratio",
            "operator CPU ms per Task",
            "in the fan",
        ],
        &rows,
    );
    if let Some((bare, share)) = &last {
        let rows = [("Tasks", bare, width), (of, share, width)];
        report.shares("CPU ms per object, last round", &rows);
    }
    let median = |values: &[f64]| percentile(values, 50);
    report.figure(figure, median(&ceiling) / median(&ours), Goal::AtLeast(0.5));
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
