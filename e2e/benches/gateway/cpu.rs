//! CPU per call, by the kernel's account of each process: the bare pass-through, the gateway and LiteLLM in turns.

use crate::World;
use crate::load::{Target, body, to_f64};
use anyhow::Result;
use oarmaster_e2e::bench::cpu::cpu;
use oarmaster_e2e::bench::report::{Goal, Report, percentile, short};
use std::collections::BTreeMap;

/// Connections that are used at once.
const CONNECTIONS: usize = 16;
/// Rounds; the median counts.
const ROUNDS: usize = 3;

/// Body sizes in KiB, each with the requests of a round, and those of LiteLLM's.
const SIZES: [(usize, usize, usize); 3] = [(1, 10_000, 150), (32, 4_000, 80), (400, 800, 20)];

/// What one round of one target was.
#[derive(Default)]
struct Seen {
    micros: Vec<f64>,
    rates: Vec<f64>,
}

/// Runs the phase.
pub async fn run(world: &World, report: &mut Report) -> Result<()> {
    let targets = world.targets();
    let mut seen: BTreeMap<(usize, &str), Seen> = BTreeMap::new();
    for (target, pid) in &targets {
        eprintln!("warming up {}", target.name);
        let count = if target.name == "LiteLLM" { 50 } else { 4_000 };
        once(target, *pid, 1, count).await?;
    }
    for round in 1..=ROUNDS {
        for (kib, ours, theirs) in SIZES {
            eprintln!("CPU per call, round {round} of {ROUNDS}, {kib} KiB");
            for (target, pid) in &targets {
                let count = if target.name == "LiteLLM" {
                    theirs
                } else {
                    ours
                };
                let (micros, rate) = once(target, *pid, kib, count).await?;
                eprintln!("  {}: {micros:.0} us, {rate:.0} calls/s", target.name);
                let seen = seen.entry((kib, target.name)).or_default();
                seen.micros.push(micros);
                seen.rates.push(rate);
            }
        }
    }
    let median = |kib: usize, name: &str| {
        let values = seen.get(&(kib, name)).map(|seen| seen.micros.as_slice());
        percentile(values.unwrap_or_default(), 50)
    };
    let mut rows = Vec::new();
    for ((kib, name), seen) in &seen {
        let spread = format!(
            "{} to {}",
            short(percentile(&seen.micros, 1)),
            short(percentile(&seen.micros, 100))
        );
        rows.push(vec![
            format!("{kib} KiB, {name}"),
            short(median(*kib, name)),
            spread,
            short(median(*kib, name) / median(*kib, "pass-through")),
            short(percentile(&seen.rates, 50)),
        ]);
    }
    let head = [
        "CPU of a call that is not streamed",
        "us, median",
        "us, of the rounds",
        "x pass-through",
        "calls/s at 16 connections",
    ];
    report.table(&head, &rows);
    let ours = median(1, "gateway");
    report.figure("gateway_cpu_us_per_call", ours, Goal::AtMost(60.0));
    let floor = median(1, "pass-through");
    report.figure(
        "gateway_cpu_of_pass_through",
        ours / floor,
        Goal::AtMost(2.5),
    );
    if seen.contains_key(&(1, "LiteLLM")) {
        let theirs = median(1, "LiteLLM");
        report.figure(
            "litellm_cpu_of_gateway",
            theirs / ours,
            Goal::AtLeast(100.0),
        );
    }
    Ok(())
}

/// CPU microseconds per request of the process behind a target, and requests per second.
async fn once(target: &Target, pid: u32, kib: usize, count: usize) -> Result<(f64, f64)> {
    let body = body("plain", kib, false);
    let before = cpu(pid)?;
    let took = target.closed(&body, count, CONNECTIONS).await?;
    let used = cpu(pid)? - before;
    let count = to_f64(count);
    Ok((used * 1e6 / count, count / took.as_secs_f64()))
}
