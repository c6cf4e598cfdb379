//! Minutes of 512 streams at once, with faults of the provider and callers who leave: memory, stalls, and the ledger against the bill.

use crate::World;
use crate::ledger::{self, Sums};
use crate::load::{Target, body, to_f64};
use crate::objects;
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt as _;
use oarmaster_e2e::bench::cpu::memory;
use oarmaster_e2e::bench::report::{Goal, Report, short};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Members of the pool: all but the last have faults.
const MEMBERS: [&str; 5] = ["faulty-1", "faulty-2", "faulty-3", "faulty-4", "sound"];
/// Callers at once.
const CALLERS: usize = 512;
/// A call in which nothing arrives for this long stalls.
const STALLED: Duration = Duration::from_secs(30);
/// One call of so many is left by its caller after the first chunk.
const LEAVES: usize = 50;
/// One call of so many is not streamed.
const WHOLE: usize = 8;
/// Time between two looks at the memory.
const LOOK: Duration = Duration::from_secs(2);

/// What the callers share.
struct Run {
    target: Target,
    bodies: [Bytes; 2],
    number: AtomicUsize,
    ends: Mutex<BTreeMap<&'static str, usize>>,
    until: Instant,
}

/// Runs the phase.
pub async fn run(world: &World, length: Duration, report: &mut Report) -> Result<()> {
    eprintln!("{CALLERS} callers with faults for {} s", length.as_secs());
    for name in MEMBERS {
        objects::provider(&world.api, world.mock.1, name, &json!({}))?;
    }
    // A member that was refused is left alone for a while: several, so that there is always one that can fail.
    let spread = json!({"strategy": "LeastBusy"});
    objects::pool(&world.api, "soak", &MEMBERS, &spread)?;
    tokio::time::sleep(Duration::from_secs(1)).await; // the pool is known
    let pid = world.gateway.process.pid()?;
    let (before, bill_before) = (Sums::look(world).await?, ledger::bill(world).await?);
    let run = Arc::new(Run {
        target: world.ours(),
        bodies: [body("soak", 2, true), body("soak", 2, false)],
        number: AtomicUsize::new(0),
        ends: Mutex::default(),
        until: Instant::now() + length,
    });
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let run = run.clone();
        callers.spawn(async move { run.caller().await });
    }
    let mut memories = Vec::new();
    let mut looks = tokio::time::interval(LOOK);
    while Instant::now() < run.until {
        looks.tick().await;
        memories.push(memory(pid)?.0);
    }
    while let Some(done) = callers.join_next().await {
        done?;
    }
    let (after, bill) = (Sums::look(world).await?, ledger::bill(world).await?);
    let sums = after.since(&before);
    let ends = run.ends.lock().unwrap_or_else(PoisonError::into_inner);
    let count = |end: &str| ends.get(end).copied().unwrap_or_default();
    let told: Vec<String> = ends
        .iter()
        .map(|(end, count)| format!("{count} {end}"))
        .collect();
    let quarter = memories.len() / 4;
    let largest = |part: &[f64]| part.iter().copied().fold(f64::NAN, f64::max);
    let early = largest(memories.get(quarter..2 * quarter).unwrap_or_default());
    let late = largest(memories.get(memories.len() - quarter..).unwrap_or_default());
    report.say(&format!(
        "Soak of {} s: {CALLERS} callers at once, {} requests to the mock, {} of them answered by a fault (429, 503, an error with status 200, a stream \
         that breaks off after its usage, one that hardly moves). How the calls ended: {}. The gateway's memory: {} MiB at most in the second \
         quarter, {} in the last. Booked {} pico-USD, billed {}.",
        length.as_secs(),
        bill.requests - bill_before.requests,
        bill.faults - bill_before.faults,
        told.join(", "),
        short(early),
        short(late),
        sums.booked,
        sums.billed,
    ));
    report.figure(
        "soak_memory_growth_percent",
        100.0 * (late / early - 1.0),
        Goal::Below(10.0),
    );
    report.figure("soak_stalls", to_f64(count(STALLS)), Goal::AtMost(0.0));
    let good = count(ENDED) + count(LEFT);
    let all: usize = ends.values().sum();
    let not_cut = to_f64(all - count(CUT));
    report.figure(
        "soak_served_percent",
        100.0 * to_f64(good) / not_cut,
        Goal::AtLeast(99.9),
    );
    let off = usize::try_from(sums.booked.abs_diff(sums.billed))?;
    report.figure("soak_ledger_off_pico", to_f64(off), Goal::AtMost(0.0));
    Ok(())
}

const ENDED: &str = "whole";
const LEFT: &str = "left by the caller";
const CUT: &str = "ended by an error event after a break";
const STALLS: &str = "stalled";
const FAILED: &str = "failed";

impl Run {
    /// One call after another, until the time is over.
    async fn caller(&self) {
        let mut said = false;
        while Instant::now() < self.until {
            let end = self.call().await.unwrap_or_else(|error| {
                if !std::mem::replace(&mut said, true) {
                    eprintln!("a call failed: {error:#}");
                }
                FAILED
            });
            let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
            *ends.entry(end).or_default() += 1;
        }
    }

    /// A call on a connection of its own, as a pod's would be.
    async fn call(&self) -> Result<&'static str> {
        let number = self.number.fetch_add(1, Relaxed);
        let [streamed, whole] = &self.bodies;
        let body = if number.is_multiple_of(WHOLE) {
            whole
        } else {
            streamed
        };
        let mut sender = self.target.connect().await?;
        let sent = self.target.send(&mut sender, number, body);
        let Ok(answer) = tokio::time::timeout(STALLED, sent).await else {
            return Ok(STALLS);
        };
        let answer = answer?;
        let status = answer.status();
        let mut body = answer.into_body();
        let mut tail: Vec<u8> = Vec::new();
        loop {
            let Ok(frame) = tokio::time::timeout(STALLED, body.frame()).await else {
                return Ok(STALLS);
            };
            let Some(frame) = frame else { break };
            let frame = frame.context("the gateway broke a connection")?;
            if let Some(data) = frame.data_ref() {
                let surplus = (tail.len() + data.len())
                    .saturating_sub(4096)
                    .min(tail.len());
                tail.drain(..surplus);
                tail.extend_from_slice(data);
            }
            if number % LEAVES == 1 {
                return Ok(LEFT);
            }
        }
        let text = String::from_utf8_lossy(&tail);
        if status != StatusCode::OK {
            bail!("status {status}: {text}");
        }
        if number.is_multiple_of(WHOLE) || text.contains("[DONE]") {
            return Ok(ENDED);
        }
        if text.contains("\"error\"") {
            return Ok(CUT);
        }
        bail!("a stream ended with neither an end nor an error: {text}")
    }
}
