//! `cargo xtask bench`: figures, measured. What measures is a program of its own (`e2e/benches`), so that this one
//! stays small; here are the things that it needs.

mod tasks;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

/// `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Which,
}

#[derive(Subcommand)]
enum Which {
    /// Tasks, from their creation to their end, on an API server without nodes
    Tasks(tasks::Args),
}

/// Runs the command.
pub fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Which::Tasks(args) => tasks::run(&args),
    }
}
