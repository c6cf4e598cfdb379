//! Many runs at once: how soon each begins and ends, and what the operator takes for them.

use crate::objects;
use crate::seen::Seen;
use crate::world::{World, names};
use anyhow::{Context as _, Result};
use oarmaster_e2e::bench::cpu::memory;
use oarmaster_e2e::bench::report::{Goal, Report, percentile, short};
use std::collections::HashMap;
use std::time::Instant;

/// Runs at once.
const RUNS: usize = 500;
/// Steps of each, one after the other.
const STEPS: usize = 5;
/// How much longer than the median the slowest may take: more would be a run that others are done before.
const STARVED: f64 = 2.0;
const GROUP: &str = "many";

/// Runs the phase.
pub async fn run(world: &World<'_>, report: &mut Report) -> Result<()> {
    eprintln!("{RUNS} runs of {STEPS} steps at once");
    world.workflow(GROUP, &objects::chain(STEPS)).await?;
    let names = names(GROUP, RUNS);
    let before = world.look()?;
    let begun = Instant::now();
    world.burst(&names, &objects::run(GROUP)).await?;
    let created = begun.elapsed().as_secs_f64();
    world
        .tasks
        .until(GROUP, |count| count.ended == RUNS)
        .await?;
    let share = world.look()?.since(&before);
    let (resident, peak) = memory(world.operator()?)?;

    let seen = world.tasks.all(GROUP);
    let (starts, ends) = times(&seen)?;
    let last = seen.iter().filter_map(|task| task.ended).max();
    let last = last.context("nothing has ended")?;
    let wall = (last - begun).as_secs_f64();
    let row = |what: &str, values: &[f64]| {
        let mut row = vec![what.to_owned()];
        row.extend([0, 50, 90, 99, 100].map(|percent| short(percentile(values, percent))));
        row
    };
    report.table(
        &[
            "500 runs of 5 steps at once, s",
            "fastest",
            "p50",
            "p90",
            "p99",
            "slowest",
        ],
        &[
            row("a run is there -> the Task of its first step is", &starts),
            row("a run is there -> it has ended", &ends),
        ],
    );
    let steps = u32::try_from(RUNS * STEPS).map_or(f64::NAN, f64::from);
    let operator = share.used.get("operator").copied().unwrap_or_default();
    report.say(&format!(
        "They were created in {} s, and the last one had ended after {} s: {} steps a second. The operator took {} s of CPU for it; {} MiB \
         resident after it, {} at most since its start.",
        short(created),
        short(wall),
        short(steps / wall),
        short(operator),
        short(resident),
        short(peak),
    ));
    report.shares("CPU ms per run", &[("500 runs at once", &share, RUNS)]);
    let ended = u32::try_from(ends.len()).map_or(f64::NAN, f64::from);
    let all = u32::try_from(RUNS).map_or(f64::NAN, f64::from);
    report.figure("workflow_500_ended", ended, Goal::AtLeast(all));
    report.figure(
        "workflow_500_slowest_of_median",
        percentile(&ends, 100) / percentile(&ends, 50),
        Goal::AtMost(STARVED),
    );
    report.figure("workflow_500_operator_mib", peak, Goal::Below(150.0));
    Ok(())
}

/// Seconds from each run to its first step, and to its end.
fn times(seen: &[Seen]) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut first: HashMap<&str, Instant> = HashMap::new();
    for task in seen {
        if let Some((run, _)) = &task.step {
            let at = first.entry(run).or_insert(task.made);
            *at = (*at).min(task.made);
        }
    }
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    for run in seen.iter().filter(|task| task.step.is_none()) {
        let since = |at: Instant| at.saturating_duration_since(run.made).as_secs_f64();
        let began = first.get(run.uid.as_str()).copied();
        starts.push(since(began.context("a run without a step")?));
        ends.push(since(run.ended.context("a run that has not ended")?));
    }
    Ok((starts, ends))
}
