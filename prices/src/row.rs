//! One model of one vendor.

use serde::{Deserialize, Serialize};

use crate::{Capabilities, Prices, Schedule, Vendor};

/// How a model is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// As a conversation, by the vendor's usual path.
    Chat,
    /// As a conversation, by OpenAI's Responses API alone.
    Responses,
    /// Text in, vectors out.
    Embedding,
}

/// A public table that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub enum Source {
    /// LiteLLM's model_prices_and_context_window.
    #[serde(rename = "litellm")]
    LiteLlm,
    /// models.dev.
    #[serde(rename = "models.dev")]
    ModelsDev,
}

/// What one model of one vendor costs and can do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Who serves it.
    pub vendor: Vendor,
    /// The vendor's id, without what another program puts before it.
    pub model: &'static str,
    /// How it is called.
    pub mode: Mode,
    /// Where the row is from. The first gave the prices; limits and capabilities are LiteLLM's, and what it leaves open is models.dev's.
    #[serde(rename = "from")]
    pub sources: Box<[Source]>,
    /// The most input tokens of a call, if known. At some vendors the output counts into the same window.
    #[serde(rename = "context", default)]
    pub context_tokens: Option<u32>,
    /// The most output tokens of a call, if known.
    #[serde(rename = "max_output", default)]
    pub max_output_tokens: Option<u32>,
    /// What it is known to be able to do.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// What an ordinary call costs.
    pub standard: Schedule,
    /// What a call costs by the vendor's batch API, where a table states it.
    #[serde(default)]
    pub batch: Option<Box<Schedule>>,
}

/// What stands in the names of models that search the web whatever they are asked.
const SEARCHES: [&str; 5] = [
    "-search-preview",
    "-search-api",
    "deep-research",
    "sonar",
    ":online",
];

impl Row {
    /// Whether the model searches the web by itself, at a price for each search that is not in the table.
    #[must_use]
    pub fn searches(&self) -> bool {
        SEARCHES.iter().any(|word| self.model.contains(word))
    }

    /// The prices of an ordinary call with so many input tokens, those from a cache among them.
    #[must_use]
    pub fn prices_at(&self, total_input_tokens: u64) -> Prices {
        self.standard.at(total_input_tokens)
    }

    /// The same by the vendor's batch API, if the table has its prices.
    #[must_use]
    pub fn batch_prices_at(&self, total_input_tokens: u64) -> Option<Prices> {
        self.batch
            .as_ref()
            .map(|batch| batch.at(total_input_tokens))
    }

    /// Whether an ordinary call costs nothing, whatever its length.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.standard.stated().all(|price| price == 0)
    }
}
