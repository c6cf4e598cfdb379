//! Money: a decimal string in USD with at most 9 decimals, counted in pico-USD (1e-12) so that a price per million tokens is exact.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// pico-USD in one USD.
pub const PICO_PER_USD: u64 = 1_000_000_000_000;

/// An amount in USD as a decimal string, like `0.25`: at most 6 digits before the point and 9 after it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Usd(
    #[schemars(length(max = 16), regex(pattern = r"^[0-9]{1,6}(\.[0-9]{1,9})?$"))] pub String,
);

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not an amount in USD: write at most 6 digits, and after a point at most 9, like \"0.25\""
)]
pub struct NotMoney(pub String);

impl Usd {
    /// The amount in pico-USD.
    ///
    /// # Errors
    /// [`NotMoney`] when the text is not of the documented form.
    pub fn pico(&self) -> Result<u64, NotMoney> {
        let bad = || NotMoney(self.0.chars().take(40).collect());
        let (whole, part) = self.0.split_once('.').unwrap_or((&self.0, "0"));
        let digits = |text: &str, most: usize| {
            (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(whole, 6) || !digits(part, 9) {
            return Err(bad());
        }
        let whole: u64 = whole.parse().map_err(|_| bad())?;
        let part: u64 = format!("{part:0<12}").parse().map_err(|_| bad())?;
        Ok(whole * PICO_PER_USD + part)
    }

    /// The amount, rounded up to 9 decimals so that what is shown is never less than what was spent.
    #[must_use]
    pub fn from_pico(pico: u64) -> Self {
        let nano = pico.div_ceil(1000);
        let text = format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
        Self(text.trim_end_matches('0').trim_end_matches('.').to_owned())
    }
}

impl std::fmt::Display for Usd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
