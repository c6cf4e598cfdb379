//! `oar`, also `kubectl oar`: runs Tasks and shows what they do.
//!
//! It has the rights of its user and no more: objects are read and written with the user's kubeconfig, transcripts and artifacts are
//! read at the gateway with the same identity. It keeps no state, and it never prints text of a model or a program to a terminal
//! without escaping its control characters.
#![allow(
    clippy::print_stderr,
    reason = "errors of a command belong on standard error"
)]

mod args;
mod asked;
mod cluster;
mod commands;
mod error;
mod files;
mod follow;
mod gateway;
mod graph;
mod output;
mod page;
mod steps;
mod text;
mod token;
mod transcript;

use clap::Parser;
use std::process::ExitCode;

/// Parses the command line and carries it out.
#[must_use]
pub fn main() -> ExitCode {
    let args = args::Args::parse();
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("error: a second TLS provider is linked into this program");
        return ExitCode::from(error::Code::Cluster as u8);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: failed to start: {error}");
            return ExitCode::from(error::Code::Cluster as u8);
        }
    };
    let done = tokio::task::LocalSet::new().block_on(&runtime, commands::run(args));
    // A lookup of a name may still hold a thread: nobody waits for it.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.print();
            ExitCode::from(error.code() as u8)
        }
    }
}
