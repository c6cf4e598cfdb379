//! `cargo xtask test`: every check and test, tier by tier, with the time of each stage at the end.

mod check;
mod report;
mod tiers;

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::cmd;
use report::Report;

/// `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// Only these tiers
    #[arg(value_enum)]
    tiers: Vec<Tier>,
}

/// What a test needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Tier {
    /// No cluster: formatting, lints, generated files, dependencies, unit tests
    Check,
    /// A real API server
    Api,
    /// A real node
    Node,
    /// What takes too long for every run; only when it is named
    Long,
}

/// Runs the command. A stage that fails does not stop the others: one run tells everything.
pub fn run(args: Args) -> Result<ExitCode> {
    let Args { tiers } = args;
    let all = tiers.is_empty();
    let wanted = |tier| all || tiers.contains(&tier);
    let mut report = Report::start();
    if wanted(Tier::Check) {
        check::run(&mut report);
    }
    if all {
        tiers::fuzz(&mut report);
    }
    match (wanted(Tier::Api), wanted(Tier::Node)) {
        // Each mostly waits for its own cluster.
        (true, true) => tiers::both(&mut report),
        (true, false) => tiers::api(&mut report),
        (false, true) => tiers::node(&mut report),
        (false, false) => {}
    }
    if tiers.contains(&Tier::Long) {
        tiers::long(&mut report);
    }
    let strict = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
    Ok(report.end(strict))
}

fn cargo(args: &[&str]) -> Command {
    let mut command = cmd::cargo();
    command.args(args);
    command
}
