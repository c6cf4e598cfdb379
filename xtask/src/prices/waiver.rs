//! Decisions of people where the two tables disagree: `prices/waivers.json`.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use oarmaster_prices::Vendor;
use serde::Deserialize;

use super::entry::Key;

/// Which table is right about a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Right {
    #[serde(rename = "litellm")]
    LiteLlm,
    #[serde(rename = "models.dev")]
    ModelsDev,
    /// The model gets no row. It may stand in one table only.
    #[serde(rename = "neither")]
    Neither,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Waiver {
    vendor: Vendor,
    model: String,
    right: Right,
    /// In one line, for whoever comes next.
    why: String,
}

/// Every decision, by model.
pub type Waivers = BTreeMap<Key, Right>;

/// Reads a list of waivers. Each has a reason, and no model has two.
pub fn read(text: &str) -> Result<Waivers> {
    let list: Vec<Waiver> = serde_json::from_str(text).context("failed to read the waivers")?;
    let mut waivers = Waivers::new();
    for Waiver {
        vendor,
        model,
        right,
        why,
    } in list
    {
        let name = vendor.name();
        if why.trim().is_empty() || why.contains('\n') {
            bail!("the waiver of {name} {model} says not why, or in more than a line");
        }
        if waivers.insert((vendor, model.clone()), right).is_some() {
            bail!("{name} {model} has two waivers");
        }
    }
    Ok(waivers)
}
