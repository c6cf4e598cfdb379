//! What one abusive namespace does to the calls of others: as many streams as an address may hold, large bodies, or small ones as fast as answers come.
//!
//! The machine is shared: whatever keeps it busy makes others slower. So each abuse is measured twice, as well with the abuser at the bare pass-through,
//! past the gateway that the others call: what is the same there is not the gateway's doing.

use crate::World;
use crate::ledger::Sums;
use crate::load::{Open, Target, body};
use crate::objects::{self, ABUSER};
use crate::process::{Process, say};
use crate::tls::Files;
use crate::wire::Server;
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt as _;
use oarmaster_e2e::bench::report::{Goal, Report, percentile, short};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;

/// Requests a second of the others, together.
const RATE: u32 = 300;
/// Rounds, each with the others alone beside them abused; the median of what the rounds say counts.
const ROUNDS: usize = 5;
/// Length of a measurement; its first second does not count.
const LENGTH: Duration = Duration::from_secs(6);
/// Where the abuser's connections come from, as a pod's do from its own address.
const FROM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Between two looks of a slow reader.
const SLOW: Duration = Duration::from_secs(1);
/// Before somebody who was refused asks again.
const AGAIN: Duration = Duration::from_secs(1);

/// What an abuser does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Abuse {
    /// Streams that are held, and read slowly.
    Streams,
    /// Bodies of 2 MiB.
    Large,
    /// Small calls.
    Many,
}

impl Abuse {
    const ALL: [Self; 3] = [Self::Streams, Self::Large, Self::Many];

    const fn callers(self) -> usize {
        match self {
            Self::Streams => 1500,
            Self::Large => 16,
            Self::Many => 64,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Streams => "1500 slow readers of streams",
            Self::Large => "16 callers with bodies of 2 MiB",
            Self::Many => "64 callers with bodies of 1 KiB",
        }
    }

    /// Where the mock behaves so that it fits.
    const fn behaviour(self) -> &'static str {
        match self {
            Self::Streams => "/slow",
            Self::Large | Self::Many => "/plain",
        }
    }

    fn body(self) -> Bytes {
        match self {
            Self::Streams => body("slow", 1, true),
            Self::Large => body("plain", 2048, false),
            Self::Many => body("plain", 1, false),
        }
    }
}

/// Runs the phase.
pub async fn run(world: &World, report: &mut Report) -> Result<()> {
    objects::provider(&world.api, world.mock.1, "slow", &json!({}))?;
    objects::pool(&world.api, "slow", &["slow"], &json!({}))?;
    let others = world.ours();
    others.closed(&body("plain", 1, false), 2000, 16).await?;
    let mut alone = Vec::new();
    let mut seen: Vec<(Abuse, bool, Seen)> = Abuse::ALL
        .into_iter()
        .flat_map(|abuse| [true, false].map(|past| (abuse, past, Seen::default())))
        .collect();
    for round in 1..=ROUNDS {
        eprintln!("callers beside an abusive one, round {round} of {ROUNDS}");
        for (abuse, past, seen) in &mut seen {
            let before = measure(&others).await?;
            let abuser = start(world, *abuse, *past).await?;
            let beside = measure(&others).await?;
            abuser.end().await?;
            Sums::look(world).await?; // what was on its way has ended: the next measurement is of others alone
            let (was, is) = (before.ms(99.0), beside.ms(99.0));
            let who = abuse.as_str();
            eprintln!("  {who}, past the gateway: {past}; p99 {was:.2} ms, then {is:.2} ms");
            seen.add(&before, &beside);
            alone.push(before);
        }
    }
    let of = |percent: f64| -> Vec<f64> { alone.iter().map(|open| open.ms(percent)).collect() };
    let none = alone.iter().map(|open| open.failed).sum::<usize>();
    let mut rows = vec![vec![
        "nobody".to_owned(),
        short(percentile(&of(50.0), 50)),
        short(percentile(&of(99.0), 50)),
        "0".to_owned(),
        none.to_string(),
    ]];
    let mut worst = f64::NEG_INFINITY;
    for (abuse, past, seen) in &seen {
        let more = percentile(&seen.more, 50);
        if !past {
            worst = worst.max(more);
        }
        let way = if *past {
            "past the gateway"
        } else {
            "through it"
        };
        rows.push(vec![
            format!("{}, {way}", abuse.as_str()),
            short(percentile(&seen.p50, 50)),
            short(percentile(&seen.p99, 50)),
            short(more),
            seen.failed.to_string(),
        ]);
    }
    let head = [
        "others at 300/s, 1 KiB, ms; beside them",
        "p50",
        "p99",
        "p99, % over alone",
        "without answer",
    ];
    report.table(&head, &rows);
    report.figure("gateway_abused_p99_percent", worst, Goal::AtMost(10.0));
    Ok(())
}

