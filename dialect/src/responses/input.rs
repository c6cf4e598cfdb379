//! Turns as items of input.

use crate::error::{Feature, Unsupported};
use crate::json::quote;
use crate::openai::media::url;
use crate::openai::write::{Object, list};
use crate::request::{Content, Media, MediaKind, MediaSource, Part, Role, ToolResult, Turn};
use crate::responses::{DIALECT, output};
use crate::signature::{Signature, Signer};
use crate::writing::Dropped;

/// What the turns became.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// The system's first words.
    pub(crate) instructions: Option<String>,
    pub(crate) items: Vec<String>,
    /// Whether thoughts are among the items.
    pub(crate) thoughts: bool,
}

/// Writes all turns.
pub(crate) fn write(
    turns: &[Turn],
    signer: Signer,
    dropped: &mut Dropped,
) -> Result<Input, Unsupported> {
    let mut input = Input::default();
    for (position, turn) in turns.iter().enumerate() {
        if turn.parts.iter().any(|part| part.cache.is_some()) {
            dropped.add("cache_control");
        }
        match (turn.role, turn.parts.as_slice()) {
            (
                Role::System,
                [
                    Part {
                        content: Content::Text(text),
                        ..
                    },
                ],
            ) if position == 0 => {
                input.instructions = Some(text.clone()).filter(|text| !text.is_empty());
            }
            (Role::System, parts) => message("system", parts, &mut input.items)?,
            (Role::User, parts) => user(parts, dropped, &mut input.items)?,
            (Role::Assistant, parts) => assistant(parts, signer, dropped, &mut input),
        }
    }
    Ok(input)
}

/// Results come first, as in chat completions.
fn user(parts: &[Part], dropped: &mut Dropped, items: &mut Vec<String>) -> Result<(), Unsupported> {
    let mut others = Vec::new();
    for part in parts {
        match &part.content {
            Content::ToolResult(result) => items.push(tool_result(result, dropped)?),
            _ => others.push(part.clone()),
        }
    }
    message("user", &others, items)
}

fn message(role: &str, parts: &[Part], items: &mut Vec<String>) -> Result<(), Unsupported> {
    let contents = contents(parts.iter().map(|part| &part.content))?;
    if contents.is_empty() {
        return Ok(());
    }
    let message = Object::of_type("message")
        .text("role", role)
        .raw("content", &list(contents));
    items.push(message.end());
    Ok(())
}

/// Empty texts are left out.
fn contents<'a>(contents: impl Iterator<Item = &'a Content>) -> Result<Vec<String>, Unsupported> {
    let mut parts = Vec::new();
    for content in contents {
        let object = match content {
            Content::Text(text) | Content::Refusal(text) if text.is_empty() => continue,
            Content::Text(text) | Content::Refusal(text) => {
                Object::of_type("input_text").text("text", text)
            }
            Content::Media(media) => self::media(media)?,
            Content::ToolCall(_) | Content::ToolResult(_) | Content::Reasoning(_) => continue,
        };
        parts.push(object.end());
    }
    Ok(parts)
}

fn media(media: &Media) -> Result<Object, Unsupported> {
    match (media.kind, &media.source) {
        (MediaKind::Image, source) => Ok(Object::of_type("input_image")
            .text("image_url", &url(source))
            .text("detail", media.detail.as_deref().unwrap_or("auto"))),
        (MediaKind::Document, source @ MediaSource::Data { .. }) => {
            // OpenAI refuses data without a name.
            let name = media.name.as_deref().unwrap_or("document.pdf");
            Ok(Object::of_type("input_file")
                .text("filename", name)
                .text("file_data", &url(source)))
        }
        (MediaKind::Document, MediaSource::Url(url)) => {
            Ok(Object::of_type("input_file").text("file_url", url))
        }
        (MediaKind::Audio, _) => Err(Unsupported::new(DIALECT, Feature::Audio)),
    }
}

fn tool_result(result: &ToolResult, dropped: &mut Dropped) -> Result<String, Unsupported> {
    if result.is_error {
        dropped.add("is_error");
    }
    let output = match result.content.as_slice() {
        [] => quote(""),
        [Content::Text(text)] => quote(text),
        several => list(contents(several.iter())?),
    };
    let item = Object::of_type("function_call_output")
        .text("call_id", &result.id)
        .raw("output", &output);
    Ok(item.end())
}

fn assistant(parts: &[Part], signer: Signer, dropped: &mut Dropped, input: &mut Input) {
    let mut text: Option<String> = None;
    let flush = |text: &mut Option<String>, items: &mut Vec<String>| {
        if let Some(text) = text.take() {
            let message = Object::of_type("message").text("role", "assistant");
            items.push(message.text("content", &text).end());
        }
    };
    for part in parts {
        match &part.content {
            // OpenAI's type of what a model refused wants an id and a status; the words alone say the same.
            Content::Text(more) | Content::Refusal(more) if more.is_empty() => {}
            Content::Text(more) | Content::Refusal(more) => {
                text.get_or_insert_default().push_str(more);
            }
            Content::ToolCall(call) => {
                flush(&mut text, &mut input.items);
                let arguments = if call.arguments.trim().is_empty() {
                    "{}"
                } else {
                    &call.arguments
                };
                let item = Object::of_type("function_call")
                    .text("call_id", &call.id)
                    .text("name", &call.name)
                    .text("arguments", arguments);
                input.items.push(item.end());
            }
            Content::Reasoning(thought) => match thought.signed_by(signer) {
                Some(signature) => {
                    flush(&mut text, &mut input.items);
                    input.items.push(reasoning(&thought.text, signature));
                    input.thoughts = true;
                }
                None => dropped.add("reasoning"),
            },
            Content::Media(_) => dropped.add("media of the assistant"),
            Content::ToolResult(_) => {}
        }
    }
    flush(&mut text, &mut input.items);
}

fn reasoning(text: &str, signature: &Signature) -> String {
    let summary = (!text.is_empty()).then(|| output::summary(text));
    Object::of_type("reasoning")
        // A stream does not tell it, and OpenAI does without where the content is there.
        .maybe_text("id", signature.id.as_deref())
        .list("summary", summary)
        .text("encrypted_content", &signature.value)
        .end()
}
