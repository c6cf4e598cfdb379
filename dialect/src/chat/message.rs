//! The messages of a caller's request.

use crate::chat::thoughts;
use crate::error::{Feature, Invalid};
use crate::json::Fields;
use crate::names::made_up;
use crate::openai::call as openai_call;
use crate::openai::node::Node;
use crate::openai::parts::{contents, medium, sound};
use crate::openai::{body, media};
use crate::request::{
    CacheTtl, Content, MediaKind, Part, Request, Role, ToolCall, ToolResult, Turn,
};

/// Reads the messages into turns.
pub(crate) fn read(fields: &Fields, request: &mut Request) -> Result<(), Invalid> {
    let messages = body::node(fields, "messages")?
        .ok_or_else(|| Invalid::field("messages", "must hold the conversation"))?
        .list()?;
    if messages.is_empty() {
        return Err(Invalid::field("messages", "must hold at least one message"));
    }
    let mut legacy = None;
    let mut after_result = false;
    for message in messages {
        let mut message = message.object()?;
        let role = message.required_text("role")?;
        if matches!(role.as_str(), "user" | "system" | "developer")
            && message.take("name").is_some()
        {
            leave(request, "messages.name");
        }
        let cache = message.take_cache();
        let is_result = matches!(role.as_str(), "tool" | "function");
        let (role, mut parts) = match role.as_str() {
            "system" | "developer" => (Role::System, said(&mut message, request)?),
            "user" => (Role::User, said(&mut message, request)?),
            "assistant" => (
                Role::Assistant,
                assistant(&mut message, request, &mut legacy)?,
            ),
            "tool" => {
                let id = message.required_text("tool_call_id")?;
                (Role::User, vec![result(id, &mut message, request)?])
            }
            "function" => {
                let name = message.required_text("name")?;
                let id = legacy
                    .take()
                    .unwrap_or_else(|| made_up("call_", &["function", &name]));
                (Role::User, vec![result(id, &mut message, request)?])
            }
            _ => {
                let what = "must be system, developer, user, assistant, tool or function";
                return Err(Invalid::field(message.path_of("role"), what));
            }
        };
        if let Some(last) = parts.last_mut() {
            last.cache = cache.or(last.cache);
        }
        match request.turns.last_mut() {
            Some(turn) if is_result && after_result => turn.parts.append(&mut parts),
            _ => request.turns.push(Turn { role, parts }),
        }
        after_result = is_result;
    }
    Ok(())
}

fn leave(request: &mut Request, name: &str) {
    if !request.left.iter().any(|left| left == name) {
        request.left.push(name.to_owned());
    }
}

/// What a person or a system says, which must be something.
fn said(message: &mut Node, request: &mut Request) -> Result<Vec<Part>, Invalid> {
    contents(message.required("content")?, request, content)
}

/// One part; `None` for one that only this dialect has.
fn content(item: &mut Node, request: &mut Request) -> Result<Option<Content>, Invalid> {
    let kind = item.required_text("type")?;
    Ok(Some(match kind.as_str() {
        "text" => Content::Text(item.required_text("text")?),
        "refusal" => Content::Refusal(item.required_text("refusal")?),
        "image_url" => image(item)?,
        "input_audio" => sound(item)?,
        "file" => return file(item, request),
        other => {
            let what = format!("a part of type {other}");
            request.only_here.push((Feature::VendorTools, what));
            return Ok(None);
        }
    }))
}

fn image(item: &mut Node) -> Result<Content, Invalid> {
    let node = item.required("image_url")?;
    let path = node.path.clone();
    let (url, detail) = match node.try_text() {
        Ok(url) => (url, None), // Mistral's short form
        Err(node) => {
            let mut node = node.object()?;
            (node.required_text("url")?, node.take_text("detail")?)
        }
    };
    let source = media::source(url).ok_or_else(|| {
        Invalid::field(
            format!("{path}.url"),
            "must be an address that begins with https:// or data:<type>;base64,",
        )
    })?;
    Ok(medium(MediaKind::Image, source, None, detail))
}

