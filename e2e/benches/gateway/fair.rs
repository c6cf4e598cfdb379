//! What one abuser does to the calls of others: a Task's pod, which may be anybody's program, and an application, which RBAC let use a pool.
//!
//! The machine is shared: whatever keeps it busy makes others slower. So what an application does is measured twice, as well with the abuser at the bare
//! pass-through, past the gateway that the others call: what is the same there is not the gateway's doing.

use crate::World;
use crate::durable::{self, Claimed, Pilot};
use crate::ledger::Sums;
use crate::load::{LONGEST, Open, Target, ask, body, ms};
use crate::objects::{self, ABUSER};
use crate::process::{Process, say};
use crate::tls::Files;
use crate::wire::Server;
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use oarmaster_e2e::bench::report::{Goal, Report, short};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Requests a second of the others, together.
const RATE: u32 = 300;
/// Rounds, each with the others alone beside them abused. All calls of all rounds count together: the slowest hundredth of one is fifteen calls.
const ROUNDS: usize = 7;
/// Of these the ones with applications.
const OF_APPLICATIONS: usize = 3;
/// Length of a measurement; its first second does not count.
const LENGTH: Duration = Duration::from_secs(6);
/// Where the abuser's connections come from, as a pod's do from its own address.
const FROM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Tasks that abuse have numbers from here on.
const FIRST_TASK: usize = 1000;
/// Between two looks of a slow reader.
const SLOW: Duration = Duration::from_secs(1);
/// Before somebody who was refused asks again.
const AGAIN: Duration = Duration::from_secs(1);

/// What an abuser does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Abuse {
    /// A Task's calls: the next one, and on all other connections that one again.
    Calls,
    /// The same with bodies of 2 MiB.
    LargeCalls,
    /// Requests with tokens that nobody knows, from a pod.
    Strangers,
    /// TLS handshakes and nothing after them, from a pod.
    Handshakes,
    /// An application's streams that are held, and read slowly.
    Streams,
    /// Its bodies of 2 MiB.
    Large,
    /// Its small calls.
    Many,
}

impl Abuse {
    const OF_PODS: [Self; 4] = [
        Self::Calls,
        Self::LargeCalls,
        Self::Strangers,
        Self::Handshakes,
    ];
    const OF_APPLICATIONS: [Self; 3] = [Self::Streams, Self::Large, Self::Many];

    /// Connections at once.
    const fn callers(self) -> usize {
        match self {
            Self::Streams => 1500,
            Self::Large | Self::LargeCalls => 16,
            Self::Calls | Self::Strangers | Self::Handshakes | Self::Many => 64,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Calls => "a Task: calls of 1 KiB on 64 connections",
            Self::LargeCalls => "a Task: calls of 2 MiB on 16",
            Self::Strangers => "a pod: tokens that nobody knows on 64",
            Self::Handshakes => "a pod: TLS handshakes, 64 at once",
            Self::Streams => "an application: 1500 slow readers of streams",
            Self::Large => "an application: 16 callers, 2 MiB",
            Self::Many => "an application: 64 callers, 1 KiB",
        }
    }

    /// Where the mock behaves so that it fits.
    const fn behaviour(self) -> &'static str {
        match self {
            Self::Streams => "/slow",
            _ => "/plain",
        }
    }

    fn body(self) -> Bytes {
        match self {
            Self::Streams => body("slow", 1, true),
            Self::Large | Self::LargeCalls => body("plain", 2048, false),
            _ => body("plain", 1, false),
        }
    }
}

