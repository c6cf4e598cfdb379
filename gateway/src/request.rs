//! A request to `/v1/chat/completions`: what the gateway must know of it, and the body for the provider. Everything else is passed on
//! byte by byte.

use crate::error::ApiFailure;
use oarmaster_dialect::Written;
use oarmaster_dialect::chat::{self, Flavour, adapt};
use oarmaster_dialect::json::{Fields, quote, raw};
use oarmaster_protocol::task::ErrorCode;
use oarmaster_protocol::text;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Input tokens that a chat template may add to a request, to each message and to each tool, beside their bytes.
const TOKENS_PER_REQUEST: u64 = 1024;
const TOKENS_PER_MESSAGE: u64 = 16;
const TOKENS_PER_TOOL: u64 = 64;

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

/// Fields that cannot raise the cost of a request above the bound of its bytes and its output limit. Under a budget only these pass.
const BOUNDED: &[&str] = &[
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "min_p",
    "model",
    "n",
    "parallel_tool_calls",
    "presence_penalty",
    "prompt_cache_key",
    "reasoning_effort",
    "repetition_penalty",
    "response_format",
    "safety_identifier",
    "seed",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_k",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
];

/// A chat request.
#[derive(Clone, Debug)]
pub struct ChatRequest {
    /// As they came, for the provider.
    fields: Fields,
    /// For us to read, where they hold escapes of half a surrogate pair.
    repaired: Option<Fields>,
    bytes: usize,
    messages: usize,
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

impl ChatRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// `invalid_request`, naming the field.
    pub fn parse(body: &[u8]) -> Result<Self, ApiFailure> {
        let parse = |body: &[u8]| {
            Fields::parse(body).map_err(|error| ApiFailure::invalid(error.to_string()))
        };
        let passed = parse(body)?;
        let read = text::json(body);
        let repaired = match read.replaced {
            0 => None,
            _ => Some(parse(read.text.as_bytes())?),
        };
        let fields = repaired.as_ref().unwrap_or(&passed);
        if let Some(name) = fields.names().find(|name| DESTINATION.contains(name)) {
            return Err(ApiFailure::invalid(format!(
                "field {name} is not the caller's to set: the ModelProvider says where requests go"
            )));
        }
        let model: String = typed(fields, "model", "the name of a pool")?
            .ok_or_else(|| ApiFailure::invalid("field model is missing: name a pool"))?;
        let messages: Vec<&RawValue> = typed(fields, "messages", "a list of messages")?
            .ok_or_else(|| ApiFailure::invalid("field messages is missing"))?;
        if messages.is_empty() {
            return Err(ApiFailure::invalid("field messages is empty"));
        }
        let tools: Vec<&RawValue> = typed(fields, "tools", "a list of tools")?.unwrap_or_default();
        let functions: Vec<&RawValue> =
            typed(fields, "functions", "a list of functions")?.unwrap_or_default();
        let options: Option<StreamOptions> = typed(fields, "stream_options", "an object")?;
        let limits = [
            limit(fields, "max_tokens")?,
            limit(fields, "max_completion_tokens")?,
        ];
        let choices = limit(fields, "n")?.unwrap_or(1);
        if choices > 128 {
            return Err(ApiFailure::invalid("field n is over 128"));
        }
        Ok(Self {
            bytes: body.len(),
            messages: messages.len(),
            tools: tools.len() + functions.len(),
            stream: typed(fields, "stream", "true or false")?.unwrap_or(false),
            include_usage: options.is_some_and(|options| options.include_usage),
            // Which of the two a provider obeys is not ours to know: the larger one bounds.
            max_output: limits.into_iter().flatten().max(),
            choices,
            model,
            fields: passed,
            repaired,
        })
    }

    /// The fields as we read them.
    fn read(&self) -> &Fields {
        self.repaired.as_ref().unwrap_or(&self.fields)
    }

    /// Refuses what a budget cannot bound.
    ///
    /// # Errors
    /// `unbounded_cost`, naming the field.
    pub fn check_bounded(&self) -> Result<(), ApiFailure> {
        let fields = self.read();
        let refuse = |what: String| Err(ApiFailure::new(ErrorCode::UnboundedCost, what));
        for name in fields.names() {
            let is_default_tier = name == "service_tier"
                && fields
                    .get(name)
                    .is_some_and(|tier| tier.get() == "\"default\"");
            if !BOUNDED.contains(&name) && !is_default_tier {
                return refuse(format!(
                    "field {name} may change what the call costs and a budget is set: leave it out"
                ));
            }
        }
        let tools: Vec<Typed> = typed(fields, "tools", "a list of tools")?.unwrap_or_default();
        if let Some(kind) = tools
            .iter()
            .find_map(|tool| tool.other_than(&["function", "custom"]))
        {
            return refuse(format!(
                "a tool of type {} has a price of its own and a budget is set",
                quote(kind)
            ));
        }
        let messages: Vec<Message> =
            typed(fields, "messages", "a list of messages")?.unwrap_or_default();
        for message in messages {
            let Some(content) = message
                .content
                .filter(|content| content.get().starts_with('['))
            else {
                continue;
            };
            let parts: Vec<Typed> = serde_json::from_str(content.get()).map_err(|_| {
                ApiFailure::invalid("field messages has a content that is no list of parts")
            })?;
            if let Some(kind) = parts
                .iter()
                .find_map(|part| part.other_than(&["text", "refusal"]))
            {
                return refuse(format!(
                    "a message part of type {} has a number of tokens that its bytes do not bound and a budget is set",
                    quote(kind)
                ));
            }
        }
        Ok(())
    }

