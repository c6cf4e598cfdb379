//! How each type of provider is talked to over HTTP: where, with which headers, in which words. What callers say is OpenAI's chat completions; a
//! provider that speaks them gets the caller's bytes, any other a translation (`oarmaster_dialect`).

use crate::error::ApiFailure;
use crate::provider::answer::{Answer, NotAnAnswer};
use crate::provider::failure::ProviderError;
use crate::provider::keys::{ApiKey, NotAHeader};
use crate::request::ChatRequest;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use oarmaster_crds::ModelProviderSpec;
use oarmaster_crds::kinds::provider::{Azure, ProviderType};
use oarmaster_dialect::chat::{Flavour, azure};
use oarmaster_dialect::converse::{self, frames::Frame};
use oarmaster_dialect::{Broken, Event, Said, Unsupported, Written, cohere, gemini, messages};
use oarmaster_prices::Vendor;
use oarmaster_protocol::text::{self, Repaired};

/// The version of Anthropic's API that is spoken.
const ANTHROPIC_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// The type of an AWS error.
const ERROR_TYPE: &str = "x-amzn-errortype";

/// What a provider speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wire {
    /// OpenAI's chat completions.
    Chat(Flavour),
    /// The same at Azure, which serves deployments of models.
    Azure(Azure),
    /// Anthropic's messages.
    Messages,
    /// Google's generateContent.
    Gemini,
    /// Cohere's chat, version 2.
    Cohere,
    /// Bedrock's Converse.
    Converse {
        /// The AWS region.
        region: String,
    },
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
    /// What a provider speaks; `None` where nothing is sent, or where the object does not say what it must.
    #[must_use]
    pub fn of(spec: &ModelProviderSpec) -> Option<Self> {
        Some(match spec.r#type {
            ProviderType::OpenAI => Self::Chat(Flavour::OpenAi),
            ProviderType::Mistral => Self::Chat(Flavour::Mistral),
            ProviderType::Groq => Self::Chat(Flavour::Groq),
            ProviderType::OpenRouter => Self::Chat(Flavour::OpenRouter),
            ProviderType::OpenAICompatible => Self::Chat(Flavour::Compatible),
            ProviderType::AzureOpenAI => Self::Azure(spec.azure.clone().unwrap_or_default()),
            ProviderType::Anthropic => Self::Messages,
            ProviderType::Gemini => Self::Gemini,
            ProviderType::Cohere => Self::Cohere,
            ProviderType::Bedrock => Self::Converse {
                region: spec.bedrock.as_ref()?.region.clone(),
            },
            ProviderType::Scripted => return None,
        })
    }

    /// Whose chat completions it speaks, where callers hear its own bytes.
    #[must_use]
    pub const fn flavour(&self) -> Option<Flavour> {
        match self {
            Self::Chat(flavour) => Some(*flavour),
            Self::Azure(_) => Some(Flavour::Azure),
            Self::Messages | Self::Gemini | Self::Cohere | Self::Converse { .. } => None,
        }
    }

    /// What the provider calls a model.
    fn name<'a>(&'a self, model: &'a str) -> &'a str {
        match self {
            Self::Azure(azure) => azure.deployments.get(model).map_or(model, String::as_str),
            _ => model,
        }
    }

    /// Where a call goes, below the endpoint.
    #[must_use]
    pub fn path(&self, model: &str, stream: bool) -> String {
        match self {
            Self::Chat(_) => "chat/completions".to_owned(),
            Self::Azure(of) => azure::path(self.name(model), of.api_version.as_deref()),
            Self::Messages => "v1/messages".to_owned(),
            Self::Gemini => gemini::path(model, stream),
            Self::Cohere => cohere::PATH.to_owned(),
            Self::Converse { .. } => converse::path(model, stream),
        }
    }

    /// The cheapest thing to ask for, below the endpoint. Bedrock's runtime lists nothing: what it says to a request that is not signed proves that it
    /// is there, and costs nothing.
    #[must_use]
    pub fn probe(&self) -> String {
        match self {
            Self::Azure(of) => return azure::models(of.api_version.as_deref()),
            Self::Chat(_) => "models",
            Self::Messages | Self::Cohere => "v1/models",
            Self::Gemini => "v1beta/models",
            Self::Converse { .. } => "",
        }
        .to_owned()
    }

    /// The type of its streams.
    #[must_use]
    pub const fn stream_type(&self) -> &'static str {
        match self {
            Self::Converse { .. } => "application/vnd.amazon.eventstream",
            _ => "text/event-stream",
        }
    }

    /// The headers of every request: the key, and what else the vendor wants. Bedrock's key is in none: it signs the whole request.
    ///
    /// # Errors
    /// [`NotAHeader`] for a key of another type of provider.
    pub fn headers(
        &self,
        key: Option<&ApiKey>,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, NotAHeader> {
        let mut headers = Vec::new();
        if *self == Self::Messages {
            headers.push((
                HeaderName::from_static("anthropic-version"),
                ANTHROPIC_VERSION,
            ));
        }
        if let Some(key) = key {
            headers.extend(match self {
                Self::Chat(_) | Self::Cohere => Some((header::AUTHORIZATION, key.bearer()?)),
                Self::Azure(_) => Some((HeaderName::from_static("api-key"), key.plain()?)),
                Self::Messages => Some((HeaderName::from_static("x-api-key"), key.plain()?)),
                Self::Gemini => Some((HeaderName::from_static("x-goog-api-key"), key.plain()?)),
                Self::Converse { .. } => None,
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
        &self,
        request: &ChatRequest,
        model: &str,
        limit: u64,
        write: bool,
    ) -> Result<Written, Unfit> {
        if let Some(flavour) = self.flavour() {
            return request
                .upstream(self.name(model), write.then_some(limit), flavour)
                .map_err(Unfit::Invalid);
        }
        let mut neutral = request.neutral().map_err(Unfit::Invalid)?;
        if write {
            neutral.max_output = Some(limit);
        }
        match self {
            Self::Chat(_) | Self::Azure(_) | Self::Messages => {
                messages::write_request(&neutral, model, limit)
            }
            Self::Gemini => gemini::write_request(&neutral, model),
            Self::Cohere => cohere::write_request(&neutral, model),
            Self::Converse { .. } => converse::write_request(&neutral, model, limit),
        }
        .map_err(Unfit::Unsupported)
    }

    /// Reads an answer that is not streamed.
    ///
    /// # Errors
    /// When it is none.
    pub fn answer(&self, body: &Repaired<'_>, model: &str) -> Result<Answer, NotAnAnswer> {
        let answer = match self {
            Self::Chat(_) | Self::Azure(_) => return Answer::read(body, model),
            Self::Messages => messages::read_answer(&body.text),
            Self::Gemini => gemini::read_answer(&body.text),
            Self::Cohere => cohere::read_answer(&body.text),
            Self::Converse { .. } => converse::read_answer(&body.text),
        };
        let answer = answer.map_err(|error| NotAnAnswer {
            message: error.message,
            usage: error.usage,
        })?;
        Answer::translated(&answer, model, body.replaced)
    }

    /// Whether a body that came with a success status is an error.
    #[must_use]
    pub fn is_error(&self, body: &str) -> bool {
        match self {
            Self::Converse { .. } => converse::is_error(body),
            _ => ProviderError::in_success(body),
        }
    }

    /// The error in a body, as far as it has one, or in the headers before it.
    #[must_use]
    pub fn error(&self, headers: &HeaderMap, body: &[u8]) -> ProviderError {
        let said: fn(&str) -> Option<Said> = match self {
            Self::Chat(_) | Self::Azure(_) => return ProviderError::read(body),
            Self::Messages => messages::read_error,
            Self::Gemini => gemini::read_error,
            Self::Cohere => cohere::read_error,
            Self::Converse { .. } => {
                let kind = headers.get(ERROR_TYPE);
                if let Some(kind) = kind.and_then(|kind| kind.to_str().ok()) {
                    return converse::read_typed_error(kind, &text::json(body).text).into();
                }
                converse::read_error
            }
        };
        said(&text::json(body).text).map_or_else(|| ProviderError::read(body), ProviderError::from)
    }

    /// A reader of its streams; `None` for one that is passed on as it comes.
    #[must_use]
    pub fn reader(&self) -> Option<Reader> {
        match self {
            Self::Chat(_) | Self::Azure(_) => None,
            Self::Messages => Some(Reader::Messages(Box::default())),
            Self::Gemini => Some(Reader::Gemini(Box::default())),
            Self::Cohere => Some(Reader::Cohere(Box::default())),
            Self::Converse { .. } => Some(Reader::Converse(Box::default())),
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
    /// Bedrock's.
    Converse(Box<converse::Reader>),
}

impl Reader {
    /// Reads one event.
    ///
    /// # Errors
    /// When it cannot be read, or is an error of the provider.
    pub fn read(&mut self, event: &Frame, into: &mut Vec<Event>) -> Result<(), Broken> {
        let name = &event.name;
        let data = || text::json(&event.payload).text;
        match self {
            Self::Messages(reader) => reader.read(name, &data(), into),
            Self::Gemini(reader) => reader.read(name, &data(), into),
            Self::Cohere(reader) => reader.read(name, &data(), into),
            Self::Converse(reader) => reader.read_frame(event, into),
        }
    }

    /// Hands over what was held back, at the end of the bytes.
    pub fn end(&mut self, into: &mut Vec<Event>) {
        match self {
            Self::Messages(reader) => reader.end(into),
            Self::Gemini(reader) => reader.end(into),
            Self::Cohere(reader) => reader.end(into),
            Self::Converse(reader) => reader.end(into),
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
        ProviderType::AzureOpenAI => Vendor::AzureOpenAi,
        ProviderType::Bedrock => Vendor::Bedrock,
        ProviderType::OpenAICompatible | ProviderType::Scripted => return None,
    })
}
