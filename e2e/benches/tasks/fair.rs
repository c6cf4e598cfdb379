//! One namespace with many Tasks, and another with one at a time: how soon the latter's Jobs exist, beside how soon they do alone.

use crate::World;
use crate::load::{self, Ends};
use crate::machine::{self, OTHER};
use crate::pace::{self, times};
use anyhow::{Result, ensure};
use oarmaster_e2e::bench::report::{Goal, Report, percentile, short};
use std::time::Duration;

/// Tasks of the one, at once.
const MANY: usize = 1000;
/// Tasks of the other, one at a time.
const ONE: usize = 20;
/// The same while the many are there.
const BESIDE: usize = 10;
/// Time between two of these.
const EACH: Duration = Duration::from_millis(500);
/// How much longer than alone the other's first Task may take.
const DELAYED: f64 = 2.0;

/// Runs the phase.
pub async fn run(world: &mut World, ends: &Ends, report: &mut Report) -> Result<()> {
    let others = Ends::follow(&world.clients.admin, machine::tasks_of(OTHER));
    eprintln!("{ONE} Tasks of another namespace, one at a time");
    // The first one of a namespace finds no NetworkPolicy and no ServiceAccount there.
    one_by_one(world, &others, &load::names("other-first", 1)).await?;
    world.audit.read()?;
    let names = load::names("other-alone", ONE);
    one_by_one(world, &others, &names).await?;
    let alone = times(&world.audit.read()?, &names, &world.stub)?.to_job;

    eprintln!("{MANY} Tasks at once, and {BESIDE} of another namespace beside them");
    let many = load::names("many", MANY);
    let tasks = many.iter().map(|name| machine::task(name, "20m")).collect();
    load::burst(&world.clients.admin, &machine::tasks(), tasks).await?;
    let left = || MANY - ends.ended(&many);
    let before = left();
    let names = load::names("other-beside", BESIDE);
    let tasks = names
        .iter()
        .map(|name| machine::task(name, "20m"))
        .collect();
    let list = machine::tasks_of(OTHER);
    load::at_rate(&world.clients.admin, &list, tasks, EACH).await?;
    let after = left();
    others.of(&names).await?;
    ends.of(&many).await?;
    pace::settled(world).await?;
    let entries = world.audit.read()?;
    let beside = times(&entries, &names, &world.stub)?.to_job;
    let own = times(&entries, &many, &world.stub)?.to_job;
    let first = beside.first().copied().unwrap_or(f64::NAN);
    ensure!(
        before > MANY / 2,
        "only {before} of {MANY} Tasks were left when the other's first one came"
    );

    let row = |what: &str, values: &[f64]| {
        let mut row = vec![what.to_owned()];
        row.extend([50, 90, 100].map(|percent| short(percentile(values, percent))));
        row
    };
    report.table(
        &["created -> Job, ms", "p50", "p90", "max"],
        &[
            row("another namespace's, alone", &alone),
            row(&format!("beside {MANY} Tasks"), &beside),
            row(&format!("the {MANY} themselves"), &own),
        ],
    );
    report.say(&format!(
        "The other namespace's first Task took {} ms; {before} of {MANY} had not ended when it came, and {after} when the last of {BESIDE} came.",
        short(first),
    ));
    let idle = percentile(&alone, 50);
    report.figure(
        "other_namespace_first_of_idle",
        first / idle,
        Goal::Below(DELAYED),
    );
    report.figure(
        "other_namespace_p50_of_idle",
        percentile(&beside, 50) / idle,
        Goal::Below(DELAYED),
    );
    Ok(())
}

/// Tasks of the other namespace, the next one when nothing is left of the one before.
async fn one_by_one(world: &World, ends: &Ends, names: &[String]) -> Result<()> {
    for name in names {
        let task = machine::task(name, "20m");
        machine::create(&world.clients.admin, &machine::tasks_of(OTHER), &task).await?;
        ends.of(std::slice::from_ref(name)).await?;
        pace::settled(world).await?;
    }
    Ok(())
}
