//! What the gateway adds to an answer's time, at a rate that does not wait for answers.

use crate::World;
use crate::load::{Open, Target, body};
use anyhow::{Context as _, Result, ensure};
use oarmaster_e2e::bench::report::{Goal, Report, percentile, short};
use std::collections::BTreeMap;
use std::time::Duration;

/// Rates that are tried: the first that the mock keeps when it is asked directly is the one.
const RATES: [u32; 6] = [5000, 4000, 3000, 2000, 1000, 500];
/// A rate at which no machine has a queue.
const EASY: u32 = 500;
/// A rate that LiteLLM keeps.
const LITELLM: u32 = 20;
/// Rounds; the median counts.
const ROUNDS: usize = 3;
/// Length of a round; its first second does not count.
const LENGTH: Duration = Duration::from_secs(5);

/// Percentiles of one target's rounds in milliseconds.
#[derive(Default)]
struct Seen {
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Seen {
    fn add(&mut self, open: &Open) {
        self.p50.push(open.ms(50.0));
        self.p99.push(open.ms(99.0));
    }

    /// The medians of what the rounds have more than those of another.
    fn over(&self, other: &Self) -> (f64, f64) {
        let median = |ours: &[f64], theirs: &[f64]| {
            let more: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a - b).collect();
            percentile(&more, 50)
        };
        (median(&self.p50, &other.p50), median(&self.p99, &other.p99))
    }
}

/// Runs the phase.
pub async fn run(world: &World, report: &mut Report) -> Result<()> {
    let direct = world.direct();
    let mut targets = vec![direct.clone()];
    let mut litellm = vec![direct.clone()];
    for (target, _) in world.targets() {
        if target.name == "LiteLLM" {
            litellm.push(target);
        } else {
            targets.push(target);
        }
    }
    for target in targets.iter().chain(&litellm) {
        let count = if target.name == "LiteLLM" { 20 } else { 2000 };
        target.closed(&body("plain", 1, false), count, 16).await?;
    }
    let rate = kept(&direct).await?;
    ensure!(
        rate > 0,
        "the mock does not keep even the lowest rate: the machine is too busy to measure; run again when it is free"
    );
    let mut rows = Vec::new();
    rounds(&targets, EASY, &mut rows).await?;
    let (p50, p99) = rounds(&targets, rate, &mut rows).await?;
    let ours = kept(&world.ours()).await?;
    if ours < rate && ours > EASY {
        rounds(&targets, ours, &mut rows).await?;
    }
    if litellm.len() > 1 {
        rounds(&litellm, LITELLM, &mut rows).await?;
    }
    let head = [
        "open loop, 1 KiB, ms from the due time",
        "p50",
        "p99",
        "added p50",
        "added p99",
        "without answer",
    ];
    report.table(&head, &rows);
    if rate < RATES[0] {
        report.say(&format!(
            "Asked directly, the mock keeps {rate} requests/s on this machine beside the load, not {}: the figures of latency are at {rate}.",
            RATES[0]
        ));
    }
    report.figure("gateway_kept_rps", f64::from(ours), Goal::AtLeast(5000.0));
    report.figure("gateway_added_p50_ms", p50, Goal::Below(0.15));
    report.figure("gateway_added_p99_ms", p99, Goal::Below(0.5));
    Ok(())
}

/// The highest of the rates that a target keeps, or 0.
async fn kept(target: &Target) -> Result<u32> {
    for rate in RATES {
        let open = target.open(&body("plain", 1, false), rate, LENGTH).await?;
        let (p99, sent) = (open.ms(99.0), open.rate);
        eprintln!(
            "{} at {rate}/s: sent {sent:.0}/s, p99 {p99:.2} ms",
            target.name
        );
        if open.failed == 0 && p99 < 10.0 && sent >= 0.99 * f64::from(rate) {
            return Ok(rate);
        }
    }
    Ok(0)
}

/// Rounds of all targets in turns at one rate. Gives what the gateway adds at p50 and p99.
async fn rounds(targets: &[Target], rate: u32, rows: &mut Vec<Vec<String>>) -> Result<(f64, f64)> {
    let mut seen: BTreeMap<&str, Seen> = BTreeMap::new();
    let mut failed: BTreeMap<&str, usize> = BTreeMap::new();
    for round in 1..=ROUNDS {
        eprintln!("latency at {rate}/s, round {round} of {ROUNDS}");
        for target in targets {
            let open = target.open(&body("plain", 1, false), rate, LENGTH).await?;
            if let Some(why) = &open.why {
                eprintln!("{}: {} without answer: {why}", target.name, open.failed);
            }
            let (p50, p99) = (open.ms(50.0), open.ms(99.0));
            eprintln!("  {}: p50 {p50:.2} ms, p99 {p99:.2} ms", target.name);
            *failed.entry(target.name).or_default() += open.failed;
            seen.entry(target.name).or_default().add(&open);
        }
    }
    let direct = seen.get("direct").context("nothing was asked directly")?;
    let mut gateway = (f64::NAN, f64::NAN);
    for target in targets {
        let Some(mine) = seen.get(target.name) else {
            continue;
        };
        let added = mine.over(direct);
        if target.name == "gateway" {
            gateway = added;
        }
        rows.push(vec![
            format!("{rate}/s, {}", target.name),
            short(percentile(&mine.p50, 50)),
            short(percentile(&mine.p99, 50)),
            short(added.0),
            short(added.1),
            failed
                .get(target.name)
                .copied()
                .unwrap_or_default()
                .to_string(),
        ]);
    }
    Ok(gateway)
}
