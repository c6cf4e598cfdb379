//! Prices by kind of token, and how they rise with a request's length.

use serde::{Deserialize, Serialize};

/// The highest price of a row: 1 USD per token, some 1,700 times the dearest model so far. A price times a count of tokens that fits 32 bits stays
/// below 2^72: costs are `u128`.
pub const MAX_PRICE: u64 = 1_000_000_000_000;

/// Prices of one request in pico-USD (1e-12 USD) per token, each at most [`MAX_PRICE`].
///
/// `None` is what the table does not state. It is not free: what the vendor bills at no price of its own it bills as input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Input tokens that came from no cache.
    pub input: u64,
    /// Output tokens, thoughts among them. 0 for embeddings.
    pub output: u64,
    /// Input tokens of sound, where they cost other than text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_audio: Option<u64>,
    /// Input tokens that were read from the vendor's cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<u64>,
    /// Input tokens that were written to the cache for the vendor's usual time: five minutes at Anthropic, thirty at OpenAI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_5m: Option<u64>,
    /// Input tokens that were written to the cache for an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_1h: Option<u64>,
    /// Input tokens that were written to the cache for half a day or more: OpenAI's extended retention.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_12h: Option<u64>,
}

impl Prices {
    /// Every price that is stated.
    pub fn stated(&self) -> impl Iterator<Item = u64> {
        let Self {
            input,
            output,
            input_audio,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            cache_write_12h,
        } = *self;
        let caches = [
            input_audio,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            cache_write_12h,
        ];
        [input, output]
            .into_iter()
            .chain(caches.into_iter().flatten())
    }
}

/// The prices of a request with more input than a bound; they hold for all of its tokens, not only for those above the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Input tokens, cached ones among them, that a request must exceed. At least 1.
    #[serde(rename = "above")]
    pub above_tokens: u32,
    /// What such a request costs.
    pub prices: Prices,
}

/// Prices by length of request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Prices below every tier.
    pub prices: Prices,
    /// Tiers by rising bound, usually none or one.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub tiers: Box<[Tier]>,
}

impl Schedule {
    /// The prices of a request with so many input tokens, cached ones among them.
    #[must_use]
    pub fn at(&self, total_input_tokens: u64) -> Prices {
        self.tiers
            .iter()
            .rev()
            .find(|tier| total_input_tokens > u64::from(tier.above_tokens))
            .map_or(self.prices, |tier| tier.prices)
    }

    /// Every price of every tier.
    pub fn stated(&self) -> impl Iterator<Item = u64> {
        let tiers = self.tiers.iter().flat_map(|tier| tier.prices.stated());
        self.prices.stated().chain(tiers)
    }
}
