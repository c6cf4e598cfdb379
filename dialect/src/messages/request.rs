//! A caller's request.

use super::content::{Notes, read_cache, read_parts};
use super::fields::At;
use crate::error::{Feature, Invalid};
use crate::json::Fields;
use crate::request::{
    CacheTtl, Effort, Format, Reasoning, Request, Role, Sampling, Tool, ToolChoice, Turn,
};
use oarmaster_protocol::text;

/// The fields that are read. Those that are not are named in [`Request::left`].
const READ: [&str; 16] = [
    "cache_control",
    "max_tokens",
    "messages",
    "metadata",
    "model",
    "output_config",
    "output_format",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
];

/// Reads the body of `POST /v1/messages`.
///
/// # Errors
/// [`Invalid`], naming the field.
pub fn read_request(body: &[u8]) -> Result<Request, Invalid> {
    let mut request = read(body)?;
    if request.max_output.is_none() {
        let what = "is missing: write a whole number from 1 on";
        return Err(Invalid::field("max_tokens", what));
    }
    request.stream_usage = true;
    Ok(request)
}

/// Reads the body of `POST /v1/messages/count_tokens`, which asks for no answer and so for no `max_tokens`.
///
/// # Errors
/// [`Invalid`], naming the field.
pub fn read_count_request(body: &[u8]) -> Result<Request, Invalid> {
    let request = read(body)?;
    Ok(Request {
        stream: false,
        ..request
    })
}

fn read(body: &[u8]) -> Result<Request, Invalid> {
    Fields::parse(body)?;
    let body = text::json(body).text;
    let top = At::top(&body)?;
    let mut notes = Notes::default();
    let (tool_choice, parallel_tools) = read_choice(&top)?;
    let mut request = Request {
        model: top.needed_text("model")?,
        turns: read_turns(&top, &mut notes)?,
        tools: read_tools(&top, &mut notes)?,
        tool_choice,
        parallel_tools,
        format: read_format(&top)?,
        max_output: top.whole("max_tokens")?,
        sampling: Sampling {
            temperature: top.number("temperature")?,
            top_p: top.number("top_p")?,
            top_k: top.whole("top_k")?.filter(|k| *k > 0),
            stop: top.texts("stop_sequences")?,
            ..Sampling::default()
        },
        reasoning: read_reasoning(&top, &mut notes)?,
        stream: top.boolean("stream")?.unwrap_or(false),
        user: match top.object("metadata")? {
            Some(metadata) => metadata.text("user_id")?,
            None => None,
        },
        ..Request::default()
    };
    if let Some(cache) = read_cache(&top)? {
        mark_last(&mut request.turns, cache);
    }
    for name in top.names() {
        match name {
            "container" | "inference_geo" | "thread" => notes.only_here(Feature::StoredState, name),
            "mcp_servers" if !top.objects(name)?.is_empty() => {
                notes.only_here(Feature::VendorTools, name);
            }
            "mcp_servers" => {}
            name if READ.contains(&name) => {}
            name => notes.leave(name),
        }
    }
    request.left = notes.left.into_list();
    request.only_here = notes.only_here;
    Ok(request)
}

/// The mark at the top stands for one at the last block.
fn mark_last(turns: &mut [Turn], cache: CacheTtl) {
    let last = turns
        .iter_mut()
        .rev()
        .find_map(|turn| turn.parts.last_mut());
    if let Some(last) = last {
        last.cache = last.cache.or(Some(cache));
    }
}

fn read_turns(top: &At<'_>, notes: &mut Notes) -> Result<Vec<Turn>, Invalid> {
    let mut turns = Vec::new();
    if top.get("system").is_some() {
        turns.push(Turn {
            role: Role::System,
            parts: read_parts(top, "system", Role::System, notes)?,
        });
    }
    let messages = top.objects("messages")?;
    if messages.is_empty() {
        return Err(top.wrong(
            "messages",
            "is missing or empty: write at least one message",
        ));
    }
    for message in messages {
        let role = match message.needed_text("role")?.as_str() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            _ => return Err(message.wrong("role", "is none of user, assistant and system")),
        };
        let parts = read_parts(&message, "content", role, notes)?;
        turns.push(Turn { role, parts });
    }
    Ok(turns)
}

