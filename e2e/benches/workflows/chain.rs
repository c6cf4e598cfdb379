//! From the end of a step to the Task of the next one.

use crate::objects;
use crate::seen::Seen;
use crate::world::{World, names};
use anyhow::{Context as _, Result};
use oarmaster_e2e::bench::report::{Goal, Report, percentile, short};
use std::collections::HashMap;

/// Steps of a chain.
const STEPS: usize = 20;
/// Chains, one after the other. The first does not count.
const CHAINS: usize = 16;
const GROUP: &str = "chain";

/// Runs the phase.
pub async fn run(world: &World<'_>, report: &mut Report) -> Result<()> {
    eprintln!("{CHAINS} chains of {STEPS} steps, one after the other");
    world.workflow(GROUP, &objects::chain(STEPS)).await?;
    let names = names(GROUP, CHAINS);
    let mut before = world.look()?;
    for (number, name) in names.iter().enumerate() {
        if number == 1 {
            before = world.look()?;
        }
        world.task(name, &objects::run(GROUP)).await?;
        world
            .tasks
            .until(GROUP, |count| count.ended > number)
            .await?;
    }
    let share = world.look()?.since(&before);

    let seen = world.tasks.all(GROUP);
    let (mut gaps, mut wholes) = (Vec::new(), Vec::new());
    for name in names.iter().skip(1) {
        let run = seen.iter().find(|task| task.name == *name);
        let run = run.context("a chain was not seen")?;
        gaps.extend(gaps_of(run, &seen)?);
        let ended = run.ended.context("a chain has not ended")?;
        wholes.push((ended - run.made).as_secs_f64() * 1e3);
    }
    let row = |what: &str, values: &[f64]| {
        let mut row = vec![what.to_owned()];
        row.extend([50, 90, 99, 100].map(|percent| short(percentile(values, percent))));
        row
    };
    report.table(
        &["ms, as a watch sees it", "p50", "p90", "p99", "max"],
        &[
            row(
                "a step's Task has Finished -> the next one's is there",
                &gaps,
            ),
            row(&format!("a whole chain of {STEPS} steps"), &wholes),
        ],
    );
    let steps = STEPS * (CHAINS - 1);
    report.shares(
        "CPU ms per step",
        &[("chains, one at a time", &share, steps)],
    );
    let of = |percent| percentile(&gaps, percent);
    report.figure("workflow_step_to_step_ms_p50", of(50), Goal::Below(20.0));
    report.figure("workflow_step_to_step_ms_p99", of(99), Goal::Below(100.0));
    Ok(())
}

/// Milliseconds between the end of each step of a run and the Task of the next one.
fn gaps_of(run: &Seen, seen: &[Seen]) -> Result<Vec<f64>> {
    let steps: HashMap<&str, &Seen> = seen
        .iter()
        .filter_map(|task| {
            let (of, step) = task.step.as_ref()?;
            (*of == run.uid).then_some((step.as_str(), task))
        })
        .collect();
    let at = |at: usize| {
        let step = objects::name(at);
        let found = steps.get(step.as_str());
        found.with_context(|| format!("{} has no Task of {step}", run.name))
    };
    (1..STEPS)
        .map(|next| {
            let ended = at(next - 1)?.ended;
            let ended = ended.context("a step has not ended")?;
            let made = at(next)?.made.saturating_duration_since(ended);
            Ok(made.as_secs_f64() * 1e3)
        })
        .collect()
}
