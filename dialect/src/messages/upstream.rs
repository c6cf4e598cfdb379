//! An upstream's body.

use super::DIALECT;
use super::blocks::{Block, Cache, text, write_block};
use super::claude::{Model, Thinking, drop_sampling, settle};
use super::turns::{NOTHING, Said, arrange, tools_called};
use crate::error::{Feature, Unsupported};
use crate::request::{Content, Format, Part, Request, Role, Thought, ToolChoice, Written};
use crate::writing::{Dropped, parameters, serialize};
use serde::Serialize;
use serde_json::Number;
use serde_json::value::RawValue;

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<System<'a>>,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<Output<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum System<'a> {
    Text(&'a str),
    Blocks(Vec<Block<'a>>),
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    input_schema: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<Cache>,
}

#[derive(Serialize)]
struct Choice<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disable_parallel_tool_use: Option<bool>,
}

#[derive(Serialize)]
struct Output<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<OutputFormat<'a>>,
}

#[derive(Serialize)]
struct OutputFormat<'a> {
    r#type: &'static str,
    schema: &'a RawValue,
}

#[derive(Serialize)]
struct Metadata<'a> {
    user_id: &'a str,
}

/// Writes the body of `POST /v1/messages`.
///
/// `output_limit`: most output tokens, which the API wants to be told; a lower limit of the caller's counts. What is written depends on the
/// generation of `model`, as the table of [`crate::messages`]' models says.
///
/// # Errors
/// [`Unsupported`] for what the API does not have.
pub fn write_request(
    request: &Request,
    model: &str,
    output_limit: u64,
) -> Result<Written, Unsupported> {
    let mut dropped = Dropped::new(&request.left);
    let of = Model::of(model);
    let limit = dropped.at_most(request.max_output, output_limit, "max_tokens");
    let limit = limit.unwrap_or(output_limit);
    let body = body(request, model, of, &mut dropped)?;
    let settings = settle(request, of, limit, &mut dropped);
    drop_sampling(request, &mut dropped);
    let (kept, blank): (Vec<_>, Vec<_>) = request
        .sampling
        .stop
        .iter()
        .partition(|sequence| !sequence.trim().is_empty());
    if !blank.is_empty() {
        dropped.add("stop"); // the API refuses a sequence of spaces
    }
    let format = body.output_config.and_then(|output| output.format);
    let body = Body {
        max_tokens: Some(limit),
        thinking: settings.thinking,
        output_config: (format.is_some() || settings.effort.is_some()).then_some(Output {
            effort: settings.effort,
            format,
        }),
        stop_sequences: kept.into_iter().map(String::as_str).collect(),
        temperature: settings.temperature,
        top_p: settings.top_p,
        top_k: settings.top_k,
        metadata: request.user.as_deref().map(|user_id| Metadata { user_id }),
        stream: request.stream.then_some(true),
        ..body
    };
    Ok(Written {
        body: serialize(&body),
        dropped: dropped.into_list(),
    })
}

/// Writes the body of `POST /v1/messages/count_tokens`: what [`write_request`] writes, without what is about the answer.
///
/// # Errors
/// [`Unsupported`] for what the API does not have.
pub fn write_count_request(request: &Request, model: &str) -> Result<Written, Unsupported> {
    let mut dropped = Dropped::new(&request.left);
    let body = serialize(&body(request, model, Model::of(model), &mut dropped)?);
    Ok(Written {
        body,
        dropped: dropped.into_list(),
    })
}

/// What both bodies have.
fn body<'a>(
    request: &'a Request,
    name: &'a str,
    model: Model,
    dropped: &mut Dropped,
) -> Result<Body<'a>, Unsupported> {
    request.check_translatable(DIALECT)?;
    let (system, turns) = request.split();
    let signer = model.signer();
    let takes = |thought: &Thought| thought.signed_by(signer).is_some();
    dropped.add_if(request.has_thoughts_but(takes), "reasoning");
    let turns = arrange(&turns, &takes);
    let (tools, tool_choice) = write_tools(request, &turns, model, dropped);
    Ok(Body {
        model: name,
        max_tokens: None,
        system: write_system(&system)?,
        messages: write_turns(&turns, dropped)?,
        tools,
        tool_choice,
        thinking: None,
        output_config: write_format(request, name, model)?.map(|format| Output {
            effort: None,
            format: Some(format),
        }),
        stop_sequences: Vec::new(),
        temperature: None,
        top_p: None,
        top_k: None,
        metadata: None,
        stream: None,
    })
}