    /// The most input tokens that the request can be counted as.
    ///
    /// One token per byte of the body: a tokenizer's token stands for at least one byte of the text, and the JSON of a text is never
    /// shorter than the text (escapes only lengthen it). The constants cover what a chat template adds around messages and tools.
    /// This is two to five times what English text comes to; a tighter bound would need the tokenizer of each model.
    #[must_use]
    pub fn input_bound(&self) -> u64 {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        count(self.bytes)
            .saturating_add(TOKENS_PER_REQUEST)
            .saturating_add(TOKENS_PER_MESSAGE.saturating_mul(count(self.messages)))
            .saturating_add(TOKENS_PER_TOOL.saturating_mul(count(self.tools)))
    }

    /// The output limit of one choice for a model with this context, and whether the request must be given it.
    #[must_use]
    pub fn output_limit(&self, assigned: Option<u64>, context: u64) -> (u64, bool) {
        match self.max_output {
            Some(limit) => (limit, false),
            None => (
                assigned.unwrap_or_else(|| DEFAULT_OUTPUT.min(context)),
                true,
            ),
        }
    }

    /// The body for a provider of chat completions: its model's name in place of the pool's, the output limit written in where one is given,
    /// usage asked for in a stream, and what the vendor wants otherwise.
    ///
    /// # Errors
    /// Never for a request that was parsed.
    pub fn upstream(
        &self,
        model: &str,
        limit: Option<u64>,
        flavour: Flavour,
    ) -> Result<Written, ApiFailure> {
        let broken =
            |error: oarmaster_dialect::json::BadJson| ApiFailure::invalid(error.to_string());
        let mut fields = self.fields.clone();
        fields.set("model", raw(quote(model)).map_err(broken)?);
        if let Some(limit) = limit {
            fields.set("max_tokens", raw(limit.to_string()).map_err(broken)?);
        }
        if self.stream && !self.include_usage {
            let mut options = match fields.get("stream_options") {
                Some(options) => Fields::parse(options.get().as_bytes()).map_err(broken)?,
                None => Fields::parse(b"{}").map_err(broken)?,
            };
            options.set("include_usage", raw("true".to_owned()).map_err(broken)?);
            fields.set("stream_options", raw(options.to_json()).map_err(broken)?);
        }
        // A server that nobody knows gets what the caller wrote.
        let dropped = match flavour {
            Flavour::Compatible => Vec::new(),
            vendor => adapt(&mut fields, vendor),
        };
        Ok(Written {
            body: fields.to_json(),
            dropped,
        })
    }

    /// The request in no dialect, for a provider that does not speak chat completions.
    ///
    /// # Errors
    /// `invalid_request`, naming the field.
    pub fn neutral(&self) -> Result<oarmaster_dialect::Request, ApiFailure> {
        chat::read_request(self.read().to_json().as_bytes())
            .map_err(|error| ApiFailure::invalid(error.to_string()))
    }

    /// The messages' JSON, for a provider that answers by itself. Every string in it can be read.
    #[must_use]
    pub fn messages_json(&self) -> &str {
        self.read().get("messages").map_or("[]", RawValue::get)
    }

    /// Size of the body in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether the body is empty, which no request is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Deserialize)]
struct Typed {
    #[serde(default)]
    r#type: Option<String>,
}

impl Typed {
    fn other_than(&self, known: &[&str]) -> Option<&str> {
        let kind = self.r#type.as_deref().unwrap_or("");
        (!known.contains(&kind)).then_some(kind)
    }
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(default, borrow)]
    content: Option<&'a RawValue>,
}

fn typed<'a, T: Deserialize<'a>>(
    fields: &'a Fields,
    name: &str,
    what: &str,
) -> Result<Option<T>, ApiFailure> {
    fields
        .get(name)
        .map(|value| {
            serde_json::from_str(value.get())
                .map_err(|_| ApiFailure::invalid(format!("field {name} is not {what}")))
        })
        .transpose()
}

fn limit(fields: &Fields, name: &str) -> Result<Option<u64>, ApiFailure> {
    match typed::<u64>(fields, name, "a whole number of at least 1")? {
        Some(0) => Err(ApiFailure::invalid(format!(
            "field {name} is not a whole number of at least 1"
        ))),
        other => Ok(other),
    }
}
