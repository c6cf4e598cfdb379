//! `cargo xtask bench sandbox`: pods of the local cluster, which stays up.

use std::process::{Command, ExitCode};

use anyhow::Result;
use serde_json::json;

use crate::bench::{build, commit};
use crate::cache::{self, checkout};
use crate::cluster::{self, Policy};
use crate::cmd;

/// `cargo xtask bench sandbox`.
#[derive(clap::Args)]
pub struct Args {
    /// What else runs on the machine: a sentence for the report
    #[arg(long, value_name = "TEXT")]
    beside: Option<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode> {
    let _lock = cache::lock("bench")?;
    let bench = build("sandbox")?;
    let kubeconfig = cluster::ensure(Policy::Enforced)?;
    let config = json!({
        "report": checkout().join("docs/benchmarks.md"),
        "commit": commit()?,
        "beside": args.beside,
    });
    let mut command = Command::new(bench);
    command
        .env("OARMASTER_BENCH", config.to_string())
        .env("OARMASTER_E2E_KUBECONFIG", kubeconfig)
        .current_dir(checkout());
    cmd::pass(&mut command)?;
    println!("the cluster stays up: cargo xtask cluster down");
    Ok(ExitCode::SUCCESS)
}
