//! A request of a caller: what the gateway must know of it, and its body for a provider of the same dialect. Everything else is passed on byte by byte.

use crate::bodies::{self, Bodies, Room};
use crate::error::ApiFailure;
use crate::state::Caller;
use crate::surface::fields::{Peek, typed};
use crate::surface::{Surface, chat};
use crate::traces::Trace;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue};
use oarmaster_dialect::json::{BadJson, Fields, quote, raw};
use oarmaster_protocol::text;
use std::sync::Arc;

/// Input tokens that a chat template may add to a request, to each message and to each tool, beside their bytes.
const TOKENS_PER_REQUEST: u64 = 1024;
const TOKENS_PER_MESSAGE: u64 = 16;
const TOKENS_PER_TOOL: u64 = 64;

/// Bytes of English text, and of JSON, that are about one token: for estimates. What a request costs at most is bounded otherwise.
pub const BYTES_PER_TOKEN: u64 = 4;

/// Output limit that is written into a request without one, where the model's context is not smaller.
pub const DEFAULT_OUTPUT: u64 = 4096;

/// Fields by which a caller of some gateways says where a request goes and with which key. That is the ModelProvider's to say.
const DESTINATION: &[&str] = &[
    "api_base",
    "api_key",
    "api_type",
    "api_version",
    "aws_access_key_id",
    "aws_region_name",
    "aws_secret_access_key",
    "aws_session_token",
    "azure_ad_token",
    "base_url",
    "custom_llm_provider",
    "default_headers",
    "deployment_id",
    "endpoint",
    "extra_body",
    "extra_headers",
    "extra_query",
    "fallbacks",
    "headers",
    "litellm_params",
    "mock_response",
    "model_list",
    "organization",
    "project",
    "proxies",
    "proxy",
    "router_settings_override",
    "user_config",
    "vertex_credentials",
    "vertex_project",
];

/// Whether an answer that was kept will do, and whether this one may be kept: what the caller's `Cache-Control` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Caching {
    /// Both.
    #[default]
    Allowed,
    /// The answer is to be a new one (`no-cache`).
    Fresh,
    /// Neither (`no-store`).
    Never,
}

impl Caching {
    /// What the headers say.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(CACHE_CONTROL).iter();
        let words = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim);
        words.fold(Self::Allowed, |before, word| {
            if word.eq_ignore_ascii_case("no-store") || before == Self::Never {
                Self::Never
            } else if word.eq_ignore_ascii_case("no-cache") || word == "max-age=0" {
                Self::Fresh
            } else {
                before
            }
        })
    }
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// What the caller speaks.
    pub surface: Surface,
    /// The call's name: letters, digits and `-`. Answers have it that have no name of their own.
    pub id: String,
    /// What the caller of Anthropic's messages wants that is not in general use: its header `anthropic-beta`.
    pub beta: Option<HeaderValue>,
    /// Where its trace is kept.
    pub trace: Option<Arc<Trace>>,
    /// Whether its answer may be kept, or be one that was.
    pub caching: Caching,
    /// The room that it takes, for as long as there is anything of it.
    pub room: Option<Arc<Room>>,
    /// Whose room its answers take; none are counted without.
    pub space: Option<Space>,
    /// As they came, for the provider.
    fields: Fields,
    /// For us to read, where they hold escapes of half a surrogate pair.
    repaired: Option<Fields>,
    bytes: usize,
    /// Messages, items or inputs.
    pub items: usize,
    tools: usize,
    /// The `model` of the caller: the name of a pool.
    pub model: String,
    /// Whether the caller wants a stream.
    pub stream: bool,
    /// Whether the caller wants usage in the stream.
    pub include_usage: bool,
    /// The output limit of one choice, if the caller states one.
    pub max_output: Option<u64>,
    /// Number of answers.
    pub choices: u64,
}

/// The room for the answers to a caller.
#[derive(Clone, Debug)]
pub struct Space {
    /// All of it.
    pub bodies: Arc<Bodies>,
    /// Who takes of it.
    pub caller: Caller,
}

impl Space {
    /// Room for an answer of so many bytes; `None` where there was none for long.
    pub async fn room(&self, bytes: usize) -> Option<Room> {
        self.bodies.room(self.caller.group(), bytes).await
    }
}

impl Request {
    /// Does something with the whole request, which takes its time where that is large.
    pub async fn work<T>(&self, work: impl FnOnce() -> T) -> T {
        bodies::work(self.room.as_deref(), work).await
    }

