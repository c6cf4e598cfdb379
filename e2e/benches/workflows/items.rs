//! One step with many items: the time they take, how many of their Tasks are there at once, and how large the run's status becomes.

use crate::objects;
use crate::world::World;
use anyhow::{Context as _, Result};
use kube::Api;
use kube::api::ListParams;
use oarmaster_crds::Task;
use oarmaster_e2e::bench::cpu::memory;
use oarmaster_e2e::bench::report::{Goal, Report, short};
use std::time::{Duration, Instant};

/// Items of the runs, one after the other.
const ITEMS: [usize; 3] = [1000, 3000, 10_000];
/// How often it is looked how many Tasks there are.
const LOOK: Duration = Duration::from_millis(500);
/// Most Tasks of one run at once.
const OBJECTS: f64 = 500.0;
/// Most of a status, in KiB.
const STATUS: f64 = 16.0;
/// How much longer an item may take among ten times as many.
const LINEAR: f64 = 1.5;

/// What was seen of one run.
#[derive(Clone, Copy, Debug, Default)]
struct Most {
    objects: u64,
    status: usize,
}

/// Runs the phase.
pub async fn run(world: &World<'_>, report: &mut Report) -> Result<()> {
    let (mut rows, mut each, mut most) = (Vec::new(), Vec::new(), Most::default());
    for items in ITEMS {
        let group = format!("items{items}");
        eprintln!("a step with {items} items");
        world.workflow(&group, &objects::items(items)).await?;
        let before = world.look()?;
        let begun = Instant::now();
        let name = format!("{group}-run");
        let held = count(world).await?;
        world.task(&name, &objects::run(&group)).await?;
        let ended = world.tasks.until(&group, |count| count.ended == 1);
        tokio::select! {
            ended = ended => ended?,
            failed = watch(world, &name, held, &mut most) => failed?,
        };
        let wall = begun.elapsed().as_secs_f64();
        let share = world.look()?.since(&before);
        let (resident, _) = memory(world.operator()?)?;
        let many = u32::try_from(items).map_or(f64::NAN, f64::from);
        each.push(wall / many);
        rows.push(vec![
            items.to_string(),
            short(wall),
            short(many / wall),
            short(share.each("operator", items)),
            most.objects.to_string(),
            most.status.to_string(),
            short(resident),
        ]);
    }
    report.table(
        &[
            "items of a step",
            "s",
            "items a second",
            "operator CPU ms per item",
            "Tasks at once, so far",
            "bytes of status, so far",
            "operator MiB",
        ],
        &rows,
    );
    let (first, last) = each.first().zip(each.last()).context("nothing was run")?;
    let number = |value: u64| u32::try_from(value).map_or(f64::NAN, f64::from);
    report.figure(
        "workflow_items_10000_of_1000",
        last / first,
        Goal::AtMost(LINEAR),
    );
    report.figure(
        "workflow_items_tasks_at_once",
        number(most.objects),
        Goal::AtMost(OBJECTS),
    );
    let status = number(most.status as u64) / 1024.0;
    report.figure("workflow_items_status_kib", status, Goal::AtMost(STATUS));
    Ok(())
}

/// Looks on until it is dropped.
async fn watch(world: &World<'_>, name: &str, held: u64, most: &mut Most) -> Result<()> {
    let tasks: Api<Task> = world.space.api();
    let mut look = tokio::time::interval(LOOK);
    loop {
        look.tick().await;
        let more = count(world).await?.saturating_sub(held + 1);
        most.objects = most.objects.max(more);
        let run = tasks.get(name).await?;
        let steps = run.status.and_then(|status| status.steps);
        let bytes = serde_json::to_vec(&steps)?.len();
        most.status = most.status.max(bytes);
    }
}

/// How many Tasks there are.
async fn count(world: &World<'_>) -> Result<u64> {
    let tasks: Api<Task> = world.space.api();
    let list = tasks.list_metadata(&ListParams::default().limit(1)).await?;
    let more = list.metadata.remaining_item_count.unwrap_or_default();
    Ok(list.items.len() as u64 + u64::try_from(more).unwrap_or_default())
}