/// Runs the phase.
pub async fn run(world: &World, report: &mut Report) -> Result<()> {
    objects::provider(&world.api, world.mock.1, "slow", &json!({}))?;
    objects::pool(&world.api, "slow", &["slow"], &json!({}))?;
    let others = world.ours();
    others.closed(&body("plain", 1, false), 2000, 16).await?;
    let pods = Abuse::OF_PODS.into_iter().map(|abuse| (abuse, false));
    let applications = Abuse::OF_APPLICATIONS.into_iter();
    let applications = applications.flat_map(|abuse| [true, false].map(|past| (abuse, past)));
    let mut seen: Vec<(Abuse, bool, Seen)> = pods
        .chain(applications)
        .map(|(abuse, past)| Ok((abuse, past, Seen::new()?)))
        .collect::<Result<_>>()?;
    let mut nobody = Seen::new()?;
    let mut task = FIRST_TASK;
    for round in 1..=ROUNDS {
        eprintln!("callers beside an abusive one, round {round} of {ROUNDS}");
        for (abuse, past, seen) in &mut seen {
            if round > OF_APPLICATIONS && !Abuse::OF_PODS.contains(abuse) {
                continue;
            }
            let before = measure(&others).await?;
            task += 1;
            let abuser = start(world, *abuse, *past, task).await?;
            let beside = measure(&others).await?;
            abuser.end().await?;
            Sums::look(world).await?; // what was on its way has ended: the next measurement is of others alone
            let (was, is) = (before.ms(99.0), beside.ms(99.0));
            let who = abuse.as_str();
            eprintln!("  {who}, past the gateway: {past}; p99 {was:.2} ms, then {is:.2} ms");
            seen.add(&before, &beside)?;
            nobody.add(&before, &before)?;
        }
    }
    let mut rows = vec![nobody.row("nobody")];
    let mut worst = f64::NEG_INFINITY;
    for (abuse, past, seen) in &seen {
        if Abuse::OF_PODS.contains(abuse) {
            worst = worst.max(seen.more());
        }
        let way = if *past { ", past the gateway" } else { "" };
        rows.push(seen.row(&format!("{}{way}", abuse.as_str())));
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

/// What the others saw beside one abuse, in microseconds.
struct Seen {
    /// In the measurements before, without it.
    alone: Histogram<u64>,
    beside: Histogram<u64>,
    failed: usize,
}

impl Seen {
    fn new() -> Result<Self> {
        Ok(Self {
            alone: Histogram::new_with_bounds(1, LONGEST, 3)?,
            beside: Histogram::new_with_bounds(1, LONGEST, 3)?,
            failed: 0,
        })
    }

    fn add(&mut self, alone: &Open, beside: &Open) -> Result<()> {
        self.alone.add(&alone.times)?;
        self.beside.add(&beside.times)?;
        self.failed += beside.failed;
        Ok(())
    }

    /// By how many percent the p99 was over that without the abuse.
    fn more(&self) -> f64 {
        (ms(&self.beside, 99.0) / ms(&self.alone, 99.0) - 1.0) * 100.0
    }

    fn row(&self, who: &str) -> Vec<String> {
        vec![
            who.to_owned(),
            short(ms(&self.beside, 50.0)),
            short(ms(&self.beside, 99.0)),
            short(self.more()),
            self.failed.to_string(),
        ]
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
async fn start(world: &World, abuse: Abuse, past: bool, task: usize) -> Result<Process> {
    let port = if past {
        world.pass.1
    } else {
        world.gateway.data
    };
    let claimed = match abuse {
        Abuse::Calls | Abuse::LargeCalls => Some(durable::claim(world, task).await?),
        _ => None,
    };
    let role = json!({
        "role": "abuse", "folder": world.folder, "port": port, "abuse": abuse, "past": past, "claimed": claimed,
    });
    let (process, _) = Process::role(&world.folder, "abuse", role).await?;
    Ok(process)
}

/// An abuser.
#[derive(Deserialize)]
pub struct Abuser {
    folder: PathBuf,
    port: u16,
    abuse: Abuse,
    /// Whether the server is not the gateway.
    past: bool,
    /// Of a Task.
    claimed: Option<Claimed>,
}

impl Abuser {
    /// Abuses the server until it is stopped. Its first line comes once something was let in, or refused.
    pub async fn run(self) -> Result<()> {
        let server = Server::new(self.port, &Files::of(&self.folder).client()?).from(FROM);
        let (begun, mut begins) = mpsc::channel(1);
        let abuser = Arc::new(self);
        for number in 0..abuser.abuse.callers() {
            let (abuser, server, begun) = (abuser.clone(), server.clone(), begun.clone());
            tokio::spawn(async move {
                loop {
                    if let Err(error) = abuser.ask(&server, number, &begun).await {
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

    /// Does what this abuser does on a connection until something fails.
    async fn ask(&self, server: &Server, number: usize, begun: &mpsc::Sender<()>) -> Result<()> {
        let begins = || _ = begun.try_send(()); // it may have been said already
        let body = self.abuse.body();
        match self.abuse {
            Abuse::Calls | Abuse::LargeCalls => {
                let claimed = self.claimed.clone().context("no Task was claimed")?;
                loop {
                    let mut pilot = Pilot::new(server, claimed.clone()).await?;
                    // The first connection's are new calls; the others ask for the first one again and again.
                    while pilot.call(&body).await? == StatusCode::OK {
                        begins();
                        if number > 0 {
                            pilot.again(&claimed);
                        }
                    }
                    ensure!(number > 0, "the Task's next call was refused");
                }
            }
            Abuse::Handshakes => loop {
                let _: SendRequest<Full<Bytes>> = server.connect().await?;
                begins();
            },
            Abuse::Strangers => {
                let mut sender = server.connect().await?;
                for count in 0.. {
                    let token = format!("stranger-{number}-{count}");
                    let request = Request::post("/v1/chat/completions")
                        .header(header::HOST, server.host())
                        .header(header::AUTHORIZATION, format!("Bearer {token}"))
                        .body(Full::new(body.clone()))?;
                    let (status, ..) = ask(&mut sender, request).await?;
                    ensure!(status == StatusCode::UNAUTHORIZED, "answered {status}");
                    begins();
                }
                Ok(())
            }
            Abuse::Streams | Abuse::Large | Abuse::Many => {
                let prefix = if self.past {
                    self.abuse.behaviour()
                } else {
                    ""
                };
                let target = Target::new("abused", server.clone(), prefix, Some(ABUSER));
                let mut sender = target.connect().await?;
                loop {
                    let answer = target.send(&mut sender, number, &body).await?;
                    let status = answer.status();
                    ensure!(status == StatusCode::OK, "answered {status}");
                    begins();
                    let mut body = answer.into_body();
                    while let Some(frame) = body.frame().await {
                        frame.context("an answer broke off")?;
                        if self.abuse == Abuse::Streams {
                            tokio::time::sleep(SLOW).await;
                        }
                    }
                }
            }
        }
    }
}
