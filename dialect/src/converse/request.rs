//! The body, and the path that goes with it.

use super::DIALECT;
use super::blocks::{Block, Blocks, CachePoint, Caching, takes};
use crate::error::{Feature, Unsupported};
use crate::messages::claude::{Form, Model, Thinking, drop_sampling, settle};
use crate::messages::turns::{NOTHING, arrange};
use crate::request::{Content, Format, Part, Request, Role, Thought, ToolChoice, Written};
use crate::writing::{Dropped, parameters, path_segment, serialize};
use serde::Serialize;
use serde_json::Number;
use serde_json::value::RawValue;

/// Most stop sequences (the service model's `InferenceConfigurationStopSequencesList`).
const MAX_STOPS: usize = 2500;
/// Longest value of `requestMetadata` (`RequestMetadataValueString`).
const MAX_METADATA: usize = 256;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block<'a>>,
    inference_config: Inference<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<Tools<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_model_request_fields: Option<More>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    additional_model_response_field_paths: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_metadata: Option<Metadata<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<Output<'a>>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Inference<'a> {
    max_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<Number>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tools<'a> {
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Tool<'a> {
    ToolSpec {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        input_schema: Schema,
        #[serde(skip_serializing_if = "Option::is_none")]
        strict: Option<bool>,
    },
    CachePoint(CachePoint),
}

#[derive(Serialize)]
struct Schema {
    json: Box<RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Choice<'a> {
    Auto {},
    Any {},
    Tool { name: &'a str },
}

/// What is the model's own.
#[derive(Serialize)]
struct More {
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(rename = "inferenceConfig", skip_serializing_if = "Option::is_none")]
    nova: Option<Nova>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Nova {
    top_k: u64,
}

#[derive(Serialize)]
struct Metadata<'a> {
    user_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text_format: Option<TextFormat<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
}

#[derive(Serialize)]
struct TextFormat<'a> {
    r#type: &'static str,
    structure: Structure<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Structure<'a> {
    json_schema: JsonSchema<'a>,
}

/// The schema is JSON in a string.
#[derive(Serialize)]
struct JsonSchema<'a> {
    schema: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
}

/// The path that a model's Converse has, or its ConverseStream; the model is a name, an inference profile or an ARN. Whoever signs the request
/// with AWS's version 4 must encode it once more for the signature.
#[must_use]
pub fn path(model: &str, stream: bool) -> String {
    let operation = if stream {
        "converse-stream"
    } else {
        "converse"
    };
    format!("/model/{}/{operation}", path_segment(model))
}

/// Writes the body of Converse and of ConverseStream.
///
/// `output_limit`: most output tokens; a lower limit of the caller's counts. What is written depends on `model`, as far as its name says what it
/// is: an ARN of an application inference profile does not, and is taken for a model that neither thinks nor caches.
///
/// Converse has no word for tools that must not be called, and refuses calls and results in a history without tools. Where no tool may be
/// called, none is offered, and the history tells its calls and results as text.
///
/// # Errors
/// [`Unsupported`] for what the API does not have.
pub fn write_request(
    request: &Request,
    model: &str,
    output_limit: u64,
) -> Result<Written, Unsupported> {
    request.check_translatable(DIALECT)?;
    let mut of = Model::of(model);
    if !of.is_claude {
        of.form = Form::Never; // each vendor has a way of its own
        of.schemas = true; // refused by the models that lack them
    }
    let is_nova = model.contains("nova");
    let caching = match (of.is_claude, is_nova) {
        (true, _) if of.hour_caches => Caching::Hour,
        (true, _) => Caching::Minutes,
        (_, true) => Caching::Plain,
        _ => Caching::None,
    };
    let idle = request.tools.is_empty() || request.tool_choice == ToolChoice::None;
    let mut blocks = Blocks::new(request, caching, idle);
    let limit = blocks
        .dropped
        .at_most(request.max_output, output_limit, "max_tokens");
    let limit = limit.unwrap_or(output_limit).max(1);
    let takes = |thought: &Thought| of.is_claude && takes(thought);
    let lost = request.has_thoughts_but(takes);
    blocks.dropped.add_if(lost, "reasoning");
    let (system, turns) = request.split();
    let system = write_system(&system, &mut blocks)?;
    let mut messages = Vec::new();
    for said in arrange(&turns, &takes) {
        let role = match said.role {
            Role::Assistant => "assistant",
            Role::User | Role::System => "user",
        };
        let content = blocks.write(&said.pieces)?;
        messages.push(Message { role, content });
    }
    // A conversation begins with the user.
    if messages.first().is_none_or(|first| first.role != "user") {
        let content = vec![Block::Text(NOTHING.into())];
        messages.insert(
            0,
            Message {
                role: "user",
                content,
            },
        );
    }
    let text_format = write_format(request, model, of)?;
    let tool_config = (!idle).then(|| write_tools(request, of, &mut blocks));
    let mut dropped = blocks.dropped;
    let settings = settle(request, of, limit, &mut dropped);
    drop_sampling(request, &mut dropped);
    let stop_sequences = write_stops(request, of, &mut dropped);
    let nova = settings.top_k.filter(|_| is_nova);
    let top_k = settings.top_k.filter(|_| of.is_claude);
    if settings.top_k.is_some() && nova.is_none() && top_k.is_none() {
        dropped.add("top_k");
    }
    let more = More {
        thinking: settings.thinking,
        top_k,
        nova: nova.map(|top_k| Nova { top_k }),
    };
    let says_more = more.thinking.is_some() || top_k.is_some() || nova.is_some();
    let asks_which = of.is_claude && !stop_sequences.is_empty();
    let has_output = text_format.is_some() || settings.effort.is_some();
    let body = Body {
        messages,
        system,
        inference_config: Inference {
            max_tokens: limit,
            temperature: settings.temperature,
            top_p: settings.top_p,
            stop_sequences,
        },
        tool_config,
        additional_model_request_fields: says_more.then_some(more),
        additional_model_response_field_paths: Vec::from_iter(
            asks_which.then_some("/stop_sequence"),
        ),
        request_metadata: write_metadata(request, &mut dropped),
        output_config: has_output.then_some(Output {
            text_format,
            effort: settings.effort,
        }),
    };
    Ok(Written {
        body: serialize(&body),
        dropped: dropped.into_list(),
    })
}

