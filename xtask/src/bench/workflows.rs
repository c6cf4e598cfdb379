//! `cargo xtask bench workflows`: a cluster of its own without a node, our charts in it, our programs beside it.

use std::process::{Command, ExitCode};

use anyhow::Result;
use serde_json::json;

use crate::bench::{build, charts, commit};
use crate::cache::{self, checkout};
use crate::cluster::measured;
use crate::cmd;
use crate::images::programs::{self, Profile};

/// `cargo xtask bench workflows`.
#[derive(clap::Args)]
pub struct Args {
    /// Only these parts
    #[arg(value_enum)]
    phases: Vec<Phase>,
    /// Tasks that live at once in `live`, if they come in time
    #[arg(long, default_value_t = 10_000)]
    live: u32,
    /// What else runs on the machine: a sentence for the report
    #[arg(long, value_name = "TEXT")]
    beside: Option<String>,
}

/// A part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    /// Steps that follow each other
    Chain,
    /// 100 steps at once, against as many Tasks
    Fan,
    /// 500 runs at once
    Many,
    /// Many Tasks that do not end: memory
    Live,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode> {
    let _lock = cache::lock("bench")?;
    programs::compile(&["operator", "gateway", "runner"], Profile::Dist)?;
    let bench = build("workflows")?;
    let commit = commit()?;
    let phases = if args.phases.is_empty() {
        vec![Phase::Chain, Phase::Fan, Phase::Many, Phase::Live]
    } else {
        args.phases.clone()
    };
    measured(|cluster| {
        charts(cluster)?;
        let config = json!({
            "report": checkout().join("docs/benchmarks.md"),
            "commit": commit,
            "beside": args.beside,
            "pids": cluster.pids()?,
            "phases": phases,
            "live": args.live,
        });
        let mut command = Command::new(&bench);
        command
            .env("OARMASTER_BENCH", config.to_string())
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