fn write_system<'a>(parts: &[&'a Part]) -> Result<Option<System<'a>>, Unsupported> {
    let mut blocks = Vec::new();
    for part in parts {
        match &part.content {
            Content::Text(words) if words.trim().is_empty() => {}
            Content::Text(words) => blocks.push((words.as_str(), part.cache)),
            _ => return Err(Unsupported::new(DIALECT, Feature::Images)),
        }
    }
    Ok(match blocks.as_slice() {
        [] => None,
        [(words, None)] => Some(System::Text(words)),
        _ => {
            let blocks = blocks.into_iter();
            Some(System::Blocks(
                blocks.map(|(words, cache)| text(words, cache)).collect(),
            ))
        }
    })
}

fn write_turns<'a>(
    turns: &[Said<'a>],
    dropped: &mut Dropped,
) -> Result<Vec<Message<'a>>, Unsupported> {
    let mut messages = Vec::new();
    // A conversation begins with the user.
    if turns.first().is_none_or(|first| first.role != Role::User) {
        messages.push(Message {
            role: "user",
            content: vec![text(NOTHING, None)],
        });
    }
    for said in turns {
        let mut content = Vec::new();
        for piece in &said.pieces {
            content.push(write_block(*piece, dropped)?);
        }
        let role = match said.role {
            Role::Assistant => "assistant",
            Role::User | Role::System => "user",
        };
        messages.push(Message { role, content });
    }
    Ok(messages)
}

fn write_tools<'a>(
    request: &'a Request,
    turns: &[Said<'a>],
    model: Model,
    dropped: &mut Dropped,
) -> (Vec<Tool<'a>>, Option<Choice<'a>>) {
    let choice = |r#type, name, alone: bool| Choice {
        r#type,
        name,
        disable_parallel_tool_use: alone.then_some(true),
    };
    if request.tools.is_empty() {
        // Calls in the history want their tools to be known; none may be called now.
        let tool = |name| Tool {
            name,
            description: None,
            input_schema: parameters(None),
            strict: None,
            cache_control: None,
        };
        let tools: Vec<_> = tools_called(turns).into_iter().map(tool).collect();
        let none = (!tools.is_empty()).then(|| choice("none", None, false));
        return (tools, none);
    }
    let tools = request.tools.iter().map(|tool| Tool {
        name: &tool.name,
        description: tool.description.as_deref(),
        input_schema: parameters(tool.parameters.as_deref()),
        strict: (tool.strict == Some(true) && model.schemas).then_some(true),
        cache_control: tool.cache.map(Cache::from),
    });
    let is_strict = |tool: &crate::request::Tool| tool.strict == Some(true);
    if !model.schemas && request.tools.iter().any(is_strict) {
        dropped.add("tools.strict");
    }
    let alone = request.parallel_tools == Some(false);
    let choice = match &request.tool_choice {
        ToolChoice::Unset if alone => Some(choice("auto", None, true)),
        ToolChoice::Unset => None,
        ToolChoice::Auto => Some(choice("auto", None, alone)),
        ToolChoice::None => Some(choice("none", None, false)),
        ToolChoice::Required => Some(choice("any", None, alone)),
        ToolChoice::Named(name) => Some(choice("tool", Some(name.as_str()), alone)),
    };
    (tools.collect(), choice)
}

fn write_format<'a>(
    request: &'a Request,
    name: &str,
    model: Model,
) -> Result<Option<OutputFormat<'a>>, Unsupported> {
    match &request.format {
        Format::Text => Ok(None),
        // The API has schemas only, and one of any object is none that it takes.
        Format::Json => Err(Unsupported::new(DIALECT, Feature::JsonObject)),
        Format::Schema { schema, .. } if model.schemas => Ok(Some(OutputFormat {
            r#type: "json_schema",
            schema,
        })),
        Format::Schema { .. } => Err(Unsupported {
            dialect: DIALECT,
            feature: Feature::Schema,
            detail: Some(name.to_owned()),
        }),
    }
}
