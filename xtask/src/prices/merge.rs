//! Two tables into one: which row is taken, and where people had to decide.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Result, bail};
use oarmaster_prices::{Prices, Schedule, Source, Vendor};

use super::entry::{Entries, Entry, Key};
use super::waiver::{Right, Waivers};

/// One model with its sources, the one that gave the prices first.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    pub key: Key,
    pub entry: Entry,
    pub sources: Vec<Source>,
}

/// Two prices differ when the lower one is more than one part in so many below the higher one: 5 %.
const PARTS: u128 = 20;

/// Merges the tables.
///
/// A model of both is LiteLLM's row, which knows batches and caches, unless a waiver says otherwise; what that one leaves open of limits and
/// capabilities is filled from models.dev. Fails with every disagreement that has no waiver and every waiver that decides nothing.
pub fn merge(litellm: Entries, models_dev: Entries, waivers: &Waivers) -> Result<Vec<Merged>> {
    let mut open = String::new();
    let mut unused: BTreeSet<&Key> = waivers.keys().collect();
    let mut rows = Vec::new();
    let keys: BTreeSet<Key> = litellm
        .found
        .keys()
        .chain(models_dev.found.keys())
        .cloned()
        .collect();
    for key in keys {
        let first = litellm.found.get(&key);
        let second = models_dev
            .found
            .get(&key)
            .filter(|_| !litellm.other.contains(&key));
        let doubts = doubts(&key, first, second);
        let decided = waivers.get(&key).copied();
        let used = match decided {
            Some(Right::LiteLlm) => first.is_some() && !doubts.is_empty(),
            Some(Right::ModelsDev) => second.is_some() && !doubts.is_empty(),
            Some(Right::Neither) => first.is_some() || second.is_some(),
            None => false,
        };
        if used {
            unused.remove(&key);
        }
        if decided.is_none() && !doubts.is_empty() {
            let _ = writeln!(open, "  {} {}: {doubts}", key.0.name(), key.1);
        }
        if let Some((entry, sources)) = chosen(first, second, decided) {
            rows.push(Merged {
                key,
                entry,
                sources,
            });
        }
    }
    let unused: Vec<String> = unused
        .iter()
        .map(|(vendor, model)| format!("{} {model}", vendor.name()))
        .collect();
    if !open.is_empty() || !unused.is_empty() {
        bail!(
            "pico-USD per token, LiteLLM's and then models.dev's; give each of these a line in prices/waivers.json:\n{open}\
             and take out the lines that decide nothing: {}",
            if unused.is_empty() {
                "none".to_owned()
            } else {
                unused.join(", ")
            }
        );
    }
    Ok(rows)
}

/// The row of a model and where it is from, if it gets one.
fn chosen(
    first: Option<&Entry>,
    second: Option<&Entry>,
    decided: Option<Right>,
) -> Option<(Entry, Vec<Source>)> {
    let (a, b) = (Source::LiteLlm, Source::ModelsDev);
    Some(match (first, second, decided) {
        (_, _, Some(Right::Neither)) | (None, None, _) => return None,
        (Some(only), None, _) => (only.clone(), vec![a]),
        (None, Some(only), _) => (only.clone(), vec![b]),
        (Some(first), Some(second), Some(Right::ModelsDev)) => {
            (filled(first, second, second), vec![b, a])
        }
        (Some(first), Some(second), _) => (filled(first, second, first), vec![a, b]),
    })
}

/// The first row, with the prices of `priced` and what it does not know itself from the second.
fn filled(first: &Entry, second: &Entry, priced: &Entry) -> Entry {
    let mut capabilities = second.capabilities.clone();
    capabilities.extend(&first.capabilities);
    Entry {
        mode: first.mode,
        context: first.context.or(second.context),
        max_output: first.max_output.or(second.max_output),
        capabilities,
        standard: priced.standard.clone(),
        batch: priced.batch.clone(),
        contradicted: false,
    }
}

/// What people must decide about a model; empty if nothing.
fn doubts(key: &Key, first: Option<&Entry>, second: Option<&Entry>) -> String {
    let mut found = Vec::new();
    // A zero where nobody wrote a price yet would let spending run free, so one table's word is not enough.
    let free = |entry: Option<&Entry>| {
        entry.is_some_and(|entry| entry.standard.stated().all(|price| price == 0))
    };
    if free(first.or(second)) && !(free(first) && free(second)) && !says_free(key) {
        found.push("free in one table only".to_owned());
    }
    if [first, second]
        .into_iter()
        .flatten()
        .any(|e| e.contradicted)
    {
        found.push("twice in one table at different prices".to_owned());
    }
    if let (Some(first), Some(second)) = (first, second) {
        differences(&first.standard, &second.standard, &mut found);
    }
    found.join(", ")
}

/// OpenRouter says in the id that a model is free.
fn says_free((vendor, id): &Key) -> bool {
    *vendor == Vendor::OpenRouter && (id.ends_with(":free") || id == "openrouter/free")
}

fn differences(first: &Schedule, second: &Schedule, found: &mut Vec<String>) {
    compare("", first.prices, second.prices, found);
    // A bound that only one table has is no disagreement about a price.
    for tier in &first.tiers {
        let same = |other: &&oarmaster_prices::Tier| other.above_tokens == tier.above_tokens;
        if let Some(other) = second.tiers.iter().find(same) {
            let above = format!(" above {}", tier.above_tokens);
            compare(&above, tier.prices, other.prices, found);
        }
    }
}

fn compare(above: &str, a: Prices, b: Prices, found: &mut Vec<String>) {
    let pairs = [
        ("input", Some(a.input), Some(b.input)),
        ("output", Some(a.output), Some(b.output)),
        ("input_audio", a.input_audio, b.input_audio),
        ("cache_read", a.cache_read, b.cache_read),
        ("cache_write_5m", a.cache_write_5m, b.cache_write_5m),
    ];
    for (name, a, b) in pairs {
        if let (Some(a), Some(b)) = (a, b)
            && u128::from(a.abs_diff(b)) * PARTS > u128::from(a.max(b))
        {
            found.push(format!("{name}{above} {a} {b}"));
        }
    }
}
