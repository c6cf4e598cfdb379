//! `cargo xtask bench`: figures, measured. What measures is a program of its own (`e2e/benches`), so that this one
//! stays small; here are the things that it needs.

mod gateway;
mod pilot;
mod sandbox;
mod tasks;
mod workflows;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use clap::Subcommand;
use serde_json::{Map, Value, json};

use crate::cache::{self, checkout};
use crate::cluster::{Measured, measured};
use crate::cmd;
use crate::images::programs::{self, Profile};

/// `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Which,
}

#[derive(Subcommand)]
enum Which {
    /// The gateway beside a bare pass-through and LiteLLM, against a provider that is played
    Gateway(gateway::Args),
    /// Agents: how soon and how many, what goes on costs, on an API server without nodes
    Pilot(pilot::Args),
    /// Sandboxes, in pods of the local cluster
    Sandbox(sandbox::Args),
    /// Tasks, from their creation to their end, on an API server without nodes
    Tasks(tasks::Args),
    /// Workflows: from step to step, many steps and many runs at once, on an API server without nodes
    Workflows(workflows::Args),
}

/// The namespace of the charts.
const RELEASE: &str = "oarmaster-system";

/// Runs the command.
pub fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Which::Gateway(args) => gateway::run(&args),
        Which::Pilot(args) => pilot::run(&args),
        Which::Sandbox(args) => sandbox::run(&args),
        Which::Tasks(args) => tasks::run(&args),
        Which::Workflows(args) => workflows::run(&args),
    }
}

/// Builds a program of `e2e/benches` as what it measures is built, since the load must not take more of the machine than it has to; answers
/// where it is.
fn build(name: &str) -> Result<PathBuf> {
    let mut command = programs::cargo("bench", Profile::Dist)?;
    command.args(["--package", "oarmaster-e2e", "--bench", name]);
    command.args(["--no-run", "--message-format=json"]);
    let said = cmd::output(&mut command)?;
    said.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|said| said.pointer("/target/name").and_then(|name| name.as_str()) == Some(name))
        .find_map(|said| Some(PathBuf::from(said.get("executable")?.as_str()?)))
        .with_context(|| format!("cargo does not say where the bench {name} is"))
}

/// Runs a bench whose operator, gateway and pilots are processes beside it, on a cluster of its own without a node. `own` is what only this bench
/// is told.
fn beside_the_programs(
    name: &str,
    beside: Option<&String>,
    own: impl FnOnce(&Measured) -> Result<Map<String, Value>>,
) -> Result<ExitCode> {
    let _lock = cache::lock("bench")?;
    programs::compile(&["operator", "gateway", "runner"], Profile::Dist)?;
    let bench = build(name)?;
    let commit = commit()?;
    measured(|cluster| {
        charts(cluster)?;
        let mut config = own(cluster)?;
        let report = checkout().join("docs/benchmarks.md");
        config.insert("report".to_owned(), json!(report));
        config.insert("commit".to_owned(), json!(commit));
        config.insert("beside".to_owned(), json!(beside));
        let mut command = Command::new(&bench);
        command
            .env("OARMASTER_BENCH", Value::Object(config).to_string())
            .env(
                "OARMASTER_API_KUBECONFIG",
                cluster.kubeconfigs().join("admin"),
            )
            // The programs are beside the bench, as they were built just now.
            .env("OARMASTER_E2E_AS_IS", "1")
            .current_dir(checkout());
        cmd::pass(&mut command)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The commit that is measured.
fn commit() -> Result<String> {
    let mut git = cmd::command("git");
    git.args(["rev-parse", "--short", "HEAD"])
        .current_dir(checkout());
    Ok(cmd::output(&mut git)?.trim().to_owned())
}

/// Installs the charts; that their pods do not run here is seen to by the bench.
fn charts(cluster: &Measured) -> Result<()> {
    for chart in ["oarmaster-crds", "oarmaster"] {
        let mut command: Command = cluster.helm()?;
        command
            .args(["install", chart, &format!("charts/{chart}")])
            .args(["--namespace", RELEASE, "--create-namespace"])
            .current_dir(checkout());
        cmd::output(&mut command).with_context(|| format!("failed to install chart {chart}"))?;
    }
    Ok(())
}
