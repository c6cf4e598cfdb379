//! How each type of provider is talked to over HTTP: where, with which headers, in which words. What callers say is OpenAI's chat completions; a
//! provider that speaks them gets the caller's bytes, any other a translation (`oarmaster_dialect`).

use crate::error::ApiFailure;
use crate::provider::answer::{Answer, NotAnAnswer};
use crate::provider::failure::ProviderError;
use crate::provider::keys::ApiKey;
use crate::request::ChatRequest;
use http::{HeaderName, HeaderValue, header};
use oarmaster_crds::kinds::provider::ProviderType;
use oarmaster_dialect::chat::Flavour;
use oarmaster_dialect::{Broken, Event, Said, Unsupported, Written, cohere, gemini, messages};
use oarmaster_prices::Vendor;
use oarmaster_protocol::text::{self, Repaired};

/// The version of Anthropic's API that is spoken.
const ANTHROPIC_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// What a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// OpenAI's chat completions.
    Chat(Flavour),
    /// Anthropic's messages.
    Messages,
    /// Google's generateContent.
    Gemini,
    /// Cohere's chat, version 2.
    Cohere,
}

/// Why a request is not sent to a provider.
#[derive(Debug)]
pub enum Unfit {
    /// The request is wrong whoever is asked.
    Invalid(ApiFailure),
    /// This provider has no words for it.
    Unsupported(Unsupported),
}

impl Wire {
    /// What a type of provider speaks; `None` where nothing is sent.
    #[must_use]
    pub const fn of(kind: ProviderType) -> Option<Self> {
        Some(match kind {
            ProviderType::OpenAI => Self::Chat(Flavour::OpenAi),
            ProviderType::Mistral => Self::Chat(Flavour::Mistral),
            ProviderType::Groq => Self::Chat(Flavour::Groq),
            ProviderType::OpenRouter => Self::Chat(Flavour::OpenRouter),
            ProviderType::OpenAICompatible => Self::Chat(Flavour::Compatible),
            ProviderType::Anthropic => Self::Messages,
            ProviderType::Gemini => Self::Gemini,
            ProviderType::Cohere => Self::Cohere,
            ProviderType::Scripted => return None,
        })
    }

    /// Where a call goes, below the endpoint.
    #[must_use]
    pub fn path(self, model: &str, stream: bool) -> String {
        match self {
            Self::Chat(_) => "chat/completions".to_owned(),
            Self::Messages => "v1/messages".to_owned(),
            Self::Gemini => gemini::path(model, stream),
            Self::Cohere => cohere::PATH.to_owned(),
        }
    }

