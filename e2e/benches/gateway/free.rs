//! A mixed trace through a pool that takes what is given away first: the money that it saves.

use crate::World;
use crate::ledger::{self, Sums};
use crate::load::{body, to_f64};
use crate::objects;
use anyhow::{Result, ensure};
use bytes::Bytes;
use http::StatusCode;
use oarmaster_e2e::bench::report::{Goal, Report, short};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::task::JoinSet;

/// Requests of the trace.
const TRACE: usize = 2000;
/// Requests that the free member gives away in a day.
const QUOTA: u64 = 1000;
/// Connections that are used at once.
const CONNECTIONS: usize = 16;

/// Runs the phase.
pub async fn run(world: &World, report: &mut Report) -> Result<()> {
    eprintln!("{TRACE} requests through FreeFirst");
    let free = json!({"pricing": {"inputPerMillion": "0", "outputPerMillion": "0"}, "freeQuota": {"requestsPerDay": QUOTA}});
    objects::provider(&world.api, world.mock.1, "free", &free)?;
    let thrifty = json!({"strategy": "FreeFirst"});
    objects::pool(&world.api, "thrifty", &["plain", "free"], &thrifty)?;
    let bodies: Arc<Vec<Bytes>> = Arc::new(
        [1, 8, 64]
            .into_iter()
            .flat_map(|kib| [false, true].map(|stream| body("thrifty", kib, stream)))
            .collect(),
    );
    tokio::time::sleep(std::time::Duration::from_secs(1)).await; // the pool is known, and the provider was looked at
    let (before, bill_before) = (Sums::look(world).await?, ledger::bill(world).await?);
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (target, bodies, next) = (world.ours(), bodies.clone(), next.clone());
        workers.spawn(async move {
            let mut sender = target.connect().await?;
            loop {
                let number = next.fetch_add(1, Relaxed);
                if number >= TRACE {
                    return Ok(());
                }
                let body = bodies.get(kind(number)).cloned().unwrap_or_default();
                let (status, text) = target.ask(&mut sender, number, &body).await?;
                ensure!(
                    status == StatusCode::OK,
                    "the pool answered {status}: {}",
                    String::from_utf8_lossy(&text)
                );
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        let done: Result<()> = done?;
        done?;
    }
    let (after, bill) = (Sums::look(world).await?, ledger::bill(world).await?);
    let paid = after.since(&before);
    let (given, given_count) = (
        bill.free_pico - bill_before.free_pico,
        bill.free - bill_before.free,
    );
    let usd = |pico: u64| u32::try_from(pico / 1_000_000).map_or(f64::NAN, f64::from) / 1e6;
    let saved = usd(given) / (usd(given) + usd(paid.billed));
    report.say(&format!(
        "FreeFirst: {TRACE} requests of 1, 8 and 64 KiB, a fifth of them streamed, to a pool of a paid member and one that gives {QUOTA} requests a day \
         away. {given_count} went to the free one, which would have cost USD {:.4} at the paid one's price; USD {:.4} were paid, and booked to the \
         pico-dollar {}: {:.0} % of the money was saved with {:.0} % of the requests free.",
        usd(given),
        usd(paid.billed),
        if paid.booked == paid.billed { "the same" } else { "otherwise" },
        saved * 100.0,
        100.0 * to_f64(usize::try_from(given_count)?) / to_f64(TRACE),
    ));
    report.figure(
        "free_first_saved_percent",
        saved * 100.0,
        Goal::AtLeast(40.0),
    );
    let share = short(to_f64(usize::try_from(given_count)?) / to_f64(usize::try_from(QUOTA)?));
    eprintln!("{share} of the free quota was used");
    let missed = paid.booked.abs_diff(paid.billed);
    report.figure(
        "free_first_ledger_off_pico",
        to_f64(usize::try_from(missed)?),
        Goal::AtMost(0.0),
    );
    Ok(())
}

/// Which of the bodies a request has: most are small, few are large, a fifth is streamed.
fn kind(number: usize) -> usize {
    let draw = number.wrapping_mul(2_654_435_761) % 100;
    let size = match draw {
        0..70 => 0,
        70..95 => 1,
        _ => 2,
    };
    size * 2 + usize::from(number.is_multiple_of(5))
}
