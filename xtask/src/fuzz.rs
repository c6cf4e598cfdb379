//! `cargo xtask fuzz`: the cases that `make test` has no time for. The targets are tests of the gateway, the pilot and the webhook (`tests/fuzz`), run with other seeds.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::ValueEnum as _;
use oarmaster_crds::duration::GepDuration;

use crate::cmd;

/// `cargo xtask fuzz`.
#[derive(clap::Args)]
pub struct Args {
    /// Only this one
    #[arg(value_enum)]
    target: Option<Target>,
    /// How long, all targets together, like 5m
    #[arg(long = "for", value_name = "DURATION", default_value = "5m", value_parser = duration)]
    time: Duration,
    /// A number that the cases follow from; default: others each time
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

/// What is fuzzed: the name of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Target {
    /// Whole answers, from each provider to each surface
    Answers,
    /// Errors of providers
    Errors,
    /// The framing of streams
    Frames,
    /// Requests of callers, to each provider
    Requests,
    /// Reviews of the API server, for the webhook
    Reviews,
    /// Server-sent events
    Sse,
    /// Streams, from each provider to each surface
    Streams,
    /// Headers with tokens
    Tokens,
    /// Translated requests, read again
    Translations,
    /// Answers of a model to an agent
    Turns,
    /// Embeddings
    Vectors,
}

impl Target {
    /// Whose test it is.
    const fn package(self) -> &'static str {
        match self {
            Self::Reviews => "oarmaster-webhook",
            Self::Turns => "oarmaster-runner",
            _ => "oarmaster-gateway",
        }
    }

    /// What picks its test, and no other.
    fn filter(self, name: &str) -> String {
        match self {
            Self::Reviews | Self::Turns => name.to_owned(),
            _ => format!("::{name}"),
        }
    }
}

/// A duration of a flag.
pub fn duration(text: &str) -> Result<Duration, String> {
    GepDuration::new(text)
        .get()
        .map_err(|error| error.to_string())
}

/// Runs the command. A target that fails does not stop the others.
pub fn run(Args { target, time, seed }: Args) -> Result<ExitCode> {
    let targets = target.map_or_else(|| Target::value_variants().to_vec(), |one| vec![one]);
    let each = time.as_secs() / u64::try_from(targets.len())?;
    ensure!(each > 0, "that is less than a second for each target");
    let mut failed = Vec::new();
    for target in targets {
        let name = target.to_possible_value();
        let name = name.map(|value| value.get_name().to_owned());
        let name = name.unwrap_or_default();
        println!("\n==> {name} for {each} s");
        let mut test = cmd::cargo();
        test.args(["test", "--quiet", "--package", target.package()])
            .args(["--test", "fuzz", &target.filter(&name), "--", "--nocapture"])
            .env("OARMASTER_FUZZ", each.to_string())
            .envs(seed.map(|seed| ("OARMASTER_FUZZ_SEED", seed.to_string())));
        let ran = cmd::tee(&mut test).and_then(|said| {
            ensure!(said.contains("1 passed"), "no test has the name {name}");
            Ok(())
        });
        if let Err(error) = ran {
            println!("{error:#}");
            failed.push(name);
        }
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(ExitCode::SUCCESS)
}
