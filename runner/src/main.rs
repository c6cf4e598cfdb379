//! `oarmaster-runner`: see the library.

use clap::{Parser, Subcommand};
use oarmaster_runner::{exec, failed, node_probe, pilot, pilots};
use std::process::ExitCode;

/// The pilot of an Oarmaster Task.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs one attempt of a Task: the agent loop, or the program of a `run`.
    Pilot(pilot::Args),
    /// Runs many attempts that need no sandbox, as they come.
    Pilots(pilots::Args),
    /// Finds out what a node offers to sandboxes, for the status of a SandboxClass.
    ProbeNode(node_probe::Args),
}

fn main() -> ExitCode {
    // First of all: no other process of this UID may read our memory, environment or descriptors.
    if let Err(error) = exec::hide() {
        return failed(&error);
    }
    match Cli::parse().command {
        Command::Pilot(args) => pilot::main(&args),
        Command::Pilots(args) => pilots::main(&args),
        Command::ProbeNode(args) => {
            node_probe::probe(&args).map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
        }
    }
}
