//! The items of a caller's input.

use crate::error::{Feature, Invalid};
use crate::openai::node::Node;
use crate::openai::parts::{contents, medium, sound};
use crate::openai::{self, media};
use crate::request::{
    Content, MediaKind, MediaSource, Part, Request, Role, Thought, ToolCall, ToolResult, Turn,
};
use crate::responses::{MADE_UP, REDACTED};
use crate::signature::{Signature, Signer};

/// Reads the input into turns. What the model made in one go, thoughts, text and calls, becomes one turn; so do results that follow each other.
pub(crate) fn read(input: Node, request: &mut Request) -> Result<(), Invalid> {
    let items = match input.try_text() {
        Ok(text) => {
            add(request, Role::User, vec![Content::Text(text).into()], false);
            return Ok(());
        }
        Err(node) => node
            .list()
            .map_err(|_| Invalid::field("input", "must be a string or a list of items"))?,
    };
    let mut results = false;
    for item in items {
        let mut item = item.object()?;
        let kind = item.take_text("type")?;
        let (role, parts, goes_on) = match kind.as_deref() {
            Some("message") => message(&mut item, request)?,
            None => match item.take_text("role")? {
                Some(role) => message_of(&role, &mut item, request)?,
                None => {
                    only_here(request, Feature::StoredState, "item_reference");
                    continue;
                }
            },
            Some("reasoning") => (Role::Assistant, thought(&mut item)?, true),
            Some("function_call") => (Role::Assistant, call(&mut item)?, true),
            Some("function_call_output") => (Role::User, output(&mut item, request)?, results),
            Some("item_reference") => {
                only_here(request, Feature::StoredState, "item_reference");
                continue;
            }
            Some(other) => {
                let what = format!("an item of type {other}");
                only_here(request, Feature::VendorTools, &what);
                continue;
            }
        };
        results = kind.as_deref() == Some("function_call_output");
        add(request, role, parts, goes_on);
    }
    Ok(())
}

fn only_here(request: &mut Request, feature: Feature, what: &str) {
    request.only_here.push((feature, what.to_owned()));
}

/// Adds parts to the last turn where they go on with it, or as a turn of their own.
fn add(request: &mut Request, role: Role, mut parts: Vec<Part>, goes_on: bool) {
    match request.turns.last_mut() {
        Some(turn) if goes_on && turn.role == role => turn.parts.append(&mut parts),
        _ if parts.is_empty() => {}
        _ => request.turns.push(Turn { role, parts }),
    }
}

type Read = (Role, Vec<Part>, bool);

fn message(item: &mut Node, request: &mut Request) -> Result<Read, Invalid> {
    let role = item.required_text("role")?;
    message_of(&role, item, request)
}

fn message_of(role: &str, item: &mut Node, request: &mut Request) -> Result<Read, Invalid> {
    let role = match role {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" | "developer" => Role::System,
        _ => {
            let what = "must be user, assistant, system or developer";
            return Err(Invalid::field(item.path_of("role"), what));
        }
    };
    let parts = contents(item.required("content")?, request, content)?;
    Ok((role, parts, role == Role::Assistant))
}

/// One part; `None` for one that only this dialect has.
fn content(item: &mut Node, request: &mut Request) -> Result<Option<Content>, Invalid> {
    let kind = item.required_text("type")?;
    match kind.as_str() {
        "input_text" | "output_text" | "text" => {
            Ok(Some(Content::Text(item.required_text("text")?)))
        }
        "refusal" => Ok(Some(Content::Refusal(item.required_text("refusal")?))),
        "input_image" => image(item, request),
        "input_file" => file(item, request),
        "input_audio" => sound(item).map(Some),
        other => {
            let what = format!("a part of type {other}");
            only_here(request, Feature::VendorTools, &what);
            Ok(None)
        }
    }
}

