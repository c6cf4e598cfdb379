//! Requests to Gemini.

use super::DIALECT;
use super::config::Config;
use super::contents::{Spoken, Writing, unsupported};
use super::model::Model;
use crate::error::{Feature, Unsupported};
use crate::request::{Format, Request, Thought, Tool, ToolChoice, Written};
use crate::signature::Signer;
use crate::writing::{Dropped, serialize};
use serde::Serialize;
use serde_json::value::RawValue;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    contents: Vec<Spoken<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Spoken<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<[Tools<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<ToolConfig<'a>>,
    #[serde(skip_serializing_if = "Config::is_empty")]
    generation_config: Config<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tools<'a> {
    function_declarations: Vec<Declaration<'a>>,
}

/// A function. `parametersJsonSchema` takes JSON Schema; `parameters`, its older sibling, a dialect of OpenAPI.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Declaration<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters_json_schema: Option<&'a RawValue>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfig<'a> {
    function_calling_config: Calling<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Calling<'a> {
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_function_names: Option<[&'a str; 1]>,
}

/// Writes a request to `model`. The model and whether it streams are in the address: [`super::path`].
///
/// Not said, and named in [`Written::dropped`]: that tools must not be called in parallel, the strictness of tools, the caller's user, requests to cache.
///
/// # Errors
/// [`Unsupported`]: more than one answer; log probabilities, which no other dialect's answer has; pictures of other types; media by address and in
/// what tools answered for older models; JSON together with tools for models before Gemini 3; media in instructions.
pub fn write_request(request: &Request, model: &str) -> Result<Written, Unsupported> {
    request.check_translatable(DIALECT)?;
    let model = Model::new(model);
    check(request, model)?;
    let mut dropped = Dropped::new(&request.left);
    dropped.add_if(request.parallel_tools == Some(false), "parallel_tool_calls");
    dropped.add_if(request.user.is_some(), "user");
    dropped.add_if(
        request.tools.iter().any(|tool| tool.strict == Some(true)),
        "tools.strict",
    );
    dropped.add_if(
        request.tools.iter().any(|tool| tool.cache.is_some()),
        "cache_control",
    );

    let googles = |thought: &Thought| thought.signed_by(Signer::Google).is_some();
    dropped.add_if(request.has_thoughts_but(googles), "reasoning");

    let generation_config = Config::new(request, model, &mut dropped);
    let (system, turns) = request.split();
    let mut writing = Writing::new(request, model, &mut dropped);
    let mut contents = writing.contents(&turns)?;
    let mut parts = Vec::new();
    for part in system {
        writing
            .dropped
            .add_if(part.cache.is_some(), "cache_control");
        let written = writing.part(&part.content)?;
        if written.as_ref().is_some_and(|part| part.text.is_none()) {
            return Err(unsupported(Feature::Images, "in instructions"));
        }
        parts.extend(written);
    }
    // Gemini wants somebody to speak: instructions alone are what the user says.
    let role = contents.is_empty().then_some("user");
    let mut system_instruction = (!parts.is_empty()).then_some(Spoken { role, parts });
    if contents.is_empty() {
        contents.extend(system_instruction.take());
    }
    let body = Body {
        contents,
        system_instruction,
        tools: tools(&request.tools),
        tool_config: tool_config(request),
        generation_config,
    };
    Ok(Written {
        body: serialize(&body),
        dropped: dropped.into_list(),
    })
}

fn check(request: &Request, model: Model) -> Result<(), Unsupported> {
    let feature = match &request.format {
        Format::Json => Feature::JsonObject,
        Format::Schema { .. } => Feature::Schema,
        Format::Text => return Ok(()),
    };
    if !request.tools.is_empty() && !model.modern {
        return Err(unsupported(feature, "together with tools, before Gemini 3"));
    }
    Ok(())
}

fn tools(tools: &[Tool]) -> Option<[Tools<'_>; 1]> {
    let function_declarations: Vec<_> = tools
        .iter()
        .map(|tool| Declaration {
            name: &tool.name,
            description: tool.description.as_deref(),
            parameters_json_schema: tool.parameters.as_deref(),
        })
        .collect();
    (!function_declarations.is_empty()).then_some([Tools {
        function_declarations,
    }])
}

fn tool_config(request: &Request) -> Option<ToolConfig<'_>> {
    if request.tools.is_empty() {
        return None;
    }
    let (mode, allowed_function_names) = match &request.tool_choice {
        ToolChoice::Unset => return None,
        ToolChoice::Auto => ("AUTO", None),
        ToolChoice::None => ("NONE", None),
        ToolChoice::Required => ("ANY", None),
        ToolChoice::Named(name) => ("ANY", Some([name.as_str()])),
    };
    Some(ToolConfig {
        function_calling_config: Calling {
            mode,
            allowed_function_names,
        },
    })
}