    /// The cheapest thing to ask for, below the endpoint.
    #[must_use]
    pub const fn probe(self) -> &'static str {
        match self {
            Self::Chat(_) => "models",
            Self::Messages | Self::Cohere => "v1/models",
            Self::Gemini => "v1beta/models",
        }
    }

    /// The headers of every request: the key, and what else the vendor wants.
    ///
    /// # Errors
    /// Never for a key that was read: its characters are header characters.
    pub fn headers(
        self,
        key: Option<&ApiKey>,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, header::InvalidHeaderValue> {
        let mut headers = Vec::new();
        if self == Self::Messages {
            headers.push((
                HeaderName::from_static("anthropic-version"),
                ANTHROPIC_VERSION,
            ));
        }
        if let Some(key) = key {
            headers.push(match self {
                Self::Chat(_) | Self::Cohere => (header::AUTHORIZATION, key.bearer()?),
                Self::Messages => (HeaderName::from_static("x-api-key"), key.plain()?),
                Self::Gemini => (HeaderName::from_static("x-goog-api-key"), key.plain()?),
            });
        }
        Ok(headers)
    }

    /// The body of a request. `limit` is the most output tokens of one choice; where it need not be said (`write` is false) a provider gets what
    /// the caller wrote, unless it takes no request without a limit.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn body(
        self,
        request: &ChatRequest,
        model: &str,
        limit: u64,
        write: bool,
    ) -> Result<Written, Unfit> {
        if let Self::Chat(flavour) = self {
            return request
                .upstream(model, write.then_some(limit), flavour)
                .map_err(Unfit::Invalid);
        }
        let mut neutral = request.neutral().map_err(Unfit::Invalid)?;
        if write {
            neutral.max_output = Some(limit);
        }
        match self {
            Self::Chat(_) | Self::Messages => messages::write_request(&neutral, model, limit),
            Self::Gemini => gemini::write_request(&neutral, model),
            Self::Cohere => cohere::write_request(&neutral, model),
        }
        .map_err(Unfit::Unsupported)
    }

    /// Reads an answer that is not streamed.
    ///
    /// # Errors
    /// When it is none.
    pub fn answer(self, body: &Repaired<'_>, model: &str) -> Result<Answer, NotAnAnswer> {
        let answer = match self {
            Self::Chat(_) => return Answer::read(body, model),
            Self::Messages => messages::read_answer(&body.text),
            Self::Gemini => gemini::read_answer(&body.text),
            Self::Cohere => cohere::read_answer(&body.text),
        };
        let answer = answer.map_err(|error| NotAnAnswer {
            message: error.message,
            usage: error.usage,
        })?;
        Answer::translated(&answer, model, body.replaced)
    }

    /// The error in a body, as far as it has one.
    #[must_use]
    pub fn error(self, body: &[u8]) -> ProviderError {
        let said: fn(&str) -> Option<Said> = match self {
            Self::Chat(_) => return ProviderError::read(body),
            Self::Messages => messages::read_error,
            Self::Gemini => gemini::read_error,
            Self::Cohere => cohere::read_error,
        };
        said(&text::json(body).text).map_or_else(|| ProviderError::read(body), ProviderError::from)
    }

    /// A reader of its streams; `None` for one that is passed on as it comes.
    #[must_use]
    pub fn reader(self) -> Option<Reader> {
        match self {
            Self::Chat(_) => None,
            Self::Messages => Some(Reader::Messages(Box::default())),
            Self::Gemini => Some(Reader::Gemini(Box::default())),
            Self::Cohere => Some(Reader::Cohere(Box::default())),
        }
    }
}

/// Reads a stream that is translated.
#[derive(Debug)]
pub enum Reader {
    /// Anthropic's.
    Messages(Box<messages::Reader>),
    /// Google's.
    Gemini(Box<gemini::Reader>),
    /// Cohere's.
    Cohere(Box<cohere::Reader>),
}

impl Reader {
    /// Reads one event.
    ///
    /// # Errors
    /// When it cannot be read, or is an error of the provider.
    pub fn read(&mut self, name: &str, data: &str, into: &mut Vec<Event>) -> Result<(), Broken> {
        match self {
            Self::Messages(reader) => reader.read(name, data, into),
            Self::Gemini(reader) => reader.read(name, data, into),
            Self::Cohere(reader) => reader.read(name, data, into),
        }
    }

    /// Hands over what was held back, at the end of the bytes.
    pub fn end(&mut self, into: &mut Vec<Event>) {
        match self {
            Self::Messages(reader) => reader.end(into),
            Self::Gemini(reader) => reader.end(into),
            Self::Cohere(reader) => reader.end(into),
        }
    }
}

/// Whose prices and limits the built-in table has for a type.
#[must_use]
pub const fn vendor(kind: ProviderType) -> Option<Vendor> {
    Some(match kind {
        ProviderType::OpenAI => Vendor::OpenAi,
        ProviderType::Anthropic => Vendor::Anthropic,
        ProviderType::Gemini => Vendor::Gemini,
        ProviderType::Cohere => Vendor::Cohere,
        ProviderType::Mistral => Vendor::Mistral,
        ProviderType::Groq => Vendor::Groq,
        ProviderType::OpenRouter => Vendor::OpenRouter,
        ProviderType::OpenAICompatible | ProviderType::Scripted => return None,
    })
}
