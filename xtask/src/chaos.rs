//! `cargo xtask chaos`: the operator's Tasks under faults that follow from seeds (`e2e/tests/crash/chaos.rs`), against an API server of this machine. A plan that fails is named with
//! the seed that repeats it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use crate::test::chaos;

/// `cargo xtask chaos`.
#[derive(clap::Args)]
pub struct Args {
    /// The first seed
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    from: u64,
    /// How many seeds at most; default: as many as there is time for
    #[arg(long, value_name = "NUMBER")]
    seeds: Option<u64>,
    /// How long, like 10m: no seed begins after it
    #[arg(long = "for", value_name = "DURATION", default_value = "10m", value_parser = crate::fuzz::duration)]
    time: Duration,
}

/// Runs the command.
pub fn run(Args { from, seeds, time }: Args) -> Result<ExitCode> {
    let mut settings = vec![
        ("OARMASTER_CHAOS_FROM", from.to_string()),
        ("OARMASTER_CHAOS_SECONDS", time.as_secs().to_string()),
    ];
    settings.extend(seeds.map(|count| ("OARMASTER_CHAOS_SEEDS", count.to_string())));
    chaos(&settings)
}
