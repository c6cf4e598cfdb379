//! How each type of provider is talked to over HTTP: where, with which headers, in which words. A provider that speaks what the caller does gets the
//! caller's bytes, any other a translation (`oarmaster_dialect`).

mod reader;
mod sent;

pub use reader::Reader;
pub use sent::{Sent, Unfit};

use crate::error::ApiFailure;
use crate::provider::failure::ProviderError;
use crate::provider::keys::{ApiKey, NotAHeader};
use crate::request::Request;
use crate::surface::Surface;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use oarmaster_crds::kinds::provider::ProviderType;
use oarmaster_dialect::chat::{self, Flavour};
use oarmaster_dialect::converse;
use oarmaster_dialect::embeddings::{self, Embedded};
use oarmaster_dialect::json::Fields;
use oarmaster_dialect::{
    Answer, NotAnAnswer, Said, Unsupported, Written, cohere, gemini, messages, responses,
};
use oarmaster_prices::{Capability, Mode, Row, Vendor};
use oarmaster_protocol::text;

/// The version of Anthropic's API that is spoken.
const ANTHROPIC_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// The type of an AWS error.
const ERROR_TYPE: &str = "x-amzn-errortype";

/// What a provider speaks: its own words for conversations, and what else it has for some calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// OpenAI's chat completions.
    Chat(Flavour),
    /// OpenAI's responses.
    Responses {
        /// Whether the model is known to think.
        thinks: bool,
    },
    /// Anthropic's messages.
    Messages,
    /// Google's generateContent.
    Gemini,
    /// Cohere's chat, version 2.
    Cohere,
    /// Bedrock's Converse.
    Converse,
    /// Embeddings.
    Embeddings(Embedder),
}

