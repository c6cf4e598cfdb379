//! What tokens cost, in integer pico-USD: by what the ModelProvider states, else by the built-in table.

use oarmaster_crds::kinds::provider::Pricing;
use oarmaster_crds::money::{NotMoney, Usd};
use oarmaster_dialect::Usage;
use oarmaster_prices::{Prices, Row};
use oarmaster_protocol::journal::CallUsage;

/// Tokens that a price is for.
const MILLION: u128 = 1_000_000;

/// What an hour's cache costs to write at Anthropic, in input prices.
const HOUR_TIMES_INPUT: u64 = 2;

/// Prices of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    base: Rates,
    /// Prices of longer requests, by rising bound: they hold for all tokens of a request with more input than the bound.
    tiers: Vec<(u64, Rates)>,
}

/// Pico-USD per million tokens, which is the exact form of what a ModelProvider states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rates {
    input: u64,
    output: u64,
    cache_read: u64,
    cache_write: u64,
    cache_write_hour: u64,
}

impl Price {
    /// Reads the prices of a ModelProvider.
    ///
    /// # Errors
    /// When one is not an amount.
    pub fn new(pricing: &Pricing) -> Result<Self, NotMoney> {
        let input = pricing.input_per_million.pico()?;
        let or_input = |price: &Option<Usd>| price.as_ref().map_or(Ok(input), Usd::pico);
        let cache_write = or_input(&pricing.cache_write_per_million)?;
        Ok(Self {
            base: Rates {
                input,
                output: pricing.output_per_million.pico()?,
                cache_read: or_input(&pricing.cache_read_per_million)?,
                cache_write,
                cache_write_hour: cache_write,
            },
            tiers: Vec::new(),
        })
    }

    /// The same where the provider keeps a cache for an hour if it is asked to: Anthropic bills twice the input price for writing it.
    #[must_use]
    pub fn cached_by_the_hour(mut self) -> Self {
        let base = &mut self.base;
        base.cache_write_hour = base
            .cache_write_hour
            .max(base.input.saturating_mul(HOUR_TIMES_INPUT));
        self
    }

    /// The prices of a row of the built-in table.
    #[must_use]
    pub fn of_row(row: &Row) -> Self {
        Self {
            base: Rates::of(&row.standard.prices),
            tiers: row
                .standard
                .tiers
                .iter()
                .map(|tier| (u64::from(tier.above_tokens), Rates::of(&tier.prices)))
                .collect(),
        }
    }

    fn rates(&self, all_input: u64) -> &Rates {
        self.tiers
            .iter()
            .rev()
            .find(|(above, _)| all_input > *above)
            .map_or(&self.base, |(_, rates)| rates)
    }

    /// The cost of an answer, rounded up; `u64::MAX` when it is larger than that. What the provider says that it charges comes before what its
    /// tokens come to.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> u64 {
        if let Some(said) = usage.cost.as_deref().and_then(charged) {
            return said;
        }
        let rates = self.rates(usage.all_input());
        sum([
            (usage.input, rates.input),
            (usage.cache_read, rates.cache_read),
            (usage.cache_write, rates.cache_write),
            (usage.cache_write_hour, rates.cache_write_hour),
            (usage.output, rates.output),
        ])
    }

    /// The most that an answer within the bounds can cost.
    #[must_use]
    pub fn worst(&self, input: u64, output: u64) -> u64 {
        let reached = self.tiers.iter().filter(|(above, _)| input > *above);
        std::iter::once(&self.base)
            .chain(reached.map(|(_, rates)| rates))
            .map(|rates| sum([(input, rates.dearest_input()), (output, rates.output)]))
            .max()
            .unwrap_or(u64::MAX)
    }

    /// Whether nothing costs anything.
    #[must_use]
    pub fn is_free(&self) -> bool {
        let tiers = self.tiers.iter().map(|(_, rates)| rates);
        std::iter::once(&self.base)
            .chain(tiers)
            .all(|rates| rates.dearest_input() == 0 && rates.output == 0)
    }

    /// What an answer with so many tokens costs where nothing is cached.
    #[must_use]
    pub fn expected(&self, input: u64, output: u64) -> u64 {
        let rates = self.rates(input);
        sum([(input, rates.input), (output, rates.output)])
    }

    /// Tokens with their cost.
    #[must_use]
    pub fn usage(&self, usage: &Usage) -> CallUsage {
        CallUsage {
            input_tokens: usage.all_input(),
            output_tokens: usage.output,
            cached_tokens: usage.cache_read,
            cost_pico: self.cost(usage),
            estimated: false,
        }
    }
}

impl Rates {
    fn of(prices: &Prices) -> Self {
        // A price is at most 1e12 (its crate's bound), so that the product fits. What has no price of its own is billed as input.
        let million = |price: u64| price.saturating_mul(1_000_000);
        let or_input = |price: Option<u64>| million(price.unwrap_or(prices.input));
        let cache_write = or_input(prices.cache_write_5m);
        let long = [prices.cache_write_1h, prices.cache_write_12h];
        Self {
            input: million(prices.input.max(prices.input_audio.unwrap_or_default())),
            output: million(prices.output),
            cache_read: or_input(prices.cache_read),
            cache_write,
            cache_write_hour: long
                .into_iter()
                .flatten()
                .max()
                .map_or(cache_write, million),
        }
    }

    fn dearest_input(&self) -> u64 {
        self.input
            .max(self.cache_read)
            .max(self.cache_write)
            .max(self.cache_write_hour)
    }
}

/// What a provider says that it charges, in pico-USD, rounded up. `None` for what is no plain decimal number or more than a million USD: then
/// the tokens count.
fn charged(text: &str) -> Option<u64> {
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{part}");
    if whole.is_empty() || all.len() > 30 || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u128 = all.parse().ok()?;
    let places = i32::try_from(part.len()).ok()?.checked_sub(exponent)?;
    let pico = match 12i32.checked_sub(places)? {
        shift @ 0..=24 => number.checked_mul(10u128.pow(shift.unsigned_abs()))?,
        shift @ -38..0 => number.div_ceil(10u128.pow(shift.unsigned_abs())),
        _ => return None,
    };
    u64::try_from(pico)
        .ok()
        .filter(|pico| *pico <= 1_000_000 * 1_000_000_000_000)
}

fn sum<const N: usize>(parts: [(u64, u64); N]) -> u64 {
    let total = parts.iter().fold(0u128, |sum, (tokens, price)| {
        sum.saturating_add(u128::from(*tokens) * u128::from(*price))
    });
    u64::try_from(total.div_ceil(MILLION)).unwrap_or(u64::MAX)
}
