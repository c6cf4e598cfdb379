//! An answer in no dialect.

use crate::request::Part;

/// What a model answered. Exactly one: several choices are not translated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The provider's name for it.
    pub id: Option<String>,
    /// The model that the provider names; prices go by it.
    pub model: Option<String>,
    /// The assistant's turn.
    pub parts: Vec<Part>,
    /// Why it ended.
    pub stop: Stop,
    /// What the provider counted, if it said.
    pub usage: Option<Usage>,
}

/// Why an answer ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    /// The model was done.
    #[default]
    End,
    /// At one of the stop sequences; Anthropic says which.
    Sequence(Option<String>),
    /// At the limit of output tokens.
    Length,
    /// At the model's context.
    Context,
    /// It wants tools.
    ToolCalls,
    /// A filter of the vendor.
    Filter,
    /// The model refused.
    Refusal,
    /// The vendor paused a long turn: the caller sends it back to go on (Anthropic's `pause_turn`).
    Pause,
    /// Something that is new to us, in the vendor's word.
    Other(String),
}

/// Tokens of one answer, each counted once: their sum is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Input tokens that came from no cache and went into none.
    pub input: u64,
    /// Input tokens read from the provider's cache.
    pub cache_read: u64,
    /// Input tokens written into the provider's cache for five minutes, or for as long as it likes.
    pub cache_write: u64,
    /// Input tokens written into the provider's cache for an hour.
    pub cache_write_hour: u64,
    /// Output tokens, with those of reasoning.
    pub output: u64,
    /// Of [`Self::output`], those of reasoning, as far as the provider says.
    pub reasoning: u64,
    /// What the provider says that it charges, in USD: a decimal number as it wrote it (OpenRouter's `usage.cost`).
    pub cost: Option<String>,
    /// The tier that served, if the provider says (`default`, `priority`, `flex`, `batch`).
    pub tier: Option<String>,
}

/// More tokens than this in one answer are not believed.
pub const MAX_TOKENS: u64 = 1_000_000_000_000;

impl Usage {
    /// All input tokens.
    #[must_use]
    pub fn all_input(&self) -> u64 {
        [self.cache_read, self.cache_write, self.cache_write_hour]
            .into_iter()
            .fold(self.input, u64::saturating_add)
    }

    /// Whether every number can be believed.
    #[must_use]
    pub fn is_credible(&self) -> bool {
        self.all_input() <= MAX_TOKENS && self.output <= MAX_TOKENS
    }
}

/// What the gateway says of an answer itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The answer's name, without a dialect's prefix: letters, digits, `-` and `_`.
    pub id: String,
    /// Seconds since 1970.
    pub created: i64,
    /// What the caller asked for, where the provider names no model.
    pub model: String,
}
