//! Requests to Cohere.

use super::DIALECT;
use super::messages::{Message, messages, unsupported};
use crate::error::{Feature, Unsupported};
use crate::request::{Effort, Format, Reasoning, Request, Tool, ToolChoice, Written};
use crate::writing::{Dropped, serialize};
use serde::Serialize;
use serde_json::Number;
use serde_json::value::RawValue;

/// Most stop sequences.
const STOPS: usize = 5;
/// Largest `k`.
const LARGEST_K: u64 = 500;
/// Beginnings of the names of models without reasoning, which refuse to be told how much to think.
const WITHOUT_REASONING: [&str; 6] = [
    "command-r",
    "command-a-03",
    "command-a-vision",
    "command-a-translate",
    "command-light",
    "c4ai-aya",
];

#[derive(Debug, Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolV2<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict_tools: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<ResponseFormat<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Thinking>,
    stream: bool,
}

#[derive(Debug, Serialize)]
struct ToolV2<'a> {
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Debug, Serialize)]
struct Function<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: Parameters<'a>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Parameters<'a> {
    Schema(&'a RawValue),
    /// Cohere wants a schema of a function without parameters, too.
    Nothing {
        r#type: &'static str,
        properties: Properties,
    },
}

#[derive(Debug, Serialize)]
struct Properties {}

#[derive(Debug, Serialize)]
struct ResponseFormat<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_schema: Option<&'a RawValue>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Thinking {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_budget: Option<u64>,
}

/// Writes a request to `model`.
///
/// Clamped and then named in [`Written::dropped`]: the temperature to 0 to 1 (the package says only that it is not negative, Cohere's models at other
/// vendors end at 1), `p` to 0.01 to 0.99, `k` to 500, penalties to 0 to 1, negative seeds to 0, stop sequences to the first five.
///
/// # Errors
/// [`Unsupported`]: more than one answer; log probabilities; documents, sounds and pictures of other types; media in what tools answered;
/// JSON together with tools; a schema that is no object; a tool that must be called and is none of the request's.
pub fn write_request(request: &Request, model: &str) -> Result<Written, Unsupported> {
    request.check_translatable(DIALECT)?;
    check(request)?;
    let mut dropped = Dropped::new(&request.left);
    let strict = request
        .tools
        .iter()
        .filter(|tool| tool.strict == Some(true));
    let strict = strict.count();
    let all_strict = strict > 0 && strict == request.tools.len();
    dropped.add_if(strict > 0 && !all_strict, "tools.strict");
    dropped.add_if(request.parallel_tools == Some(false), "parallel_tool_calls");
    dropped.add_if(request.user.is_some(), "user");
    dropped.add_if(
        request.tools.iter().any(|tool| tool.cache.is_some()),
        "cache_control",
    );

    let (system, turns) = request.split();
    let (tools, tool_choice) = tools(request)?;
    let sampling = &request.sampling;
    let body = Body {
        model,
        messages: messages(&system, &turns, &mut dropped)?,
        tools,
        strict_tools: all_strict.then_some(true),
        tool_choice,
        response_format: response_format(&request.format),
        max_tokens: request.max_output,
        temperature: dropped.clamp(sampling.temperature.as_ref(), 0.0..=1.0, "temperature"),
        p: dropped.clamp(sampling.top_p.as_ref(), 0.01..=0.99, "top_p"),
        k: dropped.at_most(sampling.top_k, LARGEST_K, "top_k"),
        seed: sampling.seed.map(|seed| {
            dropped.add_if(seed < 0, "seed");
            seed.max(0)
        }),
        stop_sequences: dropped.first(&sampling.stop, STOPS, "stop"),
        presence_penalty: dropped.clamp(
            sampling.presence_penalty.as_ref(),
            0.0..=1.0,
            "presence_penalty",
        ),
        frequency_penalty: dropped.clamp(
            sampling.frequency_penalty.as_ref(),
            0.0..=1.0,
            "frequency_penalty",
        ),
        thinking: request
            .reasoning
            .and_then(|wanted| think(wanted, model, &mut dropped)),
        stream: request.stream,
    };
    Ok(Written {
        body: serialize(&body),
        dropped: dropped.into_list(),
    })
}

fn check(request: &Request) -> Result<(), Unsupported> {
    let feature = match &request.format {
        Format::Text => return Ok(()),
        Format::Json => Feature::JsonObject,
        Format::Schema { schema, .. } if !schema.get().starts_with('{') => {
            return Err(unsupported(Feature::Schema, "that is no object"));
        }
        Format::Schema { .. } => Feature::Schema,
    };
    if request.tools.is_empty() {
        return Ok(());
    }
    Err(unsupported(feature, "together with tools"))
}

/// One tool that must be called is the only one that is offered.
fn tools(request: &Request) -> Result<(Vec<ToolV2<'_>>, Option<&'static str>), Unsupported> {
    let (only, choice) = match &request.tool_choice {
        ToolChoice::Unset | ToolChoice::Auto => (None, None),
        ToolChoice::None => (None, Some("NONE")),
        ToolChoice::Required => (None, Some("REQUIRED")),
        ToolChoice::Named(name) => (Some(name), Some("REQUIRED")),
    };
    let offered = request.tools.iter();
    let offered = offered.filter(|tool| only.is_none_or(|name| *name == tool.name));
    let tools: Vec<_> = offered.map(describe).collect();
    if let (Some(name), true) = (only, tools.is_empty()) {
        return Err(unsupported(Feature::ToolChoice, name));
    }
    let choice = choice.filter(|_| !tools.is_empty());
    Ok((tools, choice))
}

fn describe(tool: &Tool) -> ToolV2<'_> {
    ToolV2 {
        r#type: "function",
        function: Function {
            name: &tool.name,
            description: tool.description.as_deref(),
            parameters: match &tool.parameters {
                Some(schema) => Parameters::Schema(schema),
                None => Parameters::Nothing {
                    r#type: "object",
                    properties: Properties {},
                },
            },
        },
    }
}

fn response_format(format: &Format) -> Option<ResponseFormat<'_>> {
    let json_schema = match format {
        Format::Text => return None,
        Format::Json => None,
        Format::Schema { schema, .. } => Some(&**schema),
    };
    Some(ResponseFormat {
        r#type: "json_object",
        json_schema,
    })
}

/// Cohere knows budgets, but no words. For words the budgets are those that Google takes for OpenAI's (see [`crate::gemini`]); much is no limit.
fn think(wanted: Reasoning, model: &str, dropped: &mut Dropped) -> Option<Thinking> {
    if WITHOUT_REASONING.iter().any(|name| model.starts_with(name)) {
        let thinks = wanted.effort.is_some_and(|effort| effort != Effort::None);
        dropped.add_if(thinks, "reasoning_effort");
        dropped.add_if(
            wanted.budget.is_some_and(|budget| budget > 0),
            "thinking.budget_tokens",
        );
        return None;
    }
    let (r#type, token_budget) = match (wanted.budget, wanted.effort) {
        (Some(0), _) | (None, Some(Effort::None)) => ("disabled", None),
        (Some(budget), _) => ("enabled", Some(budget)),
        (None, Some(Effort::Minimal | Effort::Low)) => ("enabled", Some(1_024)),
        (None, Some(Effort::Medium)) => ("enabled", Some(8_192)),
        (None, Some(Effort::High | Effort::ExtraHigh)) => ("enabled", None),
        (None, None) => return None,
    };
    Some(Thinking {
        r#type,
        token_budget,
    })
}
