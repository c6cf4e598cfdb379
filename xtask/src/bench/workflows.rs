//! `cargo xtask bench workflows`: a cluster of its own without a node, our charts in it, our programs beside it.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Map, json};

use crate::bench::beside_the_programs;

/// `cargo xtask bench workflows`.
#[derive(clap::Args)]
pub struct Args {
    /// Only these parts
    #[arg(value_enum)]
    phases: Vec<Phase>,
    /// Tasks that live at once in `live`, if they come in time
    #[arg(long, default_value_t = 10_000)]
    live: u32,
    /// What else runs on the machine: a sentence for the report
    #[arg(long, value_name = "TEXT")]
    beside: Option<String>,
}

/// A part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    /// Steps that follow each other
    Chain,
    /// 100 steps at once, against as many Tasks
    Fan,
    /// A step with 1,000, 3,000 and 10,000 items
    Items,
    /// 500 runs at once
    Many,
    /// Many Tasks that do not end: memory
    Live,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode> {
    let phases = if args.phases.is_empty() {
        vec![
            Phase::Chain,
            Phase::Fan,
            Phase::Items,
            Phase::Many,
            Phase::Live,
        ]
    } else {
        args.phases.clone()
    };
    beside_the_programs("workflows", args.beside.as_ref(), |cluster| {
        Ok(Map::from_iter([
            ("pids".to_owned(), json!(cluster.pids()?)),
            ("phases".to_owned(), json!(phases)),
            ("live".to_owned(), json!(args.live)),
        ]))
    })
}
