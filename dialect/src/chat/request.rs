//! A caller's request.

use crate::chat::{message, tool};
use crate::error::{Feature, Invalid};
use crate::json::Fields;
use crate::openai::node::Node;
use crate::openai::{body, effort};
use crate::request::{Format, Reasoning, Request, Sampling};
use serde_json::Value;

/// Fields that are read here, or that say nothing but what holds without them.
const KNOWN: &[&str] = &[
    "model",
    "messages",
    "tools",
    "tool_choice",
    "functions",
    "function_call",
    "parallel_tool_calls",
    "response_format",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "stop",
    "n",
    "logprobs",
    "top_logprobs",
    "reasoning_effort",
    "reasoning",
    "stream",
    "stream_options",
    "user",
    "modalities",
    "audio",
    "web_search_options",
    "store",
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
    message::read(&fields, &mut request)?;
    tool::read(&fields, &mut request)?;
    request.parallel_tools = body::flag(&fields, "parallel_tool_calls")?;
    if let Some(node) = body::node(&fields, "response_format")? {
        request.format = format(node, &fields)?;
    }
    let limits = ["max_tokens", "max_completion_tokens"];
    for name in limits {
        request.max_output = body::count(&fields, name)?.max(request.max_output);
    }
    request.sampling = sampling(&fields)?;
    request.reasoning = reasoning(&fields, &mut request.left)?;
    request.stream = body::flag(&fields, "stream")?.unwrap_or(false);
    if let Some(mut options) = body::node(&fields, "stream_options")? {
        let usage = options.take("include_usage").map(|node| node.flag());
        request.stream_usage = usage.transpose()?.unwrap_or(false);
    }
    request.user = body::text(&fields, "user")?;
    only_here(&fields, &mut request)?;
    Ok(request)
}

fn sampling(fields: &Fields) -> Result<Sampling, Invalid> {
    let wanted = body::flag(fields, "logprobs")?.unwrap_or(false);
    let top = body::count(fields, "top_logprobs")?;
    let choices = body::count(fields, "n")?;
    if choices == Some(0) {
        return Err(Invalid::field("n", "must be at least 1"));
    }
    Ok(Sampling {
        temperature: body::number(fields, "temperature")?,
        top_p: body::number(fields, "top_p")?,
        top_k: body::count(fields, "top_k")?.filter(|top_k| *top_k > 0), // many say 0 for all
        presence_penalty: body::number(fields, "presence_penalty")?,
        frequency_penalty: body::number(fields, "frequency_penalty")?,
        seed: body::integer(fields, "seed")?,
        stop: body::texts(fields, "stop")?,
        choices,
        logprobs: if wanted { top.or(Some(0)) } else { None },
    })
}

fn format(mut node: Node, fields: &Fields) -> Result<Format, Invalid> {
    let kind = node.required_text("type")?;
    match kind.as_str() {
        "text" => Ok(Format::Text),
        "json_object" => Ok(Format::Json),
        "json_schema" => {
            // The schema keeps its bytes, so it is read again from them.
            let path = "response_format.json_schema";
            let outer = fields.get("response_format").map(ToOwned::to_owned);
            let outer = outer.ok_or_else(|| Invalid::field(path, "must be an object"))?;
            let outer = crate::openai::tools::object("response_format", &outer)?;
            let inner = outer
                .get("json_schema")
                .ok_or_else(|| Invalid::field(path, "must hold the schema"))?;
            schema(path, &crate::openai::tools::object(path, inner)?)
        }
        _ => {
            let what = "must be text, json_object or json_schema";
            Err(Invalid::field(node.path_of("type"), what))
        }
    }
}

/// Reads a schema with its name, which both of OpenAI's dialects write alike.
pub(crate) fn schema(path: &str, fields: &Fields) -> Result<Format, Invalid> {
    let schema = fields
        .get("schema")
        .filter(|raw| raw.get().starts_with('{'))
        .ok_or_else(|| {
            Invalid::field(
                format!("{path}.schema"),
                "must be a JSON Schema, which is an object",
            )
        })?;
    let strict = fields.get("strict").map(|raw| {
        serde_json::from_str(raw.get())
            .map_err(|_| Invalid::field(format!("{path}.strict"), "must be true or false"))
    });
    Ok(Format::Schema {
        name: crate::openai::tools::text(fields, path, "name")?,
        description: crate::openai::tools::text(fields, path, "description")?,
        schema: schema.to_owned(),
        strict: strict.transpose()?,
    })
}

/// Reads OpenAI's `reasoning_effort`, and OpenRouter's `reasoning`, which can say a budget.
fn reasoning(fields: &Fields, left: &mut Vec<String>) -> Result<Option<Reasoning>, Invalid> {
    let mut asked = Reasoning::default();
    if let Some(word) = body::text(fields, "reasoning_effort")? {
        asked.effort = effort(&word);
        if asked.effort.is_none() {
            left.push("reasoning_effort".to_owned());
        }
    }
    if let Some(node) = body::node(fields, "reasoning")? {
        let mut node = node.object()?;
        if let Some(word) = node.take_text("effort")? {
            asked.effort = effort(&word).or(asked.effort);
        }
        let budget = node.take("max_tokens").map(Node::into_value);
        asked.budget = budget.as_ref().and_then(Value::as_u64);
        if let Some(hidden) = node.take("exclude") {
            asked.shown = Some(!hidden.flag()?);
        }
    }
    Ok((asked != Reasoning::default()).then_some(asked))
}

fn only_here(fields: &Fields, request: &mut Request) -> Result<(), Invalid> {
    if let Some(modalities) = body::node(fields, "modalities")? {
        for modality in modalities.list()? {
            let modality = modality.text()?;
            if modality != "text" {
                let what = format!("modalities: {modality}");
                request.only_here.push((Feature::Audio, what));
            }
        }
    }
    if fields.get("audio").is_some() && request.only_here.is_empty() {
        request.left.push("audio".to_owned()); // how it would sound, if sound were asked for
    }
    if fields.get("web_search_options").is_some() {
        let what = "web_search_options".to_owned();
        request.only_here.push((Feature::VendorTools, what));
    }
    if body::flag(fields, "store")? == Some(true) {
        request.left.push("store".to_owned());
    }
    Ok(())
}
