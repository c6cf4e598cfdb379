//! The other architecture, from this machine: its programs are built with a cross compiler, its images looked into, and the unit tests of what is
//! shipped run under an emulator. An emulator knows no seccomp and no Landlock: that both architectures are held to the same by the filter is a test
//! over its tables (runner/src/exec/filter/tests.rs).

use anyhow::Result;

use crate::apt;
use crate::cmd;
use crate::images::place::Place;
use crate::images::programs::{self, PROGRAMS, Profile};

/// Without a test that starts a sandbox.
const TESTED: [&str; 12] = [
    "oarmaster-cli",
    "oarmaster-controllers",
    "oarmaster-crds",
    "oarmaster-dialect",
    "oarmaster-gateway",
    "oarmaster-prices",
    "oarmaster-protocol",
    "oarmaster-runner",
    "oarmaster-serve",
    "oarmaster-store",
    "oarmaster-webhook",
    "oarmaster-workflow",
];

/// Tests of what qemu's user mode emulation does not do: openat2, and a copy of /proc/self/exe, which there is the emulator.
const SKIPPED: [&str; 4] = [
    "exec::place::",
    "exec::snapshot::",
    "exec::workspace::",
    "install::tests::installs_twice_and_read_only",
];

/// `cargo xtask release-check arm64`.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Only the images of these programs: operator, gateway, runner, webhook
    #[arg(long, value_name = "IMAGE", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(PROGRAMS))]
    only: Vec<String>,
    /// Only the unit tests of these crates
    #[arg(long = "package", value_name = "CRATE", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(TESTED))]
    packages: Vec<String>,
    /// How the programs are built; what is shipped is `dist`
    #[arg(long, value_enum, default_value_t)]
    profile: Profile,
}

/// Runs the check.
///
/// # Errors
/// Where something cannot be built, an image is not what is promised, or a test fails.
pub fn run(args: &Args) -> Result<()> {
    let Args {
        only,
        packages,
        profile,
    } = args;
    let arch = programs::here()?.other();
    let images: Vec<&str> = match only.as_slice() {
        [] => PROGRAMS.to_vec(),
        only => only.iter().map(String::as_str).collect(),
    };
    for image in programs::build(&images, env!("CARGO_PKG_VERSION"), *profile, arch)? {
        println!(
            "{} for {}: {}",
            image.short,
            arch.name(),
            image.archive.display()
        );
    }
    let emulator = arch.emulator();
    if cmd::find(&emulator).is_none() {
        apt::install(&["qemu-user"])?;
    }
    let mut test = Place::checkout().cargo("test", Profile::Dev, arch)?;
    let runner = arch.variable().to_uppercase();
    test.args(["--lib", "--bins"])
        .env(format!("CARGO_TARGET_{runner}_RUNNER"), emulator)
        // Properties without a number of their own try fewer cases: each takes many times as long there.
        .env("PROPTEST_CASES", "16");
    let packages: Vec<&str> = match packages.as_slice() {
        [] => TESTED.to_vec(),
        packages => packages.iter().map(String::as_str).collect(),
    };
    test.args(packages.iter().flat_map(|name| ["--package", name]));
    // One that fails does not hide those of the crates behind it.
    test.args(["--no-fail-fast", "--"]);
    test.args(SKIPPED.iter().flat_map(|name| ["--skip", name]));
    cmd::pass(&mut test)
}
