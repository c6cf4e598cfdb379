//! The vendors whose models have rows.

use serde::{Deserialize, Serialize};

/// Who serves a model. The same model costs other prices elsewhere, so an id means something only with its vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    /// Anthropic's own API.
    Anthropic,
    /// Azure OpenAI, and the models of others that the same endpoint serves. Ids are model names, not deployments; `us/`, `eu/` and the like
    /// before an id are the prices of deployments in that data zone.
    #[serde(rename = "azure")]
    AzureOpenAi,
    /// Amazon Bedrock. Ids are model ids, ids of inference profiles or their ARNs; `<region>/<model id>` is a region's own price.
    Bedrock,
    /// Cohere's own API.
    Cohere,
    /// Google's Gemini API (not Vertex AI).
    Gemini,
    /// Groq.
    Groq,
    /// Mistral's own API.
    Mistral,
    /// OpenAI's own API.
    OpenAi,
    /// OpenRouter. Its answers state what a call cost; the table is for what must be known before.
    OpenRouter,
}

impl Vendor {
    /// Every vendor, in the order of the table.
    pub const ALL: [Self; 9] = [
        Self::Anthropic,
        Self::AzureOpenAi,
        Self::Bedrock,
        Self::Cohere,
        Self::Gemini,
        Self::Groq,
        Self::Mistral,
        Self::OpenAi,
        Self::OpenRouter,
    ];

    /// The vendor's name in the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::AzureOpenAi => "azure",
            Self::Bedrock => "bedrock",
            Self::Cohere => "cohere",
            Self::Gemini => "gemini",
            Self::Groq => "groq",
            Self::Mistral => "mistral",
            Self::OpenAi => "openai",
            Self::OpenRouter => "openrouter",
        }
    }
}
