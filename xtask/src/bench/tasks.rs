//! `cargo xtask bench tasks`: a cluster of its own without a node, our charts in it, our programs beside it.

use std::process::{Command, ExitCode};

use anyhow::Result;
use serde_json::json;

use crate::bench::{build, charts, commit};
use crate::cache::{self, checkout};
use crate::cluster::measured;
use crate::cmd;
use crate::images::programs::{self, Profile};

/// `cargo xtask bench tasks`.
#[derive(clap::Args)]
pub struct Args {
    /// Only these parts
    #[arg(value_enum)]
    phases: Vec<Phase>,
    /// Tasks that live at once in `live`
    #[arg(long, default_value_t = 10_000)]
    live: u32,
    /// Minutes without any change in `live`
    #[arg(long, default_value_t = 10)]
    idle: u32,
}

/// A part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    /// One at a time, and 50 a second: times, CPU and requests for each Task
    Pace,
    /// 500 at once, against as many bare Jobs
    Burst,
    /// 1,000 of one namespace at once, and another's beside them
    Fair,
    /// Many that run and do not end: memory, and writes while nothing changes
    Live,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode> {
    let _lock = cache::lock("bench")?;
    let programs = programs::compile(&["operator", "gateway"], Profile::Dist)?;
    let bench = build("tasks")?;
    let commit = commit()?;
    let phases = if args.phases.is_empty() {
        vec![Phase::Pace, Phase::Burst, Phase::Fair, Phase::Live]
    } else {
        args.phases.clone()
    };
    measured(|cluster| {
        charts(cluster)?;
        let config = json!({
            "kubeconfigs": cluster.kubeconfigs(),
            "audit": cluster.audit(),
            "pids": cluster.pids()?,
            "programs": programs,
            "folder": cluster.folder(),
            "report": checkout().join("docs/benchmarks.md"),
            "commit": commit,
            "phases": phases,
            "live": args.live,
            "idle": args.idle * 60,
        });
        cmd::pass(Command::new(&bench).env("OARMASTER_BENCH", config.to_string()))
    })?;
    Ok(ExitCode::SUCCESS)
}
