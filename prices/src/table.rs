//! The table: read once, found by binary search.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::alias;
use crate::price::MAX_PRICE;
use crate::{Row, Schedule, Source, Vendor};

/// Written by `cargo xtask prices`.
const BUILTIN: &str = include_str!("../table.json");

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    // A unit test holds that it can be read. If it could not, no model would have a price, and calls would be refused rather than given away.
    Table::parse(BUILTIN).unwrap_or_default()
});

/// Rows by vendor and model.
#[derive(Debug, Default)]
pub struct Table {
    litellm: &'static str,
    models_dev: &'static str,
    rows: Box<[Row]>,
}

/// Why a text is no table.
#[derive(Debug, thiserror::Error)]
pub enum BadTable {
    /// It is not the JSON that is expected.
    #[error("the price table cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// A date is not of the form 2026-11-20.
    #[error("the price table has no date: {0:?}")]
    Date(&'static str),
    /// A row is not after the one before it, so it is out of order or there twice.
    #[error("the price table has {0} {1} in the wrong place")]
    Order(&'static str, &'static str),
    /// A row has no source, a price beyond the bound, or tiers that do not rise.
    #[error("the price table has a wrong row: {0} {1}")]
    Row(&'static str, &'static str),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "'de: 'static"))]
struct File {
    litellm: Origin,
    #[serde(rename = "models.dev")]
    models_dev: Origin,
    rows: Box<[Row]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Origin {
    date: &'static str,
    /// For people, who want to know which release it was.
    #[serde(rename = "package")]
    _package: &'static str,
}

impl Table {
    /// The table of this release, read at the first call.
    #[must_use]
    pub fn builtin() -> &'static Self {
        &TABLE
    }

    /// Reads a table as `cargo xtask prices` writes it.
    ///
    /// # Errors
    /// [`BadTable`] for what is not JSON of that form, not dated, not sorted, there twice or out of bounds.
    pub fn parse(text: &'static str) -> Result<Self, BadTable> {
        let File {
            litellm,
            models_dev,
            rows,
        } = serde_json::from_str(text)?;
        for date in [litellm.date, models_dev.date] {
            if !is_date(date) {
                return Err(BadTable::Date(date));
            }
        }
        let mut before: Option<&Row> = None;
        for row in &rows {
            if before.is_some_and(|before| key(before) >= key(row)) {
                return Err(BadTable::Order(row.vendor.name(), row.model));
            }
            let batch_is_sound = row.batch.as_deref().is_none_or(is_sound);
            if row.sources.is_empty() || !is_sound(&row.standard) || !batch_is_sound {
                return Err(BadTable::Row(row.vendor.name(), row.model));
            }
            before = Some(row);
        }
        Ok(Self {
            litellm: litellm.date,
            models_dev: models_dev.date,
            rows,
        })
    }

    /// The day of the newer of the two tables that this one is made from, like `2026-11-20`. Rows may be older: [`Table::row_as_of`].
    #[must_use]
    pub fn as_of(&self) -> &'static str {
        self.litellm.max(self.models_dev)
    }

    /// The day of the table that gave a row its prices.
    #[must_use]
    pub fn row_as_of(&self, row: &Row) -> &'static str {
        match row.sources.first() {
            Some(Source::ModelsDev) => self.models_dev,
            _ => self.litellm,
        }
    }

    /// Every row, by vendor and model.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The row of a model: by its exact id, else by what the vendor itself calls the same model at the same price.
    ///
    /// - OpenAI, Azure OpenAI: `gpt-5-2025-08-07` is `gpt-5`; Anthropic: `claude-opus-4-5-20251101` is `claude-opus-4-5`. Only while every
    ///   dated form in the table costs what the undated one costs: `gpt-4o-2024-05-13` cost twice `gpt-4o`.
    /// - OpenAI: `ft:gpt-4o-2024-08-06:acme::a1b2` is `ft:gpt-4o-2024-08-06`.
    /// - Gemini: `models/gemini-2.5-pro` is `gemini-2.5-pro`.
    /// - Bedrock: `eu.` and the like before an id name an inference profile, and an ARN names a foundation model or such a profile. One without a
    ///   row of its own is the model, while every profile and region of it in the table costs the same; `us-gov.` never is. Other ARNs do not
    ///   say which model they mean. A caller that knows its region asks for `<region>/<model id>` first.
    ///
    /// Everything else is `None`; no name is taken for a similar one.
    #[must_use]
    pub fn find(&self, vendor: Vendor, model: &str) -> Option<&Row> {
        self.exact(vendor, model)
            .or_else(|| alias::find(self, vendor, model))
    }

    /// The row of a model at Bedrock in a region: the region's own, else what [`Table::find`] has. GovCloud costs more, so that no other row is one of
    /// a region there.
    #[must_use]
    pub fn find_in(&self, region: &str, model: &str) -> Option<&Row> {
        let is_gov = region.starts_with("us-gov-");
        let names_gov = model.starts_with("us-gov.") || model.starts_with("arn:aws-us-gov:");
        self.exact(Vendor::Bedrock, &format!("{region}/{model}"))
            .or_else(|| {
                let row = self.find(Vendor::Bedrock, model);
                row.filter(|_| !is_gov || names_gov)
            })
    }

    /// The row of exactly this id.
    pub(crate) fn exact(&self, vendor: Vendor, model: &str) -> Option<&Row> {
        let at = self
            .rows
            .binary_search_by(|row| key(row).cmp(&(vendor, model)))
            .ok()?;
        self.rows.get(at)
    }

    /// The rows of a vendor whose ids begin so, in order.
    pub(crate) fn beginning<'a>(
        &'a self,
        vendor: Vendor,
        with: &'a str,
    ) -> impl Iterator<Item = &'a Row> {
        let from = self.rows.partition_point(|row| key(row) < (vendor, with));
        self.rows
            .iter()
            .skip(from)
            .take_while(move |row| row.vendor == vendor && row.model.starts_with(with))
    }
}

fn key(row: &Row) -> (Vendor, &'static str) {
    (row.vendor, row.model)
}

fn is_sound(schedule: &Schedule) -> bool {
    let mut above = 0;
    let rising = schedule
        .tiers
        .iter()
        .all(|tier| std::mem::replace(&mut above, tier.above_tokens) < tier.above_tokens);
    rising && schedule.stated().all(|price| price <= MAX_PRICE)
}

/// Whether it has the form of a date; that the day exists is the writer's business.
fn is_date(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}
