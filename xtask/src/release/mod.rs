//! `cargo xtask release-check`: what is checked before a release and takes too long for every run (docs/releases.md).

mod arm64;
mod copy;
mod coverage;
mod reproducible;
mod sbom;

use std::process::ExitCode;

use anyhow::Result;

use crate::test::report::{Outcome, Report};

/// `cargo xtask release-check`.
#[derive(clap::Args)]
pub struct Args {
    /// Only this check; default: all of them
    #[command(subcommand)]
    which: Option<Which>,
}

#[derive(clap::Subcommand)]
enum Which {
    /// Write what each program is made of (CycloneDX), and hold that to what is linked
    Sbom(sbom::Args),
    /// Build twice, in two folders, and compare
    Reproducible(reproducible::Args),
    /// Count the lines of each crate that tests run
    Coverage(coverage::Args),
    /// Build for the other architecture, look into its images, and run unit tests under an emulator
    Arm64(arm64::Args),
}

/// Runs the command. A check that fails does not stop the others.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut report = Report::start();
    let mut check = |name, work: &dyn Fn() -> Result<()>| {
        report.stage(name, || work().map(|()| Outcome::Passed));
    };
    match &args.which {
        Some(Which::Sbom(args)) => check("what programs are made of", &|| sbom::run(args)),
        Some(Which::Reproducible(args)) => check("two builds", &|| reproducible::run(args)),
        Some(Which::Coverage(args)) => check("coverage", &|| coverage::run(args)),
        Some(Which::Arm64(args)) => check("the other architecture", &|| arm64::run(args)),
        None => {
            check("what programs are made of", &|| {
                sbom::run(&sbom::Args::default())
            });
            check("two builds", &|| {
                reproducible::run(&reproducible::Args::default())
            });
            check("the other architecture", &|| {
                arm64::run(&arm64::Args::default())
            });
            check("coverage", &|| coverage::run(&coverage::Args::default()));
        }
    }
    Ok(report.end(true))
}
