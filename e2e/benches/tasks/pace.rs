//! Tasks one at a time, and 50 a second: how soon their Jobs exist, how soon they are Complete, what they cost.

use crate::audit::{Entry, GATEWAY, OPERATOR};
use crate::load::{self, Ends};
use crate::machine::{self, OTHER, TASKS};
use crate::stub::Stub;
use crate::{PATIENCE, World};
use anyhow::{Context as _, Result};
use oarmaster_e2e::bench::cpu::{Cpu, Share};
use oarmaster_e2e::bench::report::{Goal, Report, percentile, short};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Tasks one at a time.
const ONE: usize = 100;
/// Tasks at 50 a second.
const MANY: usize = 1000;
/// Time between two of them.
const EACH: Duration = Duration::from_millis(20);

/// What was measured of some Tasks, in milliseconds.
pub struct Times {
    /// From a Task to its Job.
    pub to_job: Vec<f64>,
    /// From the end of its pod to its own.
    pub to_complete: Vec<f64>,
}

/// Runs the phase.
pub async fn run(world: &mut World, ends: &Ends, report: &mut Report) -> Result<()> {
    let list = machine::tasks();
    eprintln!("{ONE} Tasks, one at a time");
    world.audit.read()?;
    let names = load::names("one", ONE);
    for name in &names {
        let task = machine::task(name, "20m");
        machine::create(&world.clients.admin, &list, &task).await?;
        ends.of(std::slice::from_ref(name)).await?;
        settled(world).await?;
    }
    let one = times(&world.audit.read()?, &names, &world.stub)?;

    eprintln!("{MANY} Tasks, {} a second", 1000 / EACH.as_millis());
    let names = load::names("pace", MANY);
    let tasks = names
        .iter()
        .map(|name| machine::task(name, "20m"))
        .collect();
    let passes = world.product.passes().await?;
    let before = Cpu::look(&world.pids()?)?;
    let rate = load::at_rate(&world.clients.admin, &list, tasks, EACH).await?;
    ends.of(&names).await?;
    settled(world).await?;
    let share = Cpu::look(&world.pids()?)?.since(&before);
    let entries = world.audit.read()?;
    let many = times(&entries, &names, &world.stub)?;
    tell(report, rate, &one, &many);
    let passes = world.product.passes().await? - passes;
    costs(report, &entries, &share, passes);
    Ok(())
}

/// Waits until nothing is left of the Tasks but themselves.
pub async fn settled(world: &World) -> Result<()> {
    for namespace in [TASKS, OTHER] {
        for list in [machine::jobs(namespace), machine::pods(namespace)] {
            machine::until_none(&world.clients.admin, &list, PATIENCE).await?;
        }
    }
    world.stub.check()
}

fn tell(report: &mut Report, rate: f64, one: &Times, many: &Times) {
    let row = |what: &str, values: &[f64]| {
        let mut row = vec![what.to_owned()];
        row.extend([50, 90, 99, 100].map(|percent| short(percentile(values, percent))));
        row
    };
    let paced = format!("{rate:.1} Tasks/s");
    report.table(
        &["ms", "p50", "p90", "p99", "max"],
        &[
            row("created -> Job, one at a time", &one.to_job),
            row(&format!("created -> Job, {paced}"), &many.to_job),
            row("pilot ended -> Complete, one at a time", &one.to_complete),
            row(
                &format!("pilot ended -> Complete, {paced}"),
                &many.to_complete,
            ),
        ],
    );
    let p50 = |values| percentile(values, 50);
    report.figure(
        "created_to_job_one_p50_ms",
        p50(&one.to_job),
        Goal::Below(8.0),
    );
    report.figure(
        "created_to_job_50s_p50_ms",
        p50(&many.to_job),
        Goal::Below(20.0),
    );
    let p99 = percentile(&many.to_job, 99);
    report.figure("created_to_job_50s_p99_ms", p99, Goal::Below(100.0));
    report.figure(
        "ended_to_complete_one_p50_ms",
        p50(&one.to_complete),
        Goal::Below(9.0),
    );
    report.figure(
        "ended_to_complete_50s_p50_ms",
        p50(&many.to_complete),
        Goal::Below(50.0),
    );
}

fn costs(report: &mut Report, entries: &[Entry], share: &Share, passes: u32) {
    report.shares("CPU ms per Task", &[("50 Tasks/s", share, MANY)]);
    let many = u32::try_from(MANY).map_or(1.0, f64::from);
    let per_task = |count: usize| u32::try_from(count).map_or(f64::NAN, f64::from) / many;
    report.say(&format!(
        "The Task controller made {} passes per Task.",
        short(f64::from(passes) / many)
    ));
    let mut counts: BTreeMap<(&str, String), usize> = BTreeMap::new();
    let mut writes = 0;
    for entry in entries {
        let who = match entry.user.as_str() {
            OPERATOR => "operator",
            GATEWAY => "gateway",
            _ => continue,
        };
        writes += usize::from(entry.writes() && entry.done());
        let refused = if entry.done() {
            String::new()
        } else {
            format!(" ({})", entry.code)
        };
        let what = format!("{} {}{refused}", entry.verb, entry.resource);
        *counts.entry((who, what)).or_default() += 1;
    }
    let rows: Vec<Vec<String>> = counts
        .iter()
        .filter(|(_, count)| per_task(**count) >= 0.005)
        .map(|((who, what), count)| vec![(*who).to_owned(), what.clone(), short(per_task(*count))])
        .collect();
    report.table(&["who", "request to the API server", "per Task"], &rows);
    let cpu = share.each("operator", MANY);
    report.figure("operator_cpu_ms_per_task", cpu, Goal::AtMost(4.0));
    report.figure("api_writes_per_task", per_task(writes), Goal::AtMost(6.0));
}

/// Reads the times of Tasks out of the audit log.
pub fn times(entries: &[Entry], names: &[String], stub: &Stub) -> Result<Times> {
    let wanted: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let ended = stub.ended();
    let (mut created, mut job, mut end, mut complete) = (
        BTreeMap::new(),
        BTreeMap::new(),
        BTreeMap::new(),
        BTreeMap::new(),
    );
    for entry in entries.iter().filter(|entry| entry.done()) {
        let ours = entry.user == OPERATOR;
        match (entry.verb.as_str(), entry.resource.as_str()) {
            ("create", "tasks") => created.insert(entry.name.as_str(), entry.at),
            ("create", "jobs") if ours => job.insert(task_of(&entry.name), entry.at),
            // The last one counts: the end of the pod, the end of the Task.
            ("patch", "pods/status") => match ended.get(&entry.name) {
                Some(job) => end.insert(task_of(job), entry.at),
                None => None,
            },
            ("patch", "tasks/status") if ours => complete.insert(entry.name.as_str(), entry.at),
            _ => None,
        };
    }
    let between = |from: &BTreeMap<&str, i64>, to: &BTreeMap<&str, i64>| {
        wanted
            .iter()
            .map(|name| {
                let (from, to) = from.get(name).zip(to.get(name))?;
                let micros = i32::try_from(to - from).ok()?;
                Some(f64::from(micros) / 1e3)
            })
            .collect::<Option<Vec<f64>>>()
            .context("the audit log has not every step of every Task")
    };
    Ok(Times {
        to_job: between(&created, &job)?,
        to_complete: between(&end, &complete)?,
    })
}

/// The Task in the name of its Job, `<Task>-<hash>-<attempt>`.
fn task_of(job: &str) -> &str {
    let without = |name| str::rsplit_once(name, '-').map_or(name, |(front, _)| front);
    without(without(job))
}