fn read_tools(top: &At<'_>, notes: &mut Notes) -> Result<Vec<Tool>, Invalid> {
    let mut tools = Vec::new();
    for tool in top.objects("tools")? {
        match tool.text("type")?.as_deref() {
            None | Some("custom") => {}
            Some(kind) => {
                notes.only_here(Feature::VendorTools, kind);
                continue;
            }
        }
        let callers = tool.texts("allowed_callers")?;
        if let Some(caller) = callers.into_iter().find(|caller| caller != "direct") {
            notes.only_here(Feature::VendorTools, caller);
        }
        for field in ["defer_loading", "eager_input_streaming", "input_examples"] {
            if tool.get(field).is_some() {
                notes.leave(field);
            }
        }
        tool.needed_object("input_schema")?;
        tools.push(Tool {
            name: tool.needed_text("name")?,
            description: tool.text("description")?,
            parameters: tool.get("input_schema").map(ToOwned::to_owned),
            strict: tool.boolean("strict")?,
            cache: read_cache(&tool)?,
        });
    }
    Ok(tools)
}

fn read_choice(top: &At<'_>) -> Result<(ToolChoice, Option<bool>), Invalid> {
    let Some(choice) = top.object("tool_choice")? else {
        return Ok((ToolChoice::Unset, None));
    };
    let tool_choice = match choice.needed_text("type")?.as_str() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Named(choice.needed_text("name")?),
        _ => return Err(choice.wrong("type", "is none of auto, any, tool and none")),
    };
    let alone = choice.boolean("disable_parallel_tool_use")?;
    Ok((tool_choice, alone.map(|alone| !alone)))
}

/// `output_config.format`, or `output_format` as it was named at first.
fn read_format(top: &At<'_>) -> Result<Format, Invalid> {
    let new = match top.object("output_config")? {
        Some(config) => config.object("format")?,
        None => None,
    };
    let format = match new {
        Some(format) => format,
        None => match top.object("output_format")? {
            Some(format) => format,
            None => return Ok(Format::Text),
        },
    };
    if format.needed_text("type")? != "json_schema" {
        return Err(format.wrong("type", "is not json_schema"));
    }
    format.needed_object("schema")?;
    Ok(Format::Schema {
        name: None,
        description: None,
        schema: format
            .get("schema")
            .map(ToOwned::to_owned)
            .unwrap_or_default(),
        strict: Some(true),
    })
}

/// `thinking` says whether, `output_config.effort` how much.
fn read_reasoning(top: &At<'_>, notes: &mut Notes) -> Result<Option<Reasoning>, Invalid> {
    let effort = match top.object("output_config")? {
        None => None,
        Some(config) => {
            for name in config.names() {
                if !["effort", "format"].contains(&name) {
                    notes.leave(config.path(name));
                }
            }
            match config.text("effort")?.as_deref() {
                None => None,
                Some("low") => Some(Effort::Low),
                Some("medium") => Some(Effort::Medium),
                Some("high") => Some(Effort::High),
                Some("xhigh" | "max") => Some(Effort::ExtraHigh),
                Some(_) => {
                    notes.leave(config.path("effort"));
                    None
                }
            }
        }
    };
    let in_words = effort.map(|effort| Reasoning {
        effort: Some(effort),
        ..Reasoning::default()
    });
    let Some(thinking) = top.object("thinking")? else {
        return Ok(in_words);
    };
    let shown = match thinking.text("display")?.as_deref() {
        Some("summarized") => Some(true),
        Some("omitted") => Some(false),
        _ => None,
    };
    Ok(match thinking.needed_text("type")?.as_str() {
        "enabled" => {
            let what = "is missing: write a whole number from 1024 on";
            let budget = thinking.whole("budget_tokens")?;
            let budget = budget.ok_or_else(|| thinking.wrong("budget_tokens", what))?;
            Some(Reasoning {
                effort,
                budget: Some(budget),
                shown,
            })
        }
        "adaptive" => Some(Reasoning {
            effort,
            budget: None,
            shown,
        }),
        // `between_tools` is thinking turned off, with notes between the calls of tools.
        "disabled" | "between_tools" => {
            if effort.is_some() {
                notes.leave("output_config.effort");
            }
            Some(Reasoning {
                effort: Some(Effort::None),
                ..Reasoning::default()
            })
        }
        _ => {
            notes.leave("thinking");
            in_words
        }
    })
}
