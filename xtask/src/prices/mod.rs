//! `cargo xtask prices`: writes `prices/table.json` and `THIRD_PARTY.md` from two public tables of model prices.
//!
//! The tables come from pinned packages, so two runs write the same bytes. Where the tables disagree a person decides in `prices/waivers.json`; no
//! price is typed by hand.

mod decimal;
mod entry;
mod json;
mod litellm;
mod merge;
mod models_dev;
mod render;
mod waiver;

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use oarmaster_prices::Table;

use self::entry::Notes;
use crate::cache;
use crate::sources::{self, LITELLM, MODELS_DEV, OPENAI};

/// Arguments of `cargo xtask prices`.
#[derive(clap::Args)]
pub struct Args {
    /// Write nothing; fail when a file is not what the pinned packages give
    #[arg(long)]
    check: bool,
}

const WAIVERS: &str = "prices/waivers.json";
const TABLE: &str = "prices/table.json";
const NOTICES: &str = "THIRD_PARTY.md";

/// Runs the command.
pub fn run(Args { check }: Args) -> Result<ExitCode> {
    let root = cache::checkout();
    let waivers = root.join(WAIVERS);
    let waivers = fs::read_to_string(&waivers)
        .with_context(|| format!("failed to read {}", waivers.display()))?;
    let litellm = sources::fetch(LITELLM)?;
    let models_dev = sources::fetch(MODELS_DEV)?;
    let table = generate(&litellm.table, &models_dev.table, &waivers)?;
    let notices = render::notices([
        (LITELLM, &litellm),
        (MODELS_DEV, &models_dev),
        (OPENAI, &sources::fetch(OPENAI)?),
    ])?;
    for (name, text) in [(TABLE, table), (NOTICES, notices)] {
        let path = root.join(name);
        let held = fs::read_to_string(&path).unwrap_or_default();
        if held == text {
            println!("{name} is what the pinned packages give");
        } else if check {
            bail!(
                "{name} is not what the pinned packages give; run `cargo xtask prices` and look at what changes"
            );
        } else {
            fs::write(&path, text).with_context(|| format!("failed to write {name}"))?;
            println!("{name} written");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The table's text, from the texts of both tables and the waivers.
fn generate(litellm: &str, models_dev: &str, waivers: &str) -> Result<String> {
    let waivers = waiver::read(waivers)?;
    let litellm = litellm::read(litellm).context("failed to read LiteLLM's table")?;
    let models_dev = models_dev::read(models_dev).context("failed to read models.dev's table")?;
    say("LiteLLM", &litellm.notes);
    say("models.dev", &models_dev.notes);
    let rows = merge::merge(litellm, models_dev, &waivers)?;
    let text = render::table(&rows, [LITELLM, MODELS_DEV])?;
    // A table borrows its text for good; this program ends soon.
    let read = Table::parse(text.clone().leak()).context("what was written cannot be read")?;
    let mut vendors = BTreeMap::new();
    for row in read.rows() {
        *vendors.entry(row.vendor.name()).or_insert(0) += 1;
    }
    println!("{} rows, {} bytes: {vendors:?}", rows.len(), text.len());
    Ok(text)
}

fn say(table: &str, notes: &Notes) {
    let Notes { rounded, left_out } = notes;
    println!("{table}: {rounded} prices rounded to whole pico-USD; left out: {left_out:?}");
}

#[cfg(test)]
mod tests;
