//! The tools of a caller's request, also in the old words `functions` and `function_call`.

use crate::error::{Feature, Invalid};
use crate::json::Fields;
use crate::openai::node::Node;
use crate::openai::{body, tools};
use crate::request::{Request, ToolChoice};

/// Reads the tools and the choice among them.
pub(crate) fn read(fields: &Fields, request: &mut Request) -> Result<(), Invalid> {
    if let Some(raw) = fields.get("tools") {
        for (position, raw) in tools::items("tools", raw)?.iter().enumerate() {
            let path = format!("tools[{position}]");
            let tool = tools::object(&path, raw)?;
            let kind = tools::text(&tool, &path, "type")?;
            match kind.as_deref() {
                None | Some("function") => {
                    let inner = format!("{path}.function");
                    let function = tool.get("function").ok_or_else(|| {
                        Invalid::field(path.clone(), "must have a field function")
                    })?;
                    let function = tools::object(&inner, function)?;
                    request
                        .tools
                        .push(tools::function(&inner, &function, &tool)?);
                }
                Some(other) => {
                    let what = format!("a tool of type {other}");
                    request.only_here.push((Feature::VendorTools, what));
                }
            }
        }
    }
    if let Some(raw) = fields.get("functions") {
        for (position, raw) in tools::items("functions", raw)?.iter().enumerate() {
            let path = format!("functions[{position}]");
            let function = tools::object(&path, raw)?;
            request
                .tools
                .push(tools::function(&path, &function, &function)?);
        }
    }
    if let Some(node) = body::node(fields, "tool_choice")? {
        tools::choice(
            request,
            node,
            |object| object.required("function")?.required_text("name"),
            |object| object.required("allowed_tools")?.object().map(Some),
        )?;
    } else if let Some(node) = body::node(fields, "function_call")? {
        request.tool_choice = function_call(node)?;
    }
    Ok(())
}

fn function_call(node: Node) -> Result<ToolChoice, Invalid> {
    let path = node.path.clone();
    match node.try_text() {
        Err(mut node) => Ok(ToolChoice::Named(node.required_text("name")?)),
        Ok(word) => match word.as_str() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            _ => Err(Invalid::field(
                path,
                "must be auto, none or an object that names a function",
            )),
        },
    }
}
