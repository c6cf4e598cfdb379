//! Many Tasks that do not end: the operator's memory, of the process that saw them come and of one that finds them.

use crate::objects;
use crate::world::{World, names};
use anyhow::Result;
use oarmaster_crds::{Task, conditions};
use oarmaster_e2e::bench::cpu::memory;
use oarmaster_e2e::bench::report::{Goal, Report, short};
use oarmaster_e2e::task::holds;
use oarmaster_e2e::wait;
use serde_json::json;
use std::time::{Duration, Instant};

/// Steps of a run, all at once.
const STEPS: usize = 9;
/// Runs that are created before it is looked again.
const AT_ONCE: usize = 50;
/// After this there are as many as there are.
const LIMIT: Duration = Duration::from_secs(150);
/// How long the operator may take to look at all of them.
const PATIENCE: Duration = Duration::from_secs(180);
const GROUP: &str = "live";

/// Runs the phase with so many Tasks.
pub async fn run(world: &World<'_>, live: usize, report: &mut Report) -> Result<()> {
    let (empty, _) = memory(world.operator()?)?;
    world.workflow(GROUP, &objects::fan(STEPS)).await?;
    let runs = names(GROUP, live / (STEPS + 1));
    let begun = Instant::now();
    let mut made = 0;
    for names in runs.chunks(AT_ONCE) {
        world.burst(names, &objects::run(GROUP)).await?;
        made += names.len();
        let steps = made * STEPS;
        world
            .tasks
            .until(GROUP, |count| count.steps == steps)
            .await?;
        eprintln!("{} of {live} Tasks are under way", made * (STEPS + 1));
        if begun.elapsed() > LIMIT {
            break;
        }
    }
    settled(world, "canary-before").await?;
    let (now, peak) = memory(world.operator()?)?;
    eprintln!("the operator is started anew");
    world.rig.operator.kill().await?;
    settled(world, "canary-after").await?;
    let (again, again_peak) = memory(world.operator()?)?;

    let tasks = made * (STEPS + 1);
    let row =
        |what: &str, resident: f64, peak: f64| vec![what.to_owned(), short(resident), short(peak)];
    report.table(
        &["operator's memory, MiB", "resident", "at most"],
        &[
            vec!["before".to_owned(), short(empty), String::new()],
            row(&format!("{tasks} live Tasks"), now, peak),
            row(
                "the same, found by an operator that was just started",
                again,
                again_peak,
            ),
        ],
    );
    let fewer = if tasks < live {
        format!(
            " {live} were meant, and no more came in {} s.",
            LIMIT.as_secs()
        )
    } else {
        String::new()
    };
    report.say(&format!(
        "Live are {made} runs, each with the Tasks of its {STEPS} steps, which no pilot takes.{fewer}"
    ));
    report.figure(
        "workflow_live_operator_mib",
        now.max(again),
        Goal::Below(150.0),
    );
    Ok(())
}

/// Waits until the operator has ended a Task that came after everything else.
async fn settled(world: &World<'_>, name: &str) -> Result<()> {
    let refused =
        json!({"run": {"sandbox": {"image": "registry.invalid/none:1"}, "command": ["true"]}});
    world.task(name, &refused).await?;
    let over = |task: &Task| holds(task, conditions::FINISHED);
    wait::until(world.space.api(), name, "its end", PATIENCE, over).await?;
    Ok(())
}
