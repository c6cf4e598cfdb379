//! What a table says of one model, in the product's own words.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use oarmaster_prices::{Capability, Mode, Schedule, Vendor};

use super::decimal;

/// Whose model, and its id there.
pub type Key = (Vendor, String);

/// What one table says of one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub mode: Mode,
    pub context: Option<u32>,
    pub max_output: Option<u32>,
    /// Said to have, or said to lack; what is not said is not here.
    pub capabilities: BTreeMap<Capability, bool>,
    pub standard: Schedule,
    pub batch: Option<Schedule>,
    /// The table has the model twice, at different prices.
    pub contradicted: bool,
}

/// What one table says of our vendors' models.
#[derive(Debug, Default)]
pub struct Entries {
    pub found: BTreeMap<Key, Entry>,
    /// Models that it knows as something that has no row: the other table may not know better.
    pub other: BTreeSet<Key>,
    pub notes: Notes,
}

/// What is counted while a table is read.
#[derive(Debug, Default, PartialEq)]
pub struct Notes {
    /// Prices that were not whole pico-USD.
    pub rounded: usize,
    /// Models of our vendors without a row, by the reason.
    pub left_out: BTreeMap<&'static str, usize>,
}

impl Notes {
    /// Counts a model that gets no row.
    pub fn leave_out(&mut self, why: &'static str) {
        *self.left_out.entry(why).or_default() += 1;
    }

    /// Reads a price and counts what is rounded.
    pub fn price(&mut self, name: &str, text: Option<&str>, shift: i32) -> Result<Option<u64>> {
        let Some(text) = text else { return Ok(None) };
        let read = decimal::read(text, shift).with_context(|| format!("failed to read {name}"))?;
        self.rounded += usize::from(read.rounded);
        Ok(Some(read.value))
    }
}
