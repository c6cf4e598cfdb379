//! What tokens cost, in integer pico-USD.

use oarmaster_crds::kinds::provider::Pricing;
use oarmaster_crds::money::NotMoney;
use oarmaster_protocol::journal::CallUsage;

/// Prices of a model in pico-USD per million tokens, which is the exact form of what the ModelProvider states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    input: u64,
    output: u64,
    cached: u64,
}

/// Tokens of one answer, as the provider counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// All input tokens.
    pub input: u64,
    /// All output tokens.
    pub output: u64,
    /// Input tokens from the provider's cache.
    pub cached: u64,
}

impl Price {
    /// Reads the prices of a ModelProvider.
    ///
    /// # Errors
    /// When one is not an amount.
    pub fn new(pricing: &Pricing) -> Result<Self, NotMoney> {
        let input = pricing.input_per_million.pico()?;
        Ok(Self {
            input,
            output: pricing.output_per_million.pico()?,
            cached: match &pricing.cache_read_per_million {
                Some(price) => price.pico()?,
                None => input,
            },
        })
    }

    /// The cost of an answer, rounded up; `u64::MAX` when it is larger than that.
    #[must_use]
    pub fn cost(&self, tokens: Tokens) -> u64 {
        let cached = tokens.cached.min(tokens.input);
        self.sum([
            (tokens.input - cached, self.input),
            (cached, self.cached),
            (tokens.output, self.output),
        ])
    }

    /// The most that an answer within the bounds can cost.
    #[must_use]
    pub fn worst(&self, input: u64, output: u64) -> u64 {
        self.sum([
            (input, self.input.max(self.cached)),
            (output, self.output),
            (0, 0),
        ])
    }

    fn sum(&self, parts: [(u64, u64); 3]) -> u64 {
        let total = parts.iter().fold(0u128, |sum, (tokens, price)| {
            sum.saturating_add(u128::from(*tokens) * u128::from(*price))
        });
        u64::try_from(total.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }

    /// Tokens with their cost.
    #[must_use]
    pub fn usage(&self, tokens: Tokens) -> CallUsage {
        CallUsage {
            input_tokens: tokens.input,
            output_tokens: tokens.output,
            cached_tokens: tokens.cached.min(tokens.input),
            cost_pico: self.cost(tokens),
            estimated: false,
        }
    }
}
