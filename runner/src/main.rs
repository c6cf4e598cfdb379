//! `oarmaster-runner`: see the library.

use clap::{Parser, Subcommand};
use oarmaster_runner::{exec, install, node_probe, pilot};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// The pilot and the sandbox supervisor of an Oarmaster Task.
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
    /// Supervises untrusted code for the pilot.
    Exec(exec::Args),
    /// Copies this binary to a path, mode 0555.
    Install {
        /// The file to write.
        target: PathBuf,
    },
    /// Finds out what a node offers to sandboxes, for the status of a SandboxClass.
    ProbeNode(node_probe::Args),
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
        Command::Pilot(args) => pilot::main(&args),
        Command::Exec(args) => {
            exec::serve(&args).map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
        }
        Command::Install { target } => {
            install::install(&target).map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
        }
        Command::ProbeNode(args) => {
            node_probe::probe(&args).map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
        }
        Command::Confine(args) => exec::confine(&args),
        Command::Probe(args) => exec::probe(&args),
    }
}

/// Prints an error with its causes to the container's log.
fn failed(error: &dyn std::error::Error) -> ExitCode {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        line.push_str(": ");
        line.push_str(&next.to_string());
        cause = next.source();
    }
    let _ = writeln!(std::io::stderr(), "{line}"); // nobody is left to tell when stderr is gone
    ExitCode::FAILURE
}
