//! `cargo xtask bench pilot`: a cluster of its own without a node, our charts in it, our programs beside it.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::Map;

use crate::bench::beside_the_programs;

/// `cargo xtask bench pilot`.
#[derive(clap::Args)]
pub struct Args {
    /// What else runs on the machine: a sentence for the report
    #[arg(long, value_name = "TEXT")]
    beside: Option<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode> {
    beside_the_programs("pilot", args.beside.as_ref(), |_| Ok(Map::new()))
}