/// A file that OpenAI keeps, if the part names one.
fn kept(item: &mut Node, request: &mut Request) -> Result<bool, Invalid> {
    let id = item.take_text("file_id")?;
    if let Some(id) = &id {
        only_here(request, Feature::StoredState, &format!("file {id}"));
    }
    Ok(id.is_some())
}

fn image(item: &mut Node, request: &mut Request) -> Result<Option<Content>, Invalid> {
    let detail = item.take_text("detail")?;
    let Some(url) = item.take_text("image_url")? else {
        if kept(item, request)? {
            return Ok(None);
        }
        let what = "must have a field image_url or file_id";
        return Err(Invalid::field(item.path.clone(), what));
    };
    let source = media::source(url).ok_or_else(|| {
        let what = "must be an address that begins with https:// or data:<type>;base64,";
        Invalid::field(item.path_of("image_url"), what)
    })?;
    Ok(Some(medium(MediaKind::Image, source, None, detail)))
}

fn file(item: &mut Node, request: &mut Request) -> Result<Option<Content>, Invalid> {
    let name = item.take_text("filename")?;
    let source = if let Some(data) = item.take_text("file_data")? {
        media::file_source(data, name.as_deref()).ok_or_else(|| {
            let what = "must be base64, or an address that begins with data:<type>;base64,";
            Invalid::field(item.path_of("file_data"), what)
        })?
    } else if let Some(url) = item.take_text("file_url")? {
        MediaSource::Url(url)
    } else if kept(item, request)? {
        return Ok(None);
    } else {
        let what = "must have a field file_data, file_url or file_id";
        return Err(Invalid::field(item.path.clone(), what));
    };
    Ok(Some(medium(MediaKind::Document, source, name, None)))
}

/// A thought. One that is only named stands in OpenAI's store and says nothing here.
fn thought(item: &mut Node) -> Result<Vec<Part>, Invalid> {
    let mut texts = [Vec::new(), Vec::new()];
    for (name, texts) in ["content", "summary"].into_iter().zip(&mut texts) {
        for mut part in item
            .take(name)
            .map(Node::list)
            .transpose()?
            .unwrap_or_default()
        {
            texts.extend(part.take_text("text")?);
        }
    }
    let [content, summary] = texts;
    let text = if content.is_empty() { summary } else { content }.join("\n\n");
    let encrypted = item.take_text("encrypted_content")?.unwrap_or_default();
    let id = item.take_text("id")?;
    let (redacted, encrypted) = match encrypted.strip_prefix(REDACTED) {
        Some(data) => (true, data),
        None => (false, encrypted.as_str()),
    };
    let signature = (!encrypted.is_empty()).then(|| {
        let mut signature = Signature::read(encrypted, Signer::OpenAi);
        // No vendor knows the names that we made up, and only OpenAI those of items.
        signature.id = id.filter(|id| signature.by == Signer::OpenAi && !id.starts_with(MADE_UP));
        signature
    });
    let thought = Thought {
        text,
        signature,
        redacted,
    };
    if thought.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![Content::Reasoning(thought).into()])
}

fn call(item: &mut Node) -> Result<Vec<Part>, Invalid> {
    let signature = openai::call::signature(item.value());
    let call = ToolCall {
        id: item.required_text("call_id")?,
        name: item.required_text("name")?,
        arguments: item.take_text("arguments")?.unwrap_or_default(),
        signature,
    };
    Ok(vec![Content::ToolCall(call).into()])
}

fn output(item: &mut Node, request: &mut Request) -> Result<Vec<Part>, Invalid> {
    let id = item.required_text("call_id")?;
    let parts = contents(item.required("output")?, request, content)?;
    let cache = parts.iter().rev().find_map(|part| part.cache);
    let content = parts.into_iter().map(|part| part.content).collect();
    Ok(vec![Part {
        content: Content::ToolResult(ToolResult {
            id,
            content,
            is_error: false,
        }),
        cache,
    }])
}
