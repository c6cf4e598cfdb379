//! `cargo xtask test`: every check and test, tier by tier, with the time of each stage at the end.

mod check;
pub mod report;
mod tiers;

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::cache::{self, checkout};
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
    if let Some(note) = room() {
        println!("{note}\n");
    }
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

/// The operator under faults, as these variables say it, against an API server of its own.
pub fn chaos(settings: &[(&str, String)]) -> Result<ExitCode> {
    let mut report = Report::start();
    tiers::chaos(&mut report, settings);
    Ok(report.end(true))
}

/// What a first run writes, in GiB: programs and caches.
const FIRST_RUN: u64 = 22;
/// What any other does.
const OTHER_RUN: u64 = 4;

/// Says so where a disk is likely to become full: what fails of that fails late, and in words of others.
fn room() -> Option<String> {
    let (target, kept) = (checkout().join("target"), cache::root().ok()?);
    let first = !target.join("debug").exists() || !kept.join("go").exists();
    let needed = if first { FIRST_RUN } else { OTHER_RUN };
    let free = |path: &Path| {
        let there = path.ancestors().find(|path| path.exists())?;
        let found = rustix::fs::statvfs(there).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize) >> 30)
    };
    let least = [&*target, &*kept].into_iter().filter_map(free).min()?;
    (least < needed).then(|| {
        format!("note: {least} GiB are free for target/ and the cache; this run needs about {needed} GiB")
    })
}

fn cargo(args: &[&str]) -> Command {
    let mut command = cmd::cargo();
    command.args(args);
    command
}
