//! Many Tasks that run and do not end: the operator's memory, and what it does while nothing changes.

use crate::audit::{Entry, GATEWAY, OPERATOR};
use crate::load::{self, Ends};
use crate::machine;
use crate::{PATIENCE, World};
use anyhow::{Result, bail};
use oarmaster_e2e::bench::cpu::{self, Cpu};
use oarmaster_e2e::bench::report::{Goal, Report, short};
use std::time::{Duration, Instant};

/// Objects that are created before the next look at the cluster.
const STEP: usize = 500;
/// Longest time without any write of ours before the count begins.
const QUIET: Duration = Duration::from_secs(10);

/// Runs the phase.
pub async fn run(
    world: &mut World,
    tasks: &Ends,
    live: usize,
    idle: Duration,
    report: &mut Report,
) -> Result<()> {
    world.stub.hold();
    let pid = world.product.operator()?;
    let (empty, _) = cpu::memory(pid)?;
    let names = load::names("live", live);
    for (step, names) in names.chunks(STEP).enumerate() {
        // A day: none of them may end while the machine is watched.
        let objects = names
            .iter()
            .map(|name| machine::task(name, "24h"))
            .collect();
        load::burst(&world.clients.admin, &machine::tasks(), objects).await?;
        tasks.running(names).await?;
        eprintln!("{} of {live} Tasks run", step * STEP + names.len());
    }
    world.stub.check()?;
    let (now, peak) = cpu::memory(pid)?;

    eprintln!("the operator is restarted");
    quiet(world).await?;
    let took = world.product.restart_operator().await?;
    let after = quiet(world).await?;
    let written = after.iter().filter(|entry| ours(entry)).count();
    let (again, again_peak) = cpu::memory(world.product.operator()?)?;
    report.table(
        &["operator's memory, MiB", "resident", "peak"],
        &[
            vec!["before".to_owned(), short(empty), String::new()],
            vec![format!("{live} live Tasks"), short(now), short(peak)],
            vec![
                format!(
                    "{live} live Tasks, after a restart (caches filled in {:.1} s, {written} writes)",
                    took.as_secs_f64()
                ),
                short(again),
                short(again_peak),
            ],
        ],
    );
    report.figure(
        "operator_memory_live_mib",
        now.max(again),
        Goal::Below(150.0),
    );

    eprintln!("nothing changes for {} s", idle.as_secs());
    let before = Cpu::look(&world.pids()?)?;
    tokio::time::sleep(idle).await;
    let share = Cpu::look(&world.pids()?)?.since(&before);
    let entries = world.audit.read()?;
    let writes: Vec<&Entry> = entries.iter().filter(|entry| ours(entry)).collect();
    for entry in writes.iter().take(5) {
        eprintln!(
            "{} {} {} {}",
            entry.user, entry.verb, entry.resource, entry.name
        );
    }
    let mine = |name: &str| share.used.get(name).copied().unwrap_or_default();
    report.say(&format!(
        "Idle for {} s with {live} live Tasks: {} writes by operator and gateway (the operator's Lease, renewed every 5 s, and Events \
         apart), {} other requests; CPU {:.2} s of the operator, {:.2} s of the gateway.",
        idle.as_secs(),
        writes.len(),
        entries
            .iter()
            .filter(|entry| [OPERATOR, GATEWAY].contains(&entry.user.as_str()) && !ours(entry))
            .filter(|entry| entry.resource != "leases")
            .count(),
        mine("operator"),
        mine("gateway"),
    ));
    let count = u32::try_from(writes.len()).map_or(f64::NAN, f64::from);
    report.figure("idle_writes", count, Goal::AtMost(0.0));
    Ok(())
}

fn ours(entry: &Entry) -> bool {
    entry.writes() && [OPERATOR, GATEWAY].contains(&entry.user.as_str())
}

/// Waits until operator and gateway have written nothing for a while; gives what was in the log until then.
async fn quiet(world: &mut World) -> Result<Vec<Entry>> {
    let deadline = Instant::now() + PATIENCE;
    let mut all = Vec::new();
    loop {
        tokio::time::sleep(QUIET).await;
        let entries = world.audit.read()?;
        let written = entries.iter().any(ours);
        all.extend(entries);
        if !written {
            return Ok(all);
        }
        if Instant::now() > deadline {
            bail!("operator and gateway do not stop to write");
        }
    }
}
