//! `cargo xtask bench gateway`: the figures of the gateway. A mock provider, a bare pass-through, the gateway of the images and LiteLLM from PyPI
//! are processes of their own, side by side on the loopback interface with TLS on every connection; the API server is played in this process.
//! The command starts it with everything that it needs to know in the environment.
#![allow(
    clippy::print_stderr,
    reason = "a developer's command talks to its terminal"
)]

mod api;
mod cpu;
mod durable;
mod fair;
mod free;
mod latency;
mod ledger;
mod live;
mod load;
mod mock;
mod objects;
mod pass;
mod process;
mod reply;
mod soak;
mod streams;
mod tls;
mod wire;

use anyhow::{Context as _, Result};
use api::Api;
use load::Target;
use oarmaster_e2e::bench::machine;
use oarmaster_e2e::bench::report::{Report, percentile, short};
use objects::{ACCOUNTS, BUDGETS, TOKENS};
use process::{Gateway, LITELLM_KEY, Process};
use serde::Deserialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tls::Files;
use wire::Server;

/// The proxy that is measured beside ours.
const LITELLM: &str = "litellm[proxy]==1.102.4";

/// What a process of this program is.
#[derive(Deserialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum Role {
    /// The provider.
    Mock { folder: PathBuf },
    /// The bare pass-through to this port.
    Pass { folder: PathBuf, upstream: u16 },
    /// Somebody who abuses a server.
    Abuse(fair::Abuser),
    /// The load and the account.
    Load(Config),
}

/// What the command says.
#[derive(Deserialize)]
struct Config {
    /// Folder of the gateway's program.
    programs: PathBuf,
    /// A folder for what this run writes.
    folder: PathBuf,
    /// Where the report is appended.
    report: PathBuf,
    /// What is measured: the commit.
    commit: String,
    /// What else ran on the machine.
    beside: Option<String>,
    /// Which phases.
    phases: Vec<Phase>,
    /// Seconds of the soak; 0 is none.
    soak: u64,
}

/// A part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    Cpu,
    Tasks,
    Latency,
    Streams,
    Fair,
    Live,
    Free,
}

/// Everything that a phase works with.
struct World {
    /// What the run writes.
    folder: PathBuf,
    api: Api,
    api_port: u16,
    tls: std::sync::Arc<rustls::ClientConfig>,
    mock: (Process, u16, u16),
    pass: (Process, u16),
    gateway: Gateway,
    litellm: Option<(Process, u16)>,
}

#[tokio::main]
async fn main() -> Result<()> {
    oarmaster_e2e::cluster::crypto();
    match oarmaster_e2e::bench::parameters("gateway")? {
        Role::Mock { folder } => mock::run(&folder).await,
        Role::Pass { folder, upstream } => pass::run(&folder, upstream).await,
        Role::Abuse(abuser) => abuser.run().await,
        Role::Load(config) => load(&config).await,
    }
}

async fn load(config: &Config) -> Result<()> {
    let mut report = Report::default();
    head(config, &mut report)?;
    let world = World::start(config).await?;
    ledger::booked(&world).await?; // which fails where not all is on
    let done = phases(&world, config, &mut report).await;
    if let Err(error) = &done {
        report.say(&format!("The run ended early: {error:#}."));
    }
    let [tokens, access] = world.api.reviews();
    report.say(&format!(
        "The gateway asked for {tokens} TokenReviews and {access} SubjectAccessReviews. Load averages at the end: {}.",
        machine::busy()
    ));
    report.end(&config.report)?;
    done
}

async fn phases(world: &World, config: &Config, report: &mut Report) -> Result<()> {
    for phase in &config.phases {
        match phase {
            Phase::Cpu => cpu::run(world, report).await?,
            Phase::Tasks => durable::run(world, report).await?,
            Phase::Latency => latency::run(world, report).await?,
            Phase::Streams => streams::run(world, report).await?,
            Phase::Fair => fair::run(world, report).await?,
            Phase::Live => live::run(world, config, report).await?,
            Phase::Free => free::run(world, report).await?,
        }
    }
    if config.soak > 0 {
        soak::run(world, Duration::from_secs(config.soak), report).await?;
    }
    Ok(())
}

