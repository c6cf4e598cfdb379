//! Developer commands, run as `cargo xtask <command>`.
//!
//! One module per command. Nothing here is part of the product, so a command
//! prints what it does; everything else of the house's rules holds.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a developer's command talks to its terminal"
)]

mod alerts;
mod apt;
#[cfg(test)]
mod arrows;
mod bench;
mod cache;
mod chaos;
mod cluster;
mod cmd;
mod demo;
#[cfg(test)]
mod documents;
mod fuzz;
mod generate;
mod images;
mod kustomize;
mod prices;
mod release;
mod sources;
mod spec;
mod test;
mod tool;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about, disable_help_subcommand = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check the chart's alert rules, and run their tests
    Alerts,
    /// Measure what the design promises
    Bench(bench::Args),
    /// Disturb the operator while Tasks run, and hold each run to an undisturbed one
    Chaos(chaos::Args),
    /// Run a real one-node Kubernetes on this machine
    Cluster(cluster::Args),
    /// Show an agent at work in a cluster; `down` removes it again
    Demo(demo::Args),
    /// Throw bent input at the gateway, for as long as it is told
    Fuzz(fuzz::Args),
    /// Write the generated files: CRDs and reference
    Gen(generate::Args),
    /// Build the container images, load or push them
    Images(images::Args),
    /// Write the folders of config/ that are for kustomize, from the chart
    Kustomize,
    /// Write what of OpenAI's OpenAPI document the gateway's answers are held to
    Spec(spec::Args),
    /// Write the table of model prices from its public sources
    Prices(prices::Args),
    /// Check what takes too long for every run, before a release
    ReleaseCheck(release::Args),
    /// Run checks and tests: all of them, or the tiers that are named
    Test(test::Args),
}

fn main() -> ExitCode {
    let Args { command } = Args::parse();
    let done = match command {
        Command::Alerts => alerts::check().map(|()| ExitCode::SUCCESS),
        Command::Bench(args) => bench::run(args),
        Command::Chaos(args) => chaos::run(args),
        Command::Cluster(args) => cluster::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Fuzz(args) => fuzz::run(args),
        Command::Gen(args) => generate::run(args),
        Command::Images(args) => images::run(args),
        Command::Kustomize => kustomize::run(),
        Command::Prices(args) => prices::run(args),
        Command::ReleaseCheck(args) => release::run(&args),
        Command::Spec(args) => spec::run(args),
        Command::Test(args) => test::run(args),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