fn file(item: &mut Node, request: &mut Request) -> Result<Option<Content>, Invalid> {
    let mut file = item.required("file")?.object()?;
    let name = file.take_text("filename")?;
    let data = match file.take_text("file_data")? {
        Some(data) => data,
        None => match file.take_text("file_id")? {
            Some(id) => {
                request
                    .only_here
                    .push((Feature::StoredState, format!("file {id}")));
                return Ok(None);
            }
            None => {
                let what = "must have a field file_data or file_id";
                return Err(Invalid::field(file.path, what));
            }
        },
    };
    let source = media::file_source(data, name.as_deref()).ok_or_else(|| {
        let what = "must be base64, or an address that begins with data:<type>;base64,";
        Invalid::field(file.path_of("file_data"), what)
    })?;
    Ok(Some(medium(MediaKind::Document, source, name, None)))
}

/// What the model said, in the order in which it does: thoughts, text, a refusal, calls.
fn assistant(
    message: &mut Node,
    request: &mut Request,
    legacy: &mut Option<String>,
) -> Result<Vec<Part>, Invalid> {
    let details = message.take("reasoning_details").map(Node::into_value);
    let plain = message
        .take_text("reasoning_content")?
        .or(message.take_text("reasoning")?);
    let thoughts = thoughts::read(details.as_ref(), plain.as_deref());
    let mut parts: Vec<Part> = thoughts
        .into_iter()
        .map(|thought| Content::Reasoning(thought).into())
        .collect();
    if let Some(node) = message.take("content") {
        let said = contents(node, request, content)?.into_iter();
        parts.extend(
            said.filter(|part| !matches!(&part.content, Content::Text(text) if text.is_empty())),
        );
    }
    if let Some(refusal) = message.take_text("refusal")? {
        parts.push(Content::Refusal(refusal).into());
    }
    if message.take("audio").is_some() {
        let what = "an answer in sound".to_owned();
        request.only_here.push((Feature::StoredState, what));
    }
    if let Some(calls) = message.take("tool_calls") {
        for mut call in calls.list()? {
            match call.take_text("type")?.as_deref() {
                None | Some("function") => {
                    parts.push(Content::ToolCall(tool_call(&mut call)?).into());
                }
                Some(other) => {
                    let what = format!("a tool call of type {other}");
                    request.only_here.push((Feature::VendorTools, what));
                }
            }
        }
    }
    if let Some(mut call) = message.take("function_call") {
        let name = call.required_text("name")?;
        let id = made_up("call_", &[&message.path, &name]);
        *legacy = Some(id.clone());
        parts.push(
            Content::ToolCall(ToolCall {
                id,
                name,
                arguments: call.take_text("arguments")?.unwrap_or_default(),
                signature: None,
            })
            .into(),
        );
    }
    Ok(parts)
}

fn tool_call(call: &mut Node) -> Result<ToolCall, Invalid> {
    let id = call.required_text("id")?;
    let signature = openai_call::signature(call.value());
    let mut function = call.required("function")?.object()?;
    let name = function.required_text("name")?;
    let arguments = function.take("arguments").map(Node::into_value);
    Ok(ToolCall {
        id,
        name,
        arguments: crate::openai::said::arguments(arguments),
        signature,
    })
}

fn result(id: String, message: &mut Node, request: &mut Request) -> Result<Part, Invalid> {
    let mut cache: Option<CacheTtl> = None;
    let mut said = Vec::new();
    if let Some(node) = message.take("content") {
        for part in contents(node, request, content)? {
            cache = part.cache.or(cache);
            said.push(part.content);
        }
    }
    Ok(Part {
        content: Content::ToolResult(ToolResult {
            id,
            content: said,
            is_error: false,
        }),
        cache,
    })
}