impl World {
    async fn start(config: &Config) -> Result<Self> {
        let folder = config.folder.as_path();
        let files = Files::make(folder)?;
        let tls = files.client()?;
        let role = json!({"role": "mock", "folder": folder});
        let (mock, ports) = Process::role(folder, "mock", role).await?;
        let &[port, control] = ports.as_slice() else {
            anyhow::bail!("the mock said {ports:?} where two ports were expected");
        };
        let role = json!({"role": "pass", "folder": folder, "upstream": port});
        let (pass, ports) = Process::role(folder, "pass", role).await?;
        let pass_port = ports.first().copied().context("no port")?;
        let (api, api_port) = Api::start(objects::user).await?;
        objects::prepare(&api, &files, port)?;
        let gateway = Gateway::start(&config.programs, folder, api_port, "gateway").await?;
        let litellm = litellm(folder, port).await?;
        Ok(Self {
            folder: config.folder.clone(),
            api,
            api_port,
            tls,
            mock: (mock, port, control),
            pass: (pass, pass_port),
            gateway,
            litellm,
        })
    }

    /// A server of this run.
    fn server(&self, port: u16) -> Server {
        Server::new(port, &self.tls)
    }

    /// The mock asked directly.
    fn direct(&self) -> Target {
        Target::new("direct", self.server(self.mock.1), "/plain", None)
    }

    /// The gateway.
    fn ours(&self) -> Target {
        Target::new("gateway", self.server(self.gateway.data), "", None)
    }

    /// The processes between a caller and the mock, with their ids.
    fn targets(&self) -> Vec<(Target, u32)> {
        let mut all = vec![
            (
                Target::new("pass-through", self.server(self.pass.1), "/plain", None),
                self.pass.0.pid(),
            ),
            (self.ours(), self.gateway.process.pid()),
        ];
        if let Some((process, port)) = &self.litellm {
            all.push((
                Target::new("LiteLLM", self.server(*port), "", Some(LITELLM_KEY)),
                process.pid(),
            ));
        }
        all.into_iter()
            .filter_map(|(target, pid)| Some((target, pid.ok()?)))
            .collect()
    }
}

/// LiteLLM from PyPI. Where it cannot be had the rest is measured without it.
async fn litellm(folder: &Path, mock: u16) -> Result<Option<(Process, u16)>> {
    let programs = match oarmaster_e2e::python::environment(&[LITELLM]).await {
        Ok(programs) => programs,
        Err(error) => {
            eprintln!("LiteLLM is not measured: {error:#}");
            return Ok(None);
        }
    };
    let (process, port, took) = process::litellm(&programs, folder, mock).await?;
    eprintln!("LiteLLM was ready after {:.1} s", took.as_secs_f64());
    Ok(Some((process, port)))
}

fn head(config: &Config, report: &mut Report) -> Result<()> {
    let sync = machine::fdatasync(&config.folder)?;
    let now = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC");
    report.say(&format!("## gateway, {now}, commit {}", config.commit));
    report.say(&format!(
        "{}; shared by mock, pass-through, gateway, LiteLLM and load. {}Load averages at the start: {}. The gateway's disk: fdatasync p50 {} ms, p99 {} ms. \
         TLS 1.3 on every connection, {TOKENS} tokens of {ACCOUNTS} ServiceAccounts, {BUDGETS} Budgets.",
        machine::describe(),
        config.beside.as_ref().map(|what| format!("Beside them: {what}. ")).unwrap_or_default(),
        machine::busy(),
        short(percentile(&sync, 50)),
        short(percentile(&sync, 99)),
    ));
    Ok(())
}
