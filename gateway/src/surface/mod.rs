//! Surfaces: what callers speak to the gateway. Each says how its requests are read and what of them a budget can bound, and how answers, streams and
//! errors are written. What providers speak is a [`crate::provider::wire::Wire`]; neither knows the other's details.

pub mod bounded;
pub mod chat;
pub mod embeddings;
mod error;
pub mod fields;
pub mod messages;
mod needs;
pub mod responses;
#[cfg(test)]
mod tests;
mod writer;

pub use error::frame;
pub use writer::Writer;

use crate::error::ApiFailure;
use crate::identity::{api_key, bearer};
use crate::provider::wire::{Embedder, Wire};
use bounded::Bounded;
use fields::Peek;
use http::HeaderMap;
use oarmaster_dialect::json::Fields;
use oarmaster_dialect::{self as dialect, Answer, Envelope, Invalid};

/// Callers of Anthropic's SDKs say their version of its API; nobody else does.
const ANTHROPIC_VERSION: &str = "anthropic-version";

/// What callers speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Surface {
    /// OpenAI's chat completions.
    Chat,
    /// OpenAI's responses. None is kept.
    Responses,
    /// Anthropic's messages.
    Messages,
    /// How many tokens Anthropic's messages have.
    CountTokens,
    /// OpenAI's embeddings.
    Embeddings,
}

impl Surface {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::Chat,
        Self::Responses,
        Self::Messages,
        Self::CountTokens,
        Self::Embeddings,
    ];

    /// Where it is.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
            Self::CountTokens => "/v1/messages/count_tokens",
            Self::Embeddings => "/v1/embeddings",
        }
    }

    /// The surface whose errors a caller understands at a path that several share.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        if headers.contains_key(ANTHROPIC_VERSION) {
            Self::Messages
        } else {
            Self::Chat
        }
    }

    /// Whether it is Anthropic's.
    #[must_use]
    pub const fn is_anthropics(self) -> bool {
        matches!(self, Self::Messages | Self::CountTokens)
    }

    /// Whether these are the provider's words, too: then it gets the caller's bytes, and the caller its.
    #[must_use]
    pub const fn is(self, wire: Wire) -> bool {
        matches!(
            (self, wire),
            (Self::Chat, Wire::Chat(_))
                | (Self::Responses, Wire::Responses { .. })
                | (Self::Messages | Self::CountTokens, Wire::Messages)
                | (Self::Embeddings, Wire::Embeddings(Embedder::OpenAi(_)))
        )
    }

    /// The caller's token.
    ///
    /// # Errors
    /// `unauthenticated` when there is none that could be one.
    pub fn token(self, headers: &HeaderMap) -> Result<&str, ApiFailure> {
        if self.is_anthropics() {
            api_key(headers)
        } else {
            bearer(headers)
        }
    }

    /// What the gateway must know of a request.
    ///
    /// # Errors
    /// `invalid_request`, naming the field.
    pub fn peek(self, fields: &Fields) -> Result<Peek, ApiFailure> {
        match self {
            Self::Chat => chat::peek(fields),
            Self::Responses => responses::peek(fields),
            Self::Messages => messages::peek(fields),
            Self::CountTokens => messages::peek_count(fields),
            Self::Embeddings => embeddings::peek(fields),
        }
    }

    /// What of its requests a budget can bound.
    #[must_use]
    pub const fn bounded(self) -> &'static Bounded {
        match self {
            Self::Chat => &chat::BOUNDED,
            Self::Responses => &responses::BOUNDED,
            Self::Messages | Self::CountTokens => &messages::BOUNDED,
            Self::Embeddings => &embeddings::BOUNDED,
        }
    }

    /// The field of the output limit, where its answers have any output.
    #[must_use]
    pub const fn limit(self) -> Option<&'static str> {
        match self {
            Self::Chat | Self::Messages => Some("max_tokens"),
            Self::Responses => Some("max_output_tokens"),
            Self::CountTokens | Self::Embeddings => None,
        }
    }

    /// A request in no dialect, for a provider that speaks another one.
    ///
    /// # Errors
    /// [`Invalid`], naming the field.
    pub fn neutral(self, body: &[u8]) -> Result<dialect::Request, Invalid> {
        match self {
            Self::Chat | Self::Embeddings => dialect::chat::read_request(body),
            Self::Responses => dialect::responses::read_request(body),
            Self::Messages => dialect::messages::read_request(body),
            Self::CountTokens => dialect::messages::read_count_request(body),
        }
    }

    /// A model's answer in these words.
    #[must_use]
    pub fn write_answer(self, answer: &Answer, envelope: &Envelope) -> String {
        match self {
            Self::Chat | Self::Embeddings => dialect::chat::write_answer(answer, envelope),
            Self::Responses => dialect::responses::write_answer(answer, envelope),
            Self::Messages | Self::CountTokens => dialect::messages::write_answer(answer, envelope),
        }
    }
}
