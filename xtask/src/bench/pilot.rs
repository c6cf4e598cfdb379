//! `cargo xtask bench pilot`: a cluster of its own without a node, our charts in it, our programs beside it.

use std::process::{Command, ExitCode};

use anyhow::Result;
use serde_json::json;

use crate::bench::{build, charts, commit};
use crate::cache::{self, checkout};
use crate::cluster::measured;
use crate::cmd;
use crate::images::programs::{self, Profile};

/// `cargo xtask bench pilot`.
#[derive(clap::Args)]
pub struct Args {
    /// What else runs on the machine: a sentence for the report
    #[arg(long, value_name = "TEXT")]
    beside: Option<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode> {
    let _lock = cache::lock("bench")?;
    programs::compile(&["operator", "gateway", "runner"], Profile::Dist)?;
    let bench = build("pilot")?;
    let commit = commit()?;
    measured(|cluster| {
        charts(cluster)?;
        let config = json!({
            "report": checkout().join("docs/benchmarks.md"),
            "commit": commit,
            "beside": args.beside,
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
