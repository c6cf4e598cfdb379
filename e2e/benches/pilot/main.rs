//! `cargo xtask bench pilot`: how soon and how many agents work, and what it costs to go on. The API server, the operator, the gateway, the pilots and
//! the sandboxes' supervisors are the real ones, as processes of this machine; the model answers at once.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a developer's command talks to its terminal"
)]

mod going_on;
mod soon;
mod waiting;

use anyhow::{Context as _, Result};
use oarmaster_e2e::bench::machine;
use oarmaster_e2e::bench::report::Report;
use oarmaster_e2e::crash::Rig;
use oarmaster_e2e::crash::scene::{Scene, unasked};
use oarmaster_e2e::mock::{Call, Gate, Reply};
use oarmaster_e2e::{Cluster, Space};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// Attempts at once of the one process of pilots: as many as it may have.
const SLOTS: u16 = 512;

/// What the command says.
#[derive(Deserialize)]
struct Config {
    /// Where the report is appended.
    report: PathBuf,
    /// What is measured: the commit.
    commit: String,
    /// What else ran on the machine.
    beside: Option<String>,
}

/// When the model was asked first, by what a Task asks for.
#[derive(Clone, Default)]
struct Arrivals(Arc<watch::Sender<BTreeMap<String, Instant>>>);

impl Arrivals {
    fn note(&self, prompt: &str) {
        self.0.send_modify(|seen| {
            seen.entry(prompt.to_owned()).or_insert_with(Instant::now);
        });
    }

    /// When the model was asked for this the first time, which is waited for.
    async fn of(&self, prompt: &str) -> Result<Instant> {
        let mut seen = self.0.subscribe();
        let found = seen.wait_for(|seen| seen.contains_key(prompt)).await?;
        found.get(prompt).copied().context("it is gone")
    }

    /// Waits until so many that begin so have come.
    async fn many(&self, prefix: &str, count: usize) -> Result<()> {
        let mut seen = self.0.subscribe();
        let came = |seen: &BTreeMap<String, Instant>| {
            seen.keys()
                .filter(|prompt| prompt.starts_with(prefix))
                .count()
                >= count
        };
        seen.wait_for(came).await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let config: Config = oarmaster_e2e::bench::parameters("pilot")?;
    let cluster = Cluster::api().await?;
    unasked(&cluster).await?;
    let mut report = Report::begin(
        "pilot",
        &config.commit,
        "API server, etcd, operator, gateway, pilots and the load share it",
        config.beside.as_deref(),
    );
    let mut bare = 0.0;
    Space::with(cluster.clone(), "bare", async |space| {
        bare = soon::bare(space).await?;
        Ok(())
    })
    .await?;
    let rig = Rig::direct(cluster).await?;
    let (arrivals, held) = (Arrivals::default(), Gate::default());
    let resumed: Vec<Gate> = (0..going_on::KILLS).map(|_| Gate::default()).collect();
    let measured = Space::with(rig.cluster.clone(), "bench", async |space| {
        let script = {
            let (arrivals, held, resumed) = (arrivals.clone(), held.clone(), resumed.clone());
            move |call: &Call| {
                arrivals.note(call.prompt());
                answer(call, &held, &resumed)
            }
        };
        let scene = Scene::set(&rig, space, script).await?;
        let pilots = rig.pilots(SLOTS).await?;
        soon::run(&scene, &arrivals, bare, &mut report).await?;
        waiting::run(&scene, &arrivals, &held, &pilots, &mut report).await?;
        going_on::run(&scene, &arrivals, &resumed, &mut report).await
    });
    measured.await.with_context(|| rig.logs())?;
    report.say(&format!("Load averages at the end: {}.", machine::busy()));
    report.end(&config.report)
}

/// What the model answers.
fn answer(call: &Call, held: &Gate, resumed: &[Gate]) -> Reply {
    let kind = call.prompt().split('-').next().unwrap_or_default();
    match kind {
        "wait" => Reply::text("done").after(held),
        "killed" => going_on::killed(call.prompt(), call.turn, resumed),
        "large" | "small" => going_on::changes(kind == "large", call.turn),
        "long" => going_on::long(call.turn),
        _ => Reply::text("done"),
    }
}

/// A lock that is only held for a moment.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