/// Whose embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Embedder {
    /// OpenAI's, and those of servers that speak as it does.
    OpenAi(Flavour),
    /// Google's.
    Gemini,
    /// Cohere's.
    Cohere,
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
            ProviderType::AzureOpenAI => Self::Chat(Flavour::Azure),
            ProviderType::Anthropic => Self::Messages,
            ProviderType::Gemini => Self::Gemini,
            ProviderType::Cohere => Self::Cohere,
            ProviderType::Bedrock => Self::Converse,
            ProviderType::Scripted => return None,
        })
    }

    /// What a call of this surface is said in. A vendor that has the caller's words takes them; a model that is called in one way alone, as the built-in
    /// table knows, is called so.
    ///
    /// # Errors
    /// [`Unfit`] where the model or its provider has no such call.
    pub fn for_call(self, surface: Surface, row: Option<&Row>) -> Result<Self, Unfit> {
        let lacks = |what: &str| Err(Unfit::Unsupported(what.to_owned()));
        let mode = row.map(|row| row.mode);
        if surface == Surface::Embeddings {
            return match (self.embedder(), mode) {
                (_, Some(Mode::Chat | Mode::Responses)) => lacks("it makes no embeddings"),
                (Some(embedder), _) => Ok(Self::Embeddings(embedder)),
                (None, _) => lacks("its provider has no embeddings"),
            };
        }
        let is_openai = self == Self::Chat(Flavour::OpenAi);
        match mode {
            Some(Mode::Embedding) => lacks("it makes embeddings and no answers"),
            // Not every region and deployment of Azure has responses: only what knows nothing else is called so there.
            Some(Mode::Responses) if is_openai || self == Self::Chat(Flavour::Azure) => {
                Ok(Self::responses(row))
            }
            _ if is_openai && surface == Surface::Responses => Ok(Self::responses(row)),
            _ => Ok(self),
        }
    }

    fn responses(row: Option<&Row>) -> Self {
        Self::Responses {
            thinks: row.is_some_and(|row| row.capabilities.has(Capability::Reasoning)),
        }
    }

    const fn embedder(self) -> Option<Embedder> {
        Some(match self {
            Self::Chat(
                flavour @ (Flavour::OpenAi
                | Flavour::Azure
                | Flavour::Mistral
                | Flavour::Compatible),
            ) => Embedder::OpenAi(flavour),
            Self::Gemini => Embedder::Gemini,
            Self::Cohere => Embedder::Cohere,
            Self::Chat(_)
            | Self::Responses { .. }
            | Self::Messages
            | Self::Converse
            | Self::Embeddings(_) => return None,
        })
    }

    /// Where a call goes, below the endpoint.
    #[must_use]
    pub fn path(self, model: &str, stream: bool) -> String {
        match self {
            Self::Chat(_) => "chat/completions".to_owned(),
            Self::Responses { .. } => "responses".to_owned(),
            Self::Messages => "v1/messages".to_owned(),
            Self::Gemini => gemini::path(model, stream),
            Self::Cohere => cohere::PATH.to_owned(),
            Self::Converse => converse::path(model, stream),
            Self::Embeddings(Embedder::OpenAi(_)) => "embeddings".to_owned(),
            Self::Embeddings(Embedder::Gemini) => embeddings::gemini::path(model),
            Self::Embeddings(Embedder::Cohere) => embeddings::cohere::PATH.to_owned(),
        }
    }

    /// Where Anthropic counts tokens, below the endpoint.
    pub const COUNT: &'static str = "v1/messages/count_tokens";

    /// The cheapest thing to ask for, below the endpoint. Bedrock's runtime lists nothing: what it says to a request that is not signed proves that it
    /// is there, and costs nothing.
    #[must_use]
    pub const fn probe(self) -> &'static str {
        match self {
            Self::Chat(_) | Self::Responses { .. } | Self::Embeddings(Embedder::OpenAi(_)) => {
                "models"
            }
            Self::Messages | Self::Cohere | Self::Embeddings(Embedder::Cohere) => "v1/models",
            Self::Gemini | Self::Embeddings(Embedder::Gemini) => "v1beta/models",
            Self::Converse => "",
        }
    }

    /// The type of its streams.
    #[must_use]
    pub const fn stream_type(self) -> &'static str {
        match self {
            Self::Converse => "application/vnd.amazon.eventstream",
            _ => "text/event-stream",
        }
    }

    /// The headers of every request: the key, and what else the vendor wants. Bedrock's key is in none: it signs the whole request.
    ///
    /// # Errors
    /// [`NotAHeader`] for a key of another type of provider.
    pub fn headers(
        self,
        key: Option<&ApiKey>,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, NotAHeader> {
        let mut headers = Vec::new();
        if self == Self::Messages {
            headers.push((
                HeaderName::from_static("anthropic-version"),
                ANTHROPIC_VERSION,
            ));
        }
        if let Some(key) = key {
            headers.extend(match self {
                Self::Chat(Flavour::Azure) | Self::Embeddings(Embedder::OpenAi(Flavour::Azure)) => {
                    Some((HeaderName::from_static("api-key"), key.plain()?))
                }
                Self::Chat(_)
                | Self::Responses { .. }
                | Self::Cohere
                | Self::Embeddings(Embedder::OpenAi(_) | Embedder::Cohere) => {
                    Some((header::AUTHORIZATION, key.bearer()?))
                }
                Self::Messages => Some((HeaderName::from_static("x-api-key"), key.plain()?)),
                Self::Gemini | Self::Embeddings(Embedder::Gemini) => {
                    Some((HeaderName::from_static("x-goog-api-key"), key.plain()?))
                }
                Self::Converse => None,
            });
        }
        Ok(headers)
    }

    /// A request in these words. `limit` is the most output tokens of one choice; where no budget relies on it (`held` is false) a provider gets
    /// what the caller wrote, unless it takes no request without a limit.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn say(
        self,
        request: &Request,
        model: &str,
        limit: u64,
        held: bool,
    ) -> Result<Sent, Unfit> {
        let write = held && request.lacks_limit();
        if request.surface.is(self) {
            let limit = write.then_some(limit);
            let mut fields = request.spliced(model, limit).map_err(Unfit::Invalid)?;
            let dropped = self.adapt(&mut fields, model, held);
            let body = fields.to_json();
            return Ok(Sent {
                beta: request.beta.clone(),
                ..Sent::one(self, Written { body, dropped })
            });
        }
        let mut sent = match request.surface {
            Surface::Embeddings => self.say_embeddings(request, model)?,
            // Anthropic alone counts.
            Surface::CountTokens => Sent::several(self, Vec::new()),
            // It fills Anthropic's cache and asks for no answer. To others it may mean that there is no limit.
            Surface::Messages if request.max_output == Some(0) => {
                let lack = "max_tokens is 0, which fills a cache at Anthropic alone";
                return Err(Unfit::Unsupported(lack.to_owned()));
            }
            Surface::Chat | Surface::Responses | Surface::Messages => {
                let mut neutral = request.neutral().map_err(Unfit::Invalid)?;
                if write {
                    neutral.max_output = Some(limit);
                }
                Sent::one(self, self.write(&neutral, model, limit)?)
            }
        };
        if request.beta.is_some() {
            sent.dropped.push("anthropic-beta".to_owned());
        }
        Ok(sent)
    }

    /// Edits a body that goes on as it came. A server that nobody knows gets what the caller wrote; where a budget relies on the limit, that by the
    /// name that all of them know.
    fn adapt(self, fields: &mut Fields, model: &str, held: bool) -> Vec<String> {
        match self {
            Self::Chat(Flavour::Compatible) if !held || is_openais(model) => Vec::new(),
            Self::Chat(vendor) => chat::adapt(fields, vendor),
            Self::Responses { thinks } => responses::adapt(fields, model, thinks),
            Self::Messages => messages::adapt(fields, model),
            Self::Embeddings(Embedder::OpenAi(flavour)) => {
                embeddings::openai::adapt(fields, flavour)
            }
            Self::Gemini | Self::Cohere | Self::Converse | Self::Embeddings(_) => Vec::new(),
        }
    }

    fn write(
        self,
        request: &oarmaster_dialect::Request,
        model: &str,
        limit: u64,
    ) -> Result<Written, Unsupported> {
        match self {
            Self::Chat(flavour) => chat::write_request(request, model, flavour),
            Self::Responses { .. } => responses::write_request(request, model),
            Self::Messages | Self::Embeddings(_) => messages::write_request(request, model, limit),
            Self::Gemini => gemini::write_request(request, model),
            Self::Cohere => cohere::write_request(request, model),
            Self::Converse => converse::write_request(request, model, limit),
        }
    }

    fn say_embeddings(self, request: &Request, model: &str) -> Result<Sent, Unfit> {
        let neutral = embeddings::read_request(request.readable().as_bytes())
            .map_err(|error| Unfit::Invalid(ApiFailure::invalid(error.to_string())))?;
        let written = match self {
            Self::Embeddings(Embedder::Gemini) => {
                embeddings::gemini::write_requests(&neutral, model)
            }
            Self::Embeddings(Embedder::Cohere) => {
                embeddings::cohere::write_requests(&neutral, model)
            }
            _ => embeddings::openai::write_requests(&neutral, model),
        };
        Ok(Sent::several(self, written?))
    }

    /// Reads an answer that is not streamed.
    ///
    /// # Errors
    /// When it is none.
    pub fn answer(self, body: &str) -> Result<Answer, NotAnAnswer> {
        match self {
            Self::Chat(_) | Self::Embeddings(_) => chat::read_answer(body),
            Self::Responses { .. } => responses::read_answer(body),
            Self::Messages => messages::read_answer(body),
            Self::Gemini => gemini::read_answer(body),
            Self::Cohere => cohere::read_answer(body),
            Self::Converse => converse::read_answer(body),
        }
    }

    /// Reads vectors.
    ///
    /// # Errors
    /// When there are none.
    pub fn vectors(self, body: &str) -> Result<Embedded, NotAnAnswer> {
        match self {
            Self::Embeddings(Embedder::Gemini) => embeddings::gemini::read_answer(body),
            Self::Embeddings(Embedder::Cohere) => embeddings::cohere::read_answer(body),
            _ => embeddings::openai::read_answer(body),
        }
    }

    /// Whether a body that came with a success status is an error.
    #[must_use]
    pub fn is_error(self, body: &str) -> bool {
        match self {
            Self::Converse => converse::is_error(body),
            _ => ProviderError::in_success(body),
        }
    }

    /// The error in a body, as far as it has one, or in the headers before it.
    #[must_use]
    pub fn error(self, headers: &HeaderMap, body: &[u8]) -> ProviderError {
        let said: fn(&str) -> Option<Said> = match self {
            Self::Chat(_) | Self::Responses { .. } | Self::Embeddings(Embedder::OpenAi(_)) => {
                return ProviderError::read(body);
            }
            Self::Messages => messages::read_error,
            Self::Gemini | Self::Embeddings(Embedder::Gemini) => gemini::read_error,
            Self::Cohere | Self::Embeddings(Embedder::Cohere) => cohere::read_error,
            Self::Converse => {
                let kind = headers.get(ERROR_TYPE);
                if let Some(kind) = kind.and_then(|kind| kind.to_str().ok()) {
                    return converse::read_typed_error(kind, &text::json(body).text).into();
                }
                converse::read_error
            }
        };
        said(&text::json(body).text).map_or_else(|| ProviderError::read(body), ProviderError::from)
    }

    /// A reader of its streams.
    #[must_use]
    pub fn reader(self) -> Reader {
        match self {
            Self::Chat(_) | Self::Embeddings(_) => Reader::Chat(Box::default()),
            Self::Responses { .. } => Reader::Responses(Box::default()),
            Self::Messages => Reader::Messages(Box::default()),
            Self::Gemini => Reader::Gemini(Box::default()),
            Self::Cohere => Reader::Cohere(Box::default()),
            Self::Converse => Reader::Converse(Box::default()),
        }
    }
}

/// Whether a name is one of OpenAI's models that take the limit by its newer name alone, wherever they are served.
fn is_openais(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    ["gpt-5", "o1", "o3", "o4"]
        .iter()
        .any(|family| name.starts_with(family))
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
