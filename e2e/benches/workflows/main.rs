//! `cargo xtask bench workflows`: how soon and how many steps of workflows follow each other, and what runs cost the operator. The API server, the
//! operator and the gateway are the real ones, as processes of this machine; the steps are agents whose attempts a stub finishes at once.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a developer's command talks to its terminal"
)]

mod chain;
mod fan;
mod items;
mod live;
mod many;
mod objects;
mod seen;
mod stub;
mod world;

use anyhow::{Context as _, Result};
use oarmaster_e2e::bench::machine;
use oarmaster_e2e::bench::report::Report;
use oarmaster_e2e::crash::Rig;
use oarmaster_e2e::crash::scene::unasked;
use oarmaster_e2e::{Cluster, Space};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use stub::Stub;
use world::World;

/// What the command says.
#[derive(Deserialize)]
struct Config {
    /// Where the report is appended.
    report: PathBuf,
    /// What is measured: the commit.
    commit: String,
    /// What else ran on the machine.
    beside: Option<String>,
    /// The cluster's processes.
    pids: BTreeMap<String, u32>,
    /// Which phases.
    phases: Vec<Phase>,
    /// Live Tasks.
    live: usize,
}

/// A part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    Chain,
    Fan,
    Items,
    Many,
    Live,
}

#[tokio::main]
async fn main() -> Result<()> {
    let config: Config = oarmaster_e2e::bench::parameters("workflows")?;
    let cluster = Cluster::api().await?;
    unasked(&cluster).await?;
    let mut report = Report::begin(
        "workflows",
        &config.commit,
        "API server, etcd (without fsync), controller-manager, operator, gateway, stub and load share it",
        config.beside.as_deref(),
    );
    let rig = Rig::direct(cluster).await?;
    let measured = Space::with(rig.cluster.clone(), "bench", async |space| {
        let world = World::make(&rig, space, &config.pids).await?;
        let stub = Stub::start(rig.door().await?)?;
        phases(&world, stub, &config, &mut report).await
    });
    measured.await.with_context(|| rig.logs())?;
    report.say(&format!("Load averages at the end: {}.", machine::busy()));
    report.end(&config.report)
}

async fn phases(world: &World<'_>, stub: Stub, config: &Config, report: &mut Report) -> Result<()> {
    let wanted = |phase| config.phases.contains(&phase);
    if wanted(Phase::Chain) {
        chain::run(world, report).await?;
        stub.check()?;
    }
    if wanted(Phase::Fan) {
        fan::run(world, report).await?;
        stub.check()?;
    }
    if wanted(Phase::Items) {
        items::run(world, report).await?;
        stub.check()?;
    }
    if wanted(Phase::Many) {
        many::run(world, report).await?;
        stub.check()?;
    }
    drop(stub); // what begins from here on stays under way
    if wanted(Phase::Live) {
        live::run(world, config.live, report).await?;
    }
    Ok(())
}