fn write_system<'a>(
    parts: &[&'a Part],
    blocks: &mut Blocks<'a>,
) -> Result<Vec<Block<'a>>, Unsupported> {
    let mut system = Vec::new();
    for part in parts {
        match &part.content {
            Content::Text(text) if text.trim().is_empty() => continue,
            Content::Text(text) => system.push(Block::Text(text.into())),
            _ => return Err(Unsupported::new(DIALECT, Feature::Images)),
        }
        if let Some(ttl) = part.cache {
            blocks.mark(ttl, &mut system);
        }
    }
    Ok(system)
}

fn write_tools<'a>(request: &'a Request, model: Model, blocks: &mut Blocks<'a>) -> Tools<'a> {
    let mut tools = Vec::new();
    for tool in &request.tools {
        let strict = tool.strict == Some(true);
        if strict && !model.schemas {
            blocks.drop("tools.strict");
        }
        tools.push(Tool::ToolSpec {
            name: &tool.name,
            description: tool.description.as_deref().filter(|text| !text.is_empty()),
            input_schema: Schema {
                json: parameters(tool.parameters.as_deref()),
            },
            strict: (strict && model.schemas).then_some(true),
        });
        match tool.cache {
            Some(_) if blocks.caching == Caching::Plain => blocks.drop("cache_control"),
            Some(ttl) => tools.extend(blocks.point(ttl).map(Tool::CachePoint)),
            None => {}
        }
    }
    if request.parallel_tools == Some(false) {
        blocks.drop("parallel_tool_calls");
    }
    let tool_choice = match &request.tool_choice {
        ToolChoice::Unset | ToolChoice::None => None,
        ToolChoice::Auto => Some(Choice::Auto {}),
        ToolChoice::Required => Some(Choice::Any {}),
        ToolChoice::Named(name) => Some(Choice::Tool { name }),
    };
    Tools { tools, tool_choice }
}

fn write_format<'a>(
    request: &'a Request,
    name: &str,
    model: Model,
) -> Result<Option<TextFormat<'a>>, Unsupported> {
    match &request.format {
        Format::Text => Ok(None),
        Format::Json => Err(Unsupported::new(DIALECT, Feature::JsonObject)),
        Format::Schema {
            name,
            description,
            schema,
            ..
        } if model.schemas => {
            let json_schema = JsonSchema {
                schema: schema.get(),
                name: name.as_deref(),
                description: description.as_deref(),
            };
            Ok(Some(TextFormat {
                r#type: "json_schema",
                structure: Structure { json_schema },
            }))
        }
        Format::Schema { .. } => Err(Unsupported {
            dialect: DIALECT,
            feature: Feature::Schema,
            detail: Some(name.to_owned()),
        }),
    }
}

/// Claude refuses a sequence of spaces, and the API an empty one.
fn write_stops<'a>(request: &'a Request, model: Model, dropped: &mut Dropped) -> Vec<&'a str> {
    let asked = &request.sampling.stop;
    let fits = |stop: &&String| match model.is_claude {
        true => !stop.trim().is_empty(),
        false => !stop.is_empty(),
    };
    let filled = asked.iter().filter(fits);
    let stops: Vec<_> = filled.map(String::as_str).take(MAX_STOPS).collect();
    if stops.len() < asked.len() {
        dropped.add("stop");
    }
    stops
}

/// The user's name, for the logs that Bedrock keeps of invocations.
fn write_metadata<'a>(request: &'a Request, dropped: &mut Dropped) -> Option<Metadata<'a>> {
    let user_id = request.user.as_deref()?;
    let fits = |letter: char| {
        letter.is_ascii_alphanumeric()
            || letter.is_ascii_whitespace()
            || ":_@$#=/+,-.".contains(letter)
    };
    if user_id.len() > MAX_METADATA || !user_id.chars().all(fits) {
        dropped.add("user");
        return None;
    }
    Some(Metadata { user_id })
}
