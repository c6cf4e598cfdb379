//! `cargo xtask bench tasks`: the figures of Tasks, on a cluster without a node. Etcd, API server and the Job controller
//! are real, operator and gateway are the programs of the images; what is played is in `stub`. The command starts it with everything
//! that it needs to know in the environment.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a developer's command talks to its terminal"
)]

mod audit;
mod burst;
mod fair;
mod live;
mod load;
mod machine;
mod pace;
mod process;
mod stub;

use anyhow::Result;
use audit::Audit;
use load::Ends;
use machine::{BARE, Clients};
use oarmaster_e2e::bench::machine as this;
use oarmaster_e2e::bench::report::{Report, percentile, short};
use process::Product;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use stub::Stub;

/// How long anything may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the command says.
#[derive(Deserialize)]
struct Config {
    /// Folder of the cluster's kubeconfigs.
    kubeconfigs: PathBuf,
    /// The API server's audit log.
    audit: PathBuf,
    /// The cluster's processes.
    pids: BTreeMap<String, u32>,
    /// Folder of operator and gateway.
    programs: PathBuf,
    /// A folder for what this run writes.
    folder: PathBuf,
    /// Where the report is appended.
    report: PathBuf,
    /// What is measured: the commit.
    commit: String,
    /// Which phases.
    phases: Vec<Phase>,
    /// Live Tasks.
    live: usize,
    /// Seconds without a change.
    idle: u64,
}

/// A part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    Pace,
    Burst,
    Fair,
    Live,
}

/// Everything that a phase works with.
struct World {
    clients: Clients,
    product: Product,
    stub: Arc<Stub>,
    audit: Audit,
    cluster: BTreeMap<String, u32>,
}

impl World {
    /// Every process whose CPU is counted.
    fn pids(&self) -> Result<BTreeMap<String, u32>> {
        let mut pids = self.cluster.clone();
        pids.insert("operator".to_owned(), self.product.operator()?);
        pids.insert("gateway".to_owned(), self.product.gateway()?);
        Ok(pids)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    oarmaster_e2e::cluster::crypto();
    let config: Config = oarmaster_e2e::bench::parameters("tasks")?;
    std::fs::create_dir_all(&config.folder)?;
    let mut report = Report::default();
    head(&config, &mut report)?;

    let clients = Clients::open(&config.kubeconfigs).await?;
    machine::prepare(&clients).await?;
    tokio::spawn(machine::heartbeat(clients.admin.clone()));
    let product = Product::start(&clients, &config.programs, &config.folder).await?;
    let stub = Stub::start(&clients, product.data()).await?;
    let mut world = World {
        audit: Audit::open(&config.audit)?,
        clients,
        product,
        stub,
        cluster: config.pids.clone(),
    };
    let done = phases(&mut world, &config, &mut report).await;
    if done.is_err() {
        for name in ["operator", "gateway"] {
            eprintln!("{}", process::last_words(&config.folder, name));
        }
    }
    done?;
    report.say(&format!("Load averages at the end: {}.", this::busy()));
    report.end(&config.report)
}

async fn phases(world: &mut World, config: &Config, report: &mut Report) -> Result<()> {
    let tasks = Ends::follow(&world.clients.admin, machine::tasks());
    let jobs = Ends::follow(&world.clients.admin, machine::jobs(BARE));
    warm_up(world, &tasks, &jobs).await?;
    for phase in [Phase::Pace, Phase::Burst, Phase::Fair, Phase::Live] {
        if !config.phases.contains(&phase) {
            continue;
        }
        match phase {
            Phase::Pace => pace::run(world, &tasks, report).await?,
            Phase::Burst => burst::run(world, &tasks, &jobs, report).await?,
            Phase::Fair => fair::run(world, &tasks, report).await?,
            Phase::Live => {
                let idle = Duration::from_secs(config.idle);
                live::run(world, &tasks, config.live, idle, report).await?;
            }
        }
    }
    Ok(())
}

fn head(config: &Config, report: &mut Report) -> Result<()> {
    let sync = this::fdatasync(&config.folder)?;
    let now = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC");
    report.say(&format!("## tasks, {now}, commit {}", config.commit));
    report.say(&format!(
        "{}; shared by API server, etcd (without fsync), controller-manager, operator, gateway, stub and load. Load averages at the \
         start: {}. The gateway's disk: fdatasync p50 {} ms, p99 {} ms.",
        this::describe(),
        this::busy(),
        short(percentile(&sync, 50)),
        short(percentile(&sync, 99)),
    ));
    Ok(())
}

/// The first objects find cold caches and code that was never run; they count for nothing.
async fn warm_up(world: &World, tasks: &Ends, jobs: &Ends) -> Result<()> {
    eprintln!("warming up");
    let names = load::names("warm", 50);
    let objects = names
        .iter()
        .map(|name| machine::task(name, "20m"))
        .collect();
    load::burst(&world.clients.admin, &machine::tasks(), objects).await?;
    tasks.of(&names).await?;
    let objects = names.iter().map(|name| machine::job(name)).collect();
    load::burst(&world.clients.admin, &machine::jobs(BARE), objects).await?;
    jobs.of(&names).await?;
    pace::settled(world).await
}
