//! Functions in a caller's list of tools.

use crate::error::{Feature, Invalid};
use crate::json::Fields;
use crate::openai::node::{self, Node};
use crate::request::{Request, Tool, ToolChoice};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashSet;

/// The items of a list, each with its bytes.
pub(crate) fn items(name: &str, raw: &RawValue) -> Result<Vec<Box<RawValue>>, Invalid> {
    serde_json::from_str(raw.get()).map_err(|_| Invalid::field(name, "must be a list"))
}

/// The fields of an object.
pub(crate) fn object(path: &str, raw: &RawValue) -> Result<Fields, Invalid> {
    Fields::parse(raw.get().as_bytes()).map_err(|_| Invalid::field(path, "must be an object"))
}

/// A text of an object.
pub(crate) fn text(fields: &Fields, path: &str, name: &str) -> Result<Option<String>, Invalid> {
    fields
        .get(name)
        .map(|raw| Node::read(&format!("{path}.{name}"), raw)?.text())
        .transpose()
}

/// Reads a function: its name, description, parameters and whether it is strict. `outer` may ask for caching.
pub(crate) fn function(path: &str, fields: &Fields, outer: &Fields) -> Result<Tool, Invalid> {
    let name = text(fields, path, "name")?
        .filter(|name| !name.is_empty())
        .ok_or_else(|| Invalid::field(format!("{path}.name"), "must name the function"))?;
    let parameters = fields.get("parameters");
    if parameters.is_some_and(|raw| !raw.get().starts_with('{')) {
        let what = "must be a JSON Schema, which is an object";
        return Err(Invalid::field(format!("{path}.parameters"), what));
    }
    let strict = fields.get("strict").map(|raw| {
        serde_json::from_str(raw.get())
            .map_err(|_| Invalid::field(format!("{path}.strict"), "must be true or false"))
    });
    let control = outer
        .get("cache_control")
        .or_else(|| fields.get("cache_control"));
    Ok(Tool {
        name,
        description: text(fields, path, "description")?,
        parameters: parameters.map(ToOwned::to_owned),
        strict: strict.transpose()?,
        cache: control.map(|raw| {
            let control: Option<Value> = serde_json::from_str(raw.get()).ok();
            node::cache(control.as_ref().and_then(|control| control.get("ttl")))
        }),
    })
}

/// Reads a choice among functions. `name` finds the function's name in an object of type `function`, `allowed` the object that holds the list
/// of allowed tools, if it is another one.
pub(crate) fn choice(
    request: &mut Request,
    mut node: Node,
    name: fn(&mut Node) -> Result<String, Invalid>,
    allowed: fn(&mut Node) -> Result<Option<Node>, Invalid>,
) -> Result<(), Invalid> {
    node = match node.try_text() {
        Ok(word) => {
            request.tool_choice = word_choice("tool_choice", &word)?;
            return Ok(());
        }
        Err(node) => node.object()?,
    };
    let kind = node.required_text("type")?;
    match kind.as_str() {
        "function" => request.tool_choice = ToolChoice::Named(name(&mut node)?),
        "allowed_tools" => {
            let mut list = allowed(&mut node)?.unwrap_or(node);
            let mode = list.required_text("mode")?;
            request.tool_choice = word_choice(&list.path_of("mode"), &mode)?;
            let mut names = HashSet::new();
            for mut tool in list.required("tools")?.list()? {
                if tool.take_text("type")?.as_deref() == Some("function") {
                    names.insert(name(&mut tool)?);
                }
            }
            request.tools.retain(|tool| names.contains(&tool.name));
        }
        other => request
            .only_here
            .push((Feature::VendorTools, format!("tool_choice of type {other}"))),
    }
    Ok(())
}

fn word_choice(path: &str, word: &str) -> Result<ToolChoice, Invalid> {
    Ok(match word {
        "auto" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        "required" | "any" => ToolChoice::Required,
        _ => {
            let what = "must be auto, none, required or an object that names a tool";
            return Err(Invalid::field(path, what));
        }
    })
}
