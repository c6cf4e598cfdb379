//! What cannot be read, and what cannot be said.

use crate::answer::Usage;
use std::fmt;
use std::time::Duration;

/// A caller's request that is wrong in its own dialect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// What is wrong, beginning with the field.
    pub message: String,
    /// The field, as a path like `messages[2].content`.
    pub field: Option<String>,
}

impl Invalid {
    /// A field is wrong: `field messages[2].content is not a text or a list of parts`.
    #[must_use]
    pub fn field(field: impl Into<String>, what: impl fmt::Display) -> Self {
        let field = field.into();
        Self {
            message: format!("field {field} {what}"),
            field: Some(field),
        }
    }
}

impl From<crate::json::BadJson> for Invalid {
    fn from(error: crate::json::BadJson) -> Self {
        Self {
            message: error.to_string(),
            field: None,
        }
    }
}

/// A request that an upstream's dialect cannot say without changing what is asked. Another member of the pool may.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{dialect} has no {feature}{}", detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default())]
pub struct Unsupported {
    /// The upstream's dialect.
    pub dialect: &'static str,
    /// What it lacks.
    pub feature: Feature,
    /// Which one.
    pub detail: Option<String>,
}

impl Unsupported {
    /// The dialect lacks this.
    #[must_use]
    pub fn new(dialect: &'static str, feature: Feature) -> Self {
        Self {
            dialect,
            feature,
            detail: None,
        }
    }
}

/// What not every dialect can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Feature {
    /// Pictures.
    Images,
    /// Pictures by address.
    ImageUrls,
    /// Pictures of this MIME type.
    ImageType,
    /// Documents.
    Documents,
    /// Sounds.
    Audio,
    /// Media in what a tool answers.
    MediaInToolResults,
    /// Tools that are no functions, such as the vendors' own.
    VendorTools,
    /// A tool that must be called.
    ToolChoice,
    /// Answers that match a schema.
    Schema,
    /// JSON objects without a schema.
    JsonObject,
    /// More than one answer.
    Choices,
    /// Log probabilities.
    Logprobs,
    /// Texts at which an answer ends.
    StopSequences,
    /// State that the vendor keeps, such as `previous_response_id`.
    StoredState,
    /// Embeddings of this model.
    Embeddings,
    /// Vectors of this length.
    Dimensions,
    /// Tokens of another vendor in place of text.
    TokenInput,
}

impl Feature {
    /// In words, as in "has no pictures by address".
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Images => "pictures",
            Self::ImageUrls => "pictures by address",
            Self::ImageType => "pictures of this type",
            Self::Documents => "documents",
            Self::Audio => "sounds",
            Self::MediaInToolResults => "media in what a tool answers",
            Self::VendorTools => "tools of another vendor",
            Self::ToolChoice => "tools that must be called",
            Self::Schema => "answers that match a schema",
            Self::JsonObject => "JSON without a schema",
            Self::Choices => "more than one answer",
            Self::Logprobs => "log probabilities",
            Self::StopSequences => "stop sequences",
            Self::StoredState => "state kept by another vendor",
            Self::Embeddings => "embeddings of this model",
            Self::Dimensions => "vectors of this length",
            Self::TokenInput => "tokens in place of text",
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A provider's body or event that is none of its dialect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NotAnAnswer {
    /// What is wrong. Nothing of the body is in it.
    pub message: &'static str,
    /// What the provider counted all the same.
    pub usage: Option<Usage>,
}

impl NotAnAnswer {
    /// It is wrong like this.
    #[must_use]
    pub fn new(message: &'static str) -> Self {
        Self {
            message,
            usage: None,
        }
    }
}

/// Why a provider's stream cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// An event is none of the dialect.
    #[error(transparent)]
    NotAnAnswer(#[from] NotAnAnswer),
    /// The provider sent an error in the middle.
    #[error("the provider sent an error")]
    Said(Said),
}

/// An error as a provider said it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The HTTP status that the body itself names, or that the vendor documents for this kind.
    pub status: Option<u16>,
    /// The vendor's code, such as `insufficient_quota`.
    pub code: Option<String>,
    /// The vendor's type, such as `overloaded_error` or `RESOURCE_EXHAUSTED`.
    pub kind: Option<String>,
    /// In words. It may repeat what was sent.
    pub message: String,
    /// How long to wait, where the body says so; at most an hour.
    pub retry_after: Option<Duration>,
}

/// Longest wait that is believed.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// How long a provider asks to wait, in seconds: at most an hour, and `None` for what is no time.
pub(crate) fn wait(seconds: f64) -> Option<Duration> {
    let wait = Duration::try_from_secs_f64(seconds).ok()?;
    (!wait.is_zero()).then_some(wait.min(MAX_WAIT))
}

/// The status of a failure, of a number that a body names.
pub(crate) fn status(number: u64) -> Option<u16> {
    let status = u16::try_from(number).ok()?;
    (400..600).contains(&status).then_some(status)
}

/// What a caller is told instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// Our code, such as `budget_exceeded`.
    pub code: String,
    /// In words.
    pub message: String,
    /// The field that is wrong.
    pub field: Option<String>,
    /// The request's name, which Anthropic's errors repeat.
    pub request: Option<String>,
}