    /// Reads a body. The request has no name yet.
    ///
    /// # Errors
    /// `invalid_request`, naming the field.
    pub fn parse(surface: Surface, body: &[u8]) -> Result<Self, ApiFailure> {
        let passed = Fields::parse(body).map_err(broken)?;
        let read = text::json(body);
        let repaired = match read.replaced {
            0 => None,
            _ => Some(Fields::parse(read.text.as_bytes()).map_err(broken)?),
        };
        let fields = repaired.as_ref().unwrap_or(&passed);
        if let Some(name) = fields.names().find(|name| DESTINATION.contains(name)) {
            return Err(ApiFailure::invalid(format!(
                "field {name} is not the caller's to set: the ModelProvider says where requests go"
            )));
        }
        let model: String = typed(fields, "model", "the name of a pool")?
            .ok_or_else(|| ApiFailure::invalid("field model is missing: name a pool"))?;
        let Peek {
            items,
            tools,
            stream,
            include_usage,
            max_output,
            choices,
        } = surface.peek(fields)?;
        Ok(Self {
            surface,
            id: String::new(),
            beta: None,
            room: None,
            space: None,
            trace: None,
            caching: Caching::Allowed,
            bytes: body.len(),
            items,
            tools,
            stream,
            include_usage,
            max_output,
            choices,
            model,
            fields: passed,
            repaired,
        })
    }

    /// The fields as we read them.
    pub(crate) fn read(&self) -> &Fields {
        self.repaired.as_ref().unwrap_or(&self.fields)
    }

    /// The fields as they came, where they can be read as they are.
    pub(crate) fn unchanged(&self) -> Option<&Fields> {
        self.repaired.is_none().then_some(&self.fields)
    }

    /// Bytes of the body.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // a request is never empty
    pub const fn len(&self) -> usize {
        self.bytes
    }

    /// Whether tools are offered.
    #[must_use]
    pub const fn offers_tools(&self) -> bool {
        self.tools > 0
    }

    /// Refuses what a budget cannot bound.
    ///
    /// # Errors
    /// `unbounded_cost`, naming the field.
    pub fn check_bounded(&self) -> Result<(), ApiFailure> {
        self.surface.bounded().check(self.read())
    }

    /// The most input tokens that the request can be counted as.
    ///
    /// One token per byte of the body: a tokenizer's token stands for at least one byte of the text, and the JSON of a text is never
    /// shorter than the text (escapes only lengthen it). The constants cover what a chat template adds around messages and tools.
    /// This is two to five times what English text comes to; a tighter bound would need the tokenizer of each model.
    #[must_use]
    pub fn input_bound(&self) -> u64 {
        self.bound_of(self.bytes)
    }

    /// The same for a body of this size that is made of a part of the request.
    #[must_use]
    pub fn bound_of(&self, bytes: usize) -> u64 {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        count(bytes)
            .saturating_add(TOKENS_PER_REQUEST)
            .saturating_add(TOKENS_PER_MESSAGE.saturating_mul(count(self.items)))
            .saturating_add(TOKENS_PER_TOOL.saturating_mul(count(self.tools)))
    }

    /// The output limit of one choice for a model with this context.
    #[must_use]
    pub fn output_limit(&self, assigned: Option<u64>, context: u64) -> u64 {
        match self.max_output {
            _ if self.surface.limit().is_none() => 0,
            Some(limit) => limit,
            None => assigned.unwrap_or_else(|| DEFAULT_OUTPUT.min(context)),
        }
    }

    /// Whether the request could state its limit and does not.
    #[must_use]
    pub fn lacks_limit(&self) -> bool {
        self.surface.limit().is_some() && self.max_output.is_none()
    }

    /// The fields for a provider of the same dialect: its model's name in place of the pool's, the output limit written in where one is given, and usage
    /// asked for in a stream. Everything else keeps its bytes.
    ///
    /// # Errors
    /// Never for a request that was parsed.
    pub fn spliced(&self, model: &str, limit: Option<u64>) -> Result<Fields, ApiFailure> {
        let mut fields = self.fields.clone();
        fields.set("model", raw(quote(model)).map_err(broken)?);
        if let (Some(limit), Some(name)) = (limit, self.surface.limit()) {
            fields.set(name, raw(limit.to_string()).map_err(broken)?);
        }
        if self.stream && !self.include_usage {
            chat::ask_for_usage(&mut fields).map_err(broken)?;
        }
        Ok(fields)
    }

    /// The body as we read it, for a provider that speaks something else.
    #[must_use]
    pub fn readable(&self) -> String {
        self.read().to_json()
    }

    /// The request in no dialect.
    ///
    /// # Errors
    /// `invalid_request`, naming the field.
    pub fn neutral(&self) -> Result<oarmaster_dialect::Request, ApiFailure> {
        self.surface
            .neutral(self.readable().as_bytes())
            .map_err(|error| ApiFailure::invalid(error.to_string()))
    }
}

#[allow(clippy::needless_pass_by_value)] // as map_err wants it
fn broken(error: BadJson) -> ApiFailure {
    ApiFailure::invalid(error.to_string())
}
