//! `oarmaster-exec`: the supervisor of untrusted code, as it is copied into the sandbox container. It is a program of its own so that what stands beside
//! untrusted code is small, and knows no network and no token.

use clap::{Parser, Subcommand};
use oarmaster_runner::{exec, failed, install};
use std::path::PathBuf;
use std::process::ExitCode;

/// The sandbox supervisor of an Oarmaster Task.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Supervises untrusted code for the pilot.
    Serve(exec::Args),
    /// Copies this binary to a path, mode 0555.
    Install {
        /// The file to write.
        target: PathBuf,
    },
    /// Confines this process, then becomes the program.
    #[command(hide = true)]
    Confine(exec::ConfineArgs),
    /// Tries what a confined process must not be able to do.
    #[command(hide = true)]
    Probe(exec::ProbeArgs),
}

fn main() -> ExitCode {
    // First of all: no other process of this UID may read our memory, environment or descriptors. A process that is about to become
    // untrusted has nothing to hide, and must be able to write its own oom_score_adj.
    let untrusted = matches!(
        std::env::args_os()
            .nth(1)
            .as_deref()
            .and_then(|word| word.to_str()),
        Some("confine" | "probe")
    );
    if !untrusted && let Err(error) = exec::hide() {
        return failed(&error);
    }
    match Cli::parse().command {
        Command::Serve(args) => {
            exec::serve(&args).map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
        }
        Command::Install { target } => {
            install::install(&target).map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
        }
        Command::Confine(args) => exec::confine(&args),
        Command::Probe(args) => exec::probe(&args),
    }
}
