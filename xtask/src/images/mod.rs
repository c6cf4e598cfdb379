//! Container images without a container engine.

pub mod archive;

use std::process::ExitCode;

use anyhow::Result;

/// `cargo xtask images`.
#[derive(clap::Args)]
pub struct Args {}

/// Runs the command.
pub fn run(_: Args) -> Result<ExitCode> {
    Ok(ExitCode::SUCCESS)
}