/// What the others saw beside one abuse.
#[derive(Default)]
struct Seen {
    p50: Vec<f64>,
    p99: Vec<f64>,
    /// By how many percent the p99 was over that of the measurement before, without the abuse.
    more: Vec<f64>,
    failed: usize,
}

impl Seen {
    fn add(&mut self, alone: &Open, beside: &Open) {
        self.p50.push(beside.ms(50.0));
        self.p99.push(beside.ms(99.0));
        self.more
            .push((beside.ms(99.0) / alone.ms(99.0) - 1.0) * 100.0);
        self.failed += beside.failed;
    }
}

async fn measure(others: &Target) -> Result<Open> {
    let open = others.open(&body("plain", 1, false), RATE, LENGTH).await?;
    if let Some(why) = &open.why {
        eprintln!("  {} without answer: {why}", open.failed);
    }
    ensure!(!open.times.is_empty(), "nobody was answered");
    Ok(open)
}

/// An abuser, in a process of its own since the load that is measured must not wait for it. It has begun when this returns.
async fn start(world: &World, abuse: Abuse, past: bool) -> Result<Process> {
    let port = if past {
        world.pass.1
    } else {
        world.gateway.data
    };
    let role = json!({"role": "abuse", "folder": world.folder, "port": port, "abuse": abuse, "past": past});
    let (process, _) = Process::role(&world.folder, "abuse", role).await?;
    Ok(process)
}

/// Abuses the server at this port until it is stopped. Its first line comes once a call was let in.
pub async fn abuse(folder: &Path, port: u16, abuse: Abuse, past: bool) -> Result<()> {
    let server = Server::new(port, &Files::of(folder).client()?).from(FROM);
    let prefix = if past { abuse.behaviour() } else { "" };
    let target = Target::new("abused", server, prefix, Some(ABUSER));
    let body = abuse.body();
    let (begun, mut begins) = mpsc::channel(1);
    for number in 0..abuse.callers() {
        let (target, body, begun) = (target.clone(), body.clone(), begun.clone());
        tokio::spawn(async move {
            loop {
                if let Err(error) = ask(&target, number, abuse, &body, &begun).await {
                    eprintln!("{error:#}"); // into a file of its own
                    tokio::time::sleep(AGAIN).await;
                }
            }
        });
    }
    begins.recv().await.context("nothing was let in")?;
    say(&[]);
    std::future::pending().await
}

/// Calls on a connection until something fails.
async fn ask(
    target: &Target,
    number: usize,
    abuse: Abuse,
    body: &Bytes,
    begun: &mpsc::Sender<()>,
) -> Result<()> {
    let mut sender = target.connect().await?;
    loop {
        let answer = target.send(&mut sender, number, body).await?;
        let status = answer.status();
        ensure!(status == StatusCode::OK, "answered {status}");
        let _ = begun.try_send(()); // it may have been said already
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            frame.context("an answer broke off")?;
            if abuse == Abuse::Streams {
                tokio::time::sleep(SLOW).await;
            }
        }
    }
}
