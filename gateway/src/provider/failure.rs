//! Failures of providers, in classes: by the provider's code and message first, by the HTTP status second.

mod classify;

pub use classify::classify;

use crate::provider::keys::ApiKey;
use crate::provider::redact::redact;
use oarmaster_dialect::Said;
use oarmaster_protocol::text;
use oarmaster_store::Billing;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use std::time::Duration;

/// Longest wait that is believed of a provider's error.
pub const MAX_WAIT: Duration = Duration::from_secs(3600);

/// What failed. One string each, also in the journal and as a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The key was refused: out until its Secret changes.
    Credential,
    /// The account behind the key has no money or quota left.
    Quota,
    /// Too many requests with this key.
    RateLimit,
    /// The provider does not serve this model.
    ModelGone,
    /// The request is longer than the model takes.
    ContextLength,
    /// The request is wrong: no other member would take it.
    CallerFault,
    /// Anything that may pass: the network, an overload, a broken answer.
    Transient,
}

impl Class {
    /// The class's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "Credential",
            Self::Quota => "Quota",
            Self::RateLimit => "RateLimit",
            Self::ModelGone => "ModelGone",
            Self::ContextLength => "ContextLength",
            Self::CallerFault => "CallerFault",
            Self::Transient => "Transient",
        }
    }

    /// The class with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Credential,
            Self::Quota,
            Self::RateLimit,
            Self::ModelGone,
            Self::ContextLength,
            Self::CallerFault,
            Self::Transient,
        ]
        .into_iter()
        .find(|class| class.as_str() == name)
    }

    /// Whether the failure lies with the request, so that no other key or member is asked.
    #[must_use]
    pub const fn is_callers(self) -> bool {
        matches!(self, Self::CallerFault | Self::ContextLength)
    }

    /// Whether the failure lies with the key, so that another key of the same provider may help.
    #[must_use]
    pub const fn is_keys(self) -> bool {
        matches!(self, Self::Credential | Self::Quota | Self::RateLimit)
    }
}

/// A hop that ended without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What failed.
    pub class: Class,
    /// What the provider said: redacted and bounded.
    pub message: String,
    /// What it cost.
    pub billing: Billing,
    /// How long the provider asked to wait.
    pub retry_after: Option<Duration>,
    /// For how long the provider says that a quota is used up.
    pub used_up: Option<Duration>,
    /// Whether the endpoint answered at all.
    pub answered: bool,
}

impl Failure {
    /// A failure before the request left.
    pub fn not_sent(message: impl Into<String>) -> Self {
        Self {
            class: Class::Transient,
            message: message.into(),
            billing: Billing::Unbilled,
            retry_after: None,
            used_up: None,
            answered: false,
        }
    }

    /// A failure after the request left, of which nobody knows what it cost.
    pub fn unknown(message: impl Into<String>, answered: bool) -> Self {
        Self {
            billing: Billing::Unknown,
            answered,
            ..Self::not_sent(message)
        }
    }

    /// A failure from an HTTP answer with this error in its body.
    #[must_use]
    pub fn from_answer(
        status: u16,
        retry_after: Option<Duration>,
        error: &ProviderError,
        key: Option<&ApiKey>,
    ) -> Self {
        let class = classify(status, error);
        let said = if error.message.is_empty() {
            "no message".to_owned()
        } else {
            redact(&error.message, key)
        };
        // A refusal with a reason was refused before any work. A 500, 502 or 504 may stand for a call that ran and was then lost, as do a time-out
        // (408) and Bedrock's errors of a model (424).
        let refusal = matches!(status, 400..500 | 503 | 529) && !matches!(status, 408 | 424);
        let refused = error.is_object && refusal && !error.is_of_an_answer();
        Self {
            class,
            message: format!("status {status}: {said}"),
            billing: if refused || class.is_keys() || matches!(class, Class::ModelGone) {
                Billing::Unbilled
            } else {
                Billing::Unknown
            },
            retry_after: retry_after.or(error.retry_after),
            used_up: None,
            answered: true,
        }
    }

