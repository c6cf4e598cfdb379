//! The conversation as Cohere's messages.

use super::DIALECT;
use crate::error::{Feature, Unsupported};
use crate::request::{Content, Media, MediaKind, MediaSource, Part, Role, ToolResult, Turn};
use crate::writing::{Arguments, Dropped, media_type, object, serialize};
use serde::Serialize;

/// Types of pictures that Cohere's documentation of image inputs names.
const IMAGE_TYPES: [&str; 4] = ["image/png", "image/jpeg", "image/webp", "image/gif"];

/// One message.
#[derive(Debug, Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
pub(super) enum Message<'a> {
    System {
        content: Blocks<'a>,
    },
    User {
        content: Blocks<'a>,
    },
    Assistant {
        #[serde(skip_serializing_if = "Option::is_none")]
        tool_plan: Option<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<ToolCall<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<Blocks<'a>>,
    },
    Tool {
        tool_call_id: &'a str,
        content: String,
    },
}

/// A text alone is written as such.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Blocks<'a> {
    Text(&'a str),
    List(Vec<Block<'a>>),
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: ImageUrl<'a> },
}

#[derive(Debug, Serialize)]
pub(super) struct ImageUrl<'a> {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

#[derive(Debug, Serialize)]
pub(super) struct ToolCall<'a> {
    id: &'a str,
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Debug, Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: String,
}

/// Writes turns, and the system's parts before them. Turns that follow each other and have one role are one message; what tools answered is
/// a message for each before what the user says.
pub(super) fn messages<'r>(
    system: &[&'r Part],
    turns: &[&'r Turn],
    dropped: &mut Dropped,
) -> Result<Vec<Message<'r>>, Unsupported> {
    let mut messages = Vec::new();
    let mut instructions = Vec::new();
    for part in system {
        dropped.add_if(part.cache.is_some(), "cache_control");
        match block(&part.content, dropped)? {
            Some(Block::ImageUrl { .. }) => {
                return Err(unsupported(Feature::Images, "in instructions"));
            }
            text => instructions.extend(text),
        }
    }
    let alone = turns.is_empty();
    messages.extend(blocks(instructions).map(|content| match alone {
        false => Message::System { content },
        // Somebody has to speak.
        true => Message::User { content },
    }));
    for same in turns.chunk_by(|one, next| one.role == next.role) {
        let parts = same.iter().flat_map(|turn| &turn.parts);
        if same.iter().any(|turn| turn.role == Role::Assistant) {
            messages.extend(assistant(parts, dropped)?);
        } else {
            user(parts, &mut messages, dropped)?;
        }
    }
    Ok(messages)
}

fn user<'r>(
    parts: impl Iterator<Item = &'r Part>,
    messages: &mut Vec<Message<'r>>,
    dropped: &mut Dropped,
) -> Result<(), Unsupported> {
    let mut said = Vec::new();
    for part in parts {
        dropped.add_if(part.cache.is_some(), "cache_control");
        match &part.content {
            Content::ToolResult(result) => messages.push(tool(result)?),
            other => said.extend(block(other, dropped)?),
        }
    }
    messages.extend(blocks(said).map(|content| Message::User { content }));
    Ok(())
}

/// What the model thought goes back as its plan where it called tools, as models with and without reasoning take it. After the tools' results
/// nobody needs it: it is left out.
fn assistant<'r>(
    parts: impl Iterator<Item = &'r Part>,
    dropped: &mut Dropped,
) -> Result<Option<Message<'r>>, Unsupported> {
    let mut plan = String::new();
    let mut thought = false;
    let mut tool_calls = Vec::new();
    let mut said = Vec::new();
    for part in parts {
        dropped.add_if(part.cache.is_some(), "cache_control");
        match &part.content {
            Content::Reasoning(it) => {
                thought |= !it.is_empty();
                plan.push_str(&it.text);
            }
            Content::ToolCall(call) => tool_calls.push(ToolCall {
                id: &call.id,
                r#type: "function",
                function: Function {
                    name: &call.name,
                    arguments: Arguments::new(&call.arguments).to_json(),
                },
            }),
            Content::Media(_) => return Err(unsupported(Feature::Images, "of the model")),
            other => said.extend(block(other, dropped)?),
        }
    }
    let content = blocks(said);
    let tool_plan = (!tool_calls.is_empty() && !plan.is_empty()).then_some(plan);
    dropped.add_if(tool_plan.is_none() && thought, "reasoning");
    let silent = tool_calls.is_empty() && content.is_none();
    Ok((!silent).then_some(Message::Assistant {
        tool_plan,
        tool_calls,
        content,
    }))
}

/// Cohere has no word for a tool that failed; an object with an error says it.
fn tool(result: &ToolResult) -> Result<Message<'_>, Unsupported> {
    #[derive(Serialize)]
    struct Failed<T> {
        error: T,
    }
    let mut text = String::new();
    for content in &result.content {
        match content {
            Content::Text(more) | Content::Refusal(more) => text.push_str(more),
            Content::Media(_) => {
                return Err(Unsupported::new(DIALECT, Feature::MediaInToolResults));
            }
            Content::ToolCall(_) | Content::ToolResult(_) | Content::Reasoning(_) => {}
        }
    }
    let content = match (result.is_error, object(&text)) {
        (false, _) => text,
        (true, Some(error)) => serialize(&Failed { error }),
        (true, None) => serialize(&Failed { error: text }),
    };
    Ok(Message::Tool {
        tool_call_id: &result.id,
        content,
    })
}

fn block<'r>(
    content: &'r Content,
    dropped: &mut Dropped,
) -> Result<Option<Block<'r>>, Unsupported> {
    Ok(match content {
        Content::Text(text) | Content::Refusal(text) => {
            (!text.is_empty()).then_some(Block::Text { text })
        }
        Content::Media(media) => Some(picture(media, dropped)?),
        Content::ToolCall(_) | Content::ToolResult(_) | Content::Reasoning(_) => None,
    })
}

fn picture<'r>(media: &'r Media, dropped: &mut Dropped) -> Result<Block<'r>, Unsupported> {
    match media.kind {
        MediaKind::Image => {}
        MediaKind::Document => return Err(Unsupported::new(DIALECT, Feature::Documents)),
        MediaKind::Audio => return Err(Unsupported::new(DIALECT, Feature::Audio)),
    }
    let detail = media.detail.as_deref();
    let known = detail.filter(|detail| ["auto", "low", "high"].contains(detail));
    dropped.add_if(known != detail, "detail");
    dropped.add_if(media.name.is_some(), "filename");
    let url = match &media.source {
        MediaSource::Url(url) => url.clone(),
        MediaSource::Data { mime, .. } if !IMAGE_TYPES.contains(&&*media_type(mime)) => {
            return Err(unsupported(Feature::ImageType, mime));
        }
        MediaSource::Data { mime, base64 } => {
            format!("data:{};base64,{base64}", media_type(mime))
        }
    };
    Ok(Block::ImageUrl {
        image_url: ImageUrl { url, detail: known },
    })
}

fn blocks(list: Vec<Block<'_>>) -> Option<Blocks<'_>> {
    match list.as_slice() {
        [] => None,
        [Block::Text { text }] => Some(Blocks::Text(text)),
        _ => Some(Blocks::List(list)),
    }
}

pub(super) fn unsupported(feature: Feature, detail: &str) -> Unsupported {
    Unsupported {
        dialect: DIALECT,
        feature,
        detail: Some(detail.to_owned()),
    }
}
