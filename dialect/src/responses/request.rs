//! A caller's request.

use crate::chat::schema;
use crate::error::{Feature, Invalid};
use crate::json::Fields;
use crate::openai::node::Node;
use crate::openai::{body, effort, tools};
use crate::request::{Content, Format, Reasoning, Request, Role, Turn};
use crate::responses::item;

/// Fields that are read here, or that say nothing but what holds without them.
const KNOWN: &[&str] = &[
    "model",
    "input",
    "instructions",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "text",
    "reasoning",
    "max_output_tokens",
    "temperature",
    "top_p",
    "top_logprobs",
    "include",
    "stream",
    "stream_options",
    "user",
    "store",
    "truncation",
    "previous_response_id",
    "conversation",
    "background",
    "prompt",
];

/// Reads a request.
///
/// # Errors
/// [`Invalid`], naming the field.
pub fn read_request(body: &[u8]) -> Result<Request, Invalid> {
    let fields = Fields::parse(body)?;
    let mut request = Request {
        model: body::model(&fields)?,
        left: body::left(&fields, KNOWN),
        ..Request::default()
    };
    if let Some(text) = body::text(&fields, "instructions")? {
        request.turns.push(Turn {
            role: Role::System,
            parts: vec![Content::Text(text).into()],
        });
    }
    stored(&fields, &mut request)?;
    match body::node(&fields, "input")? {
        Some(input) => item::read(input, &mut request)?,
        None if request.only_here.is_empty() => {
            return Err(Invalid::field(
                "input",
                "must be a string or a list of items",
            ));
        }
        None => {} // a stored prompt or conversation may be all there is
    }
    read_tools(&fields, &mut request)?;
    request.parallel_tools = body::flag(&fields, "parallel_tool_calls")?;
    text(&fields, &mut request)?;
    request.reasoning = reasoning(&fields, &mut request.left)?;
    request.max_output = body::count(&fields, "max_output_tokens")?;
    request.sampling.temperature = body::number(&fields, "temperature")?;
    request.sampling.top_p = body::number(&fields, "top_p")?;
    request.sampling.logprobs = body::count(&fields, "top_logprobs")?.filter(|top| *top > 0);
    include(&fields, &mut request)?;
    request.stream = body::flag(&fields, "stream")?.unwrap_or(false);
    request.stream_usage = true;
    request.user = body::text(&fields, "user")?;
    if body::flag(&fields, "store")? == Some(true) {
        request.left.push("store".to_owned());
    }
    if body::text(&fields, "truncation")?.is_some_and(|word| word != "disabled") {
        request.left.push("truncation".to_owned());
    }
    Ok(request)
}

/// What refers to state that OpenAI keeps.
fn stored(fields: &Fields, request: &mut Request) -> Result<(), Invalid> {
    for name in ["previous_response_id", "conversation", "prompt"] {
        if fields.get(name).is_some() {
            let what = (Feature::StoredState, name.to_owned());
            request.only_here.push(what);
        }
    }
    if body::flag(fields, "background")? == Some(true) {
        let what = (Feature::StoredState, "background".to_owned());
        request.only_here.push(what);
    }
    Ok(())
}

fn read_tools(fields: &Fields, request: &mut Request) -> Result<(), Invalid> {
    if let Some(raw) = fields.get("tools") {
        for (position, raw) in tools::items("tools", raw)?.iter().enumerate() {
            let path = format!("tools[{position}]");
            let tool = tools::object(&path, raw)?;
            match tools::text(&tool, &path, "type")?.as_deref() {
                Some("function") => request.tools.push(tools::function(&path, &tool, &tool)?),
                Some(other) => {
                    let what = format!("a tool of type {other}");
                    request.only_here.push((Feature::VendorTools, what));
                }
                None => return Err(Invalid::field(path, "must have a field type")),
            }
        }
    }
    if let Some(node) = body::node(fields, "tool_choice")? {
        tools::choice(
            request,
            node,
            |object| object.required_text("name"),
            |_| Ok(None),
        )?;
    }
    Ok(())
}

fn text(fields: &Fields, request: &mut Request) -> Result<(), Invalid> {
    let Some(raw) = fields.get("text") else {
        return Ok(());
    };
    let text = tools::object("text", raw)?;
    if text.get("verbosity").is_some() {
        request.left.push("text.verbosity".to_owned());
    }
    let Some(raw) = text.get("format") else {
        return Ok(());
    };
    let path = "text.format";
    let format = tools::object(path, raw)?;
    request.format = match tools::text(&format, path, "type")?.as_deref() {
        Some("text") => Format::Text,
        Some("json_object") => Format::Json,
        Some("json_schema") => schema(path, &format)?,
        _ => {
            let what = "must be text, json_object or json_schema";
            return Err(Invalid::field("text.format.type", what));
        }
    };
    Ok(())
}

fn reasoning(fields: &Fields, left: &mut Vec<String>) -> Result<Option<Reasoning>, Invalid> {
    let Some(node) = body::node(fields, "reasoning")? else {
        return Ok(None);
    };
    let mut node = node.object()?;
    let mut asked = Reasoning::default();
    if let Some(word) = node.take_text("effort")? {
        asked.effort = effort(&word);
        if asked.effort.is_none() {
            left.push("reasoning.effort".to_owned());
        }
    }
    let summary = node
        .take_text("summary")?
        .or(node.take_text("generate_summary")?);
    asked.shown = summary.map(|_| true);
    for name in ["mode", "context"] {
        if node.take(name).is_some() {
            left.push(format!("reasoning.{name}"));
        }
    }
    Ok((asked != Reasoning::default()).then_some(asked))
}

fn include(fields: &Fields, request: &mut Request) -> Result<(), Invalid> {
    let wanted = body::node(fields, "include")?.map(Node::list).transpose()?;
    for item in wanted.unwrap_or_default() {
        match item.text()?.as_str() {
            "reasoning.encrypted_content" => {} // always, where a vendor has it
            "message.output_text.logprobs" => {
                request.sampling.logprobs.get_or_insert(0);
            }
            _ if request.left.iter().any(|name| name == "include") => {}
            _ => request.left.push("include".to_owned()),
        }
    }
    Ok(())
}