    /// An error that came with a success status: the provider may have worked before it, unless the class says that it did not.
    #[must_use]
    pub fn sent_as_success(error: &ProviderError, key: Option<&ApiKey>) -> Self {
        let status = error.status.unwrap_or(500);
        let mut failure = Self::from_answer(status, None, error, key);
        let own = format!("status {status}");
        failure.message = failure
            .message
            .replacen(&own, "status 200 with an error", 1);
        if failure.class == Class::Transient {
            failure.billing = Billing::Unknown;
        }
        failure
    }
}

/// The error object of a provider, as far as it has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderError {
    code: String,
    kind: String,
    message: String,
    is_object: bool,
    /// The status that the body names, or that stands for its kind.
    status: Option<u16>,
    retry_after: Option<Duration>,
}

impl From<Said> for ProviderError {
    fn from(said: Said) -> Self {
        let Said {
            status,
            code,
            kind,
            message,
            retry_after,
        } = said;
        Self {
            code: code.unwrap_or_default(),
            kind: kind.unwrap_or_default(),
            message,
            is_object: true,
            status,
            retry_after: retry_after.map(|wait| wait.min(MAX_WAIT)),
        }
    }
}

impl ProviderError {
    /// Reads an error body: `{"error": {...}}`, `{"error": "..."}`, `{"message": ...}`, `{"detail": ...}`, or plain text.
    #[must_use]
    pub fn read(body: &[u8]) -> Self {
        let Ok(value) = serde_json::from_str::<Value>(&text::json(body).text) else {
            let text = text::decode(body).text;
            let looks_like_page = text.trim_start().starts_with('<');
            return Self {
                message: if looks_like_page {
                    String::new()
                } else {
                    text.trim().to_owned()
                },
                ..Self::default()
            };
        };
        let error = match &value {
            Value::Array(list) => list.first().unwrap_or(&value), // Gemini's compatible endpoint
            other => other,
        };
        let error = error.get("error").unwrap_or(error);
        let text = |name: &str| match error.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        let message = [text("message"), text("detail")]
            .into_iter()
            .find(|text| !text.is_empty())
            .or_else(|| error.as_str().map(str::to_owned))
            .unwrap_or_default();
        Self {
            code: text("code"),
            kind: text("type"),
            message,
            is_object: error.is_object() || error.is_string(),
            ..Self::default()
        }
    }

    /// Whether an answer was made before it was refused: what a filter holds back (Azure bills it, and Anthropic may), and a call of a tool that is
    /// not well-formed (Groq).
    fn is_of_an_answer(&self) -> bool {
        ["content_filter", "tool_use_failed"].contains(&self.code.as_str())
            || self.message.starts_with("Output blocked")
    }

    /// Whether a body that came with a success status is an error. Nothing of it is kept: it may be as large as an answer.
    #[must_use]
    pub fn in_success(body: &str) -> bool {
        #[derive(Deserialize)]
        struct Body {
            error: Option<IgnoredAny>,
        }
        // A struct is read from a list, too.
        body.trim_start().starts_with('{')
            && serde_json::from_str(body).is_ok_and(|body: Body| body.error.is_some())
    }
}

/// Reads how long to wait: `retry-after-ms`, which OpenAI and Azure send, else `Retry-After` in seconds; at most an hour. A date, nonsense and zero
/// are no statement.
#[must_use]
pub fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    let number = |name: &str| {
        let text = headers.get(name)?.to_str().ok()?;
        text.trim().parse::<u64>().ok().filter(|wait| *wait > 0)
    };
    let wait = number("retry-after-ms").map(Duration::from_millis);
    let wait = wait.or_else(|| number("retry-after").map(Duration::from_secs))?;
    Some(wait.min(MAX_WAIT))
}
