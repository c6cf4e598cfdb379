//! Whose signature it is: what a vendor signed or encrypted goes back to this vendor alone, whoever else answers in between.
//!
//! Where a surface has a place for the signer, the signer stands there (OpenRouter's `reasoning_details[].format`, see [`Signer::format`]). Everywhere else the
//! surface's own vendor's signatures stand bare and all others marked: [`mark`] and [`unmark`].

use std::borrow::Cow;

/// Who signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signer {
    /// Claude, wherever it is served: Anthropic, Bedrock, Vertex and OpenRouter take each other's. Of Bedrock's models no other signs.
    Anthropic,
    /// OpenAI.
    OpenAi,
    /// OpenAI's models on Azure, as OpenRouter tells them apart.
    Azure,
    /// Gemini, wherever it is served.
    Google,
    /// Grok.
    XAi,
    /// Mistral.
    Mistral,
    /// OpenRouter, for a model of which it does not say who signs.
    OpenRouter,
    /// Any other server that speaks Anthropic's messages. What one signed goes to no vendor that is named here.
    Other,
}

/// All of them.
const ALL: [Signer; 8] = [
    Signer::Anthropic,
    Signer::OpenAi,
    Signer::Azure,
    Signer::Google,
    Signer::XAi,
    Signer::Mistral,
    Signer::OpenRouter,
    Signer::Other,
];

impl Signer {
    /// The word that marks what it signed.
    const fn word(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
            Self::Azure => "azure",
            Self::Google => "google",
            Self::XAi => "xai",
            Self::Mistral => "mistral",
            Self::OpenRouter => "openrouter",
            Self::Other => "other",
        }
    }

    /// OpenRouter's word for the signer in `reasoning_details[].format`; `unknown` for those that it has no word for.
    pub(crate) const fn format(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic-claude-v1",
            Self::OpenAi => "openai-responses-v1",
            Self::Azure => "azure-openai-responses-v1",
            Self::Google => "google-gemini-v1",
            Self::XAi => "xai-responses-v1",
            Self::Mistral | Self::OpenRouter | Self::Other => "unknown",
        }
    }

    /// The signer that a format of any version names; [`Self::OpenRouter`] for one that is new to us.
    pub(crate) fn of_format(format: &str) -> Self {
        let beginnings = [
            ("anthropic-", Self::Anthropic),
            ("openai-", Self::OpenAi),
            ("azure-openai-", Self::Azure),
            ("google-", Self::Google),
            ("xai-", Self::XAi),
        ];
        let known = beginnings
            .iter()
            .find(|(beginning, _)| format.starts_with(beginning));
        known.map_or(Self::OpenRouter, |(_, signer)| *signer)
    }
}

/// What a vendor signed or encrypted, and wants back unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Who.
    pub by: Signer,
    /// The signature, or what was encrypted, as it came.
    pub value: String,
    /// The vendor's name for what it signed (OpenAI's id of a reasoning item), which nobody else knows. A surface without a place for it leaves it out.
    pub id: Option<String>,
}

impl Signature {
    /// A signature without a name.
    #[must_use]
    pub fn new(by: Signer, value: impl Into<String>) -> Self {
        Self {
            by,
            value: value.into(),
            id: None,
        }
    }

    /// The value for a place that is `own`'s.
    pub(crate) fn marked(&self, own: Signer) -> Cow<'_, str> {
        mark(&self.value, self.by, own)
    }

    /// Reads what stands in a place that is `own`'s.
    pub(crate) fn read(text: &str, own: Signer) -> Self {
        let (by, value) = unmark(text, own);
        Self::new(by, value)
    }
}

/// A signature in a place that is `own`'s: bare if it is `own`'s, otherwise after its signer and a colon. One of `own`'s with a colon in it, which no
/// vendor's base64 has, is marked too, so that every signature comes back as what it was.
pub(crate) fn mark(value: &str, by: Signer, own: Signer) -> Cow<'_, str> {
    if by == own && !value.contains(':') {
        return Cow::Borrowed(value);
    }
    Cow::Owned(format!("{}:{value}", by.word()))
}

/// Whose a signature is that stands in a place of `own`'s, and the signature.
pub(crate) fn unmark(text: &str, own: Signer) -> (Signer, &str) {
    let marked = text.split_once(':').and_then(|(word, value)| {
        let signer = ALL.iter().find(|signer| signer.word() == word)?;
        Some((*signer, value))
    });
    marked.unwrap_or((own, text))
}

#[cfg(test)]
mod tests;
