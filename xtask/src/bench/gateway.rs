//! `cargo xtask bench gateway`: the gateway of the images beside others, without a cluster.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use clap::ValueEnum as _;
use serde_json::json;

use crate::bench::{build, commit};
use crate::cache::{self, checkout};
use crate::cmd;
use crate::images::programs::{self, Profile};

/// `cargo xtask bench gateway`.
#[derive(clap::Args)]
pub struct Args {
    /// Only these parts
    #[arg(value_enum)]
    phases: Vec<Phase>,
    /// What else runs on the machine: a sentence for the report
    #[arg(long, value_name = "TEXT")]
    beside: Option<String>,
    /// Minutes of 512 streams at once with faults, after the rest; 10 is what the design asks for
    #[arg(long, value_name = "MINUTES", default_value_t = 0)]
    soak: u64,
}

/// A part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    /// CPU per call, by body size, against a bare pass-through and LiteLLM
    Cpu,
    /// CPU per call of a Task
    Tasks,
    /// What is added to an answer's time, at a rate that does not wait for answers
    Latency,
    /// 512 streams at once: gaps between chunks, and memory
    Streams,
    /// Callers beside one that abuses the gateway
    Fair,
    /// Start, idle memory, and how soon a changed object counts
    Live,
    /// A trace through FreeFirst: the money that it saves
    Free,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode> {
    let _lock = cache::lock("bench")?;
    let programs = programs::compile(&["gateway"], Profile::Dist)?;
    let bench = build("gateway")?;
    let phases = if args.phases.is_empty() {
        Phase::value_variants().to_vec()
    } else {
        args.phases.clone()
    };
    let folder = tempfile::Builder::new()
        .prefix("oarmaster-bench-")
        .tempdir()
        .context("failed to make a folder for the run")?;
    let config = json!({
        "role": "load",
        "programs": programs,
        "folder": folder.path(),
        "report": checkout().join("docs/benchmarks.md"),
        "commit": commit()?,
        "beside": args.beside,
        "phases": phases,
        "soak": args.soak * 60,
    });
    let done = cmd::pass(Command::new(bench).env("OARMASTER_BENCH", config.to_string()));
    if done.is_err() {
        let kept = folder.keep();
        eprintln!("the logs of the run are in {}", kept.display());
    }
    done?;
    Ok(ExitCode::SUCCESS)
}
