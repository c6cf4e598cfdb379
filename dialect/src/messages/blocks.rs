//! The content of turns, as an upstream's body has it.

use super::DIALECT;
use super::turns::{Piece, call_id};
use crate::error::{Feature, Unsupported};
use crate::request::{CacheTtl, Content, Media, MediaKind, MediaSource, ToolResult};
use crate::writing::{Arguments, Dropped, media_type};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use std::borrow::Cow;

/// The types of pictures that the API takes (the SDK's `Base64ImageSourceParam`).
const PICTURES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

/// A mark that asks to cache up to here.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Cache {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<&'static str>,
}

impl From<CacheTtl> for Cache {
    fn from(ttl: CacheTtl) -> Self {
        Self {
            r#type: "ephemeral",
            ttl: (ttl == CacheTtl::Hour1).then_some("1h"),
        }
    }
}

/// A block.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block<'a> {
    Text {
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<Cache>,
    },
    Image {
        source: Source<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<Cache>,
    },
    Document {
        source: Source<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<Cache>,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: &'a str,
        input: Arguments<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<Cache>,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        content: Vec<Block<'a>>,
        #[serde(skip_serializing_if = "is_false")]
        is_error: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<Cache>,
    },
    Thinking {
        thinking: &'a str,
        signature: &'a str,
    },
    RedactedThinking {
        data: &'a str,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Where a medium is.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Source<'a> {
    Base64 {
        media_type: Cow<'a, str>,
        data: &'a str,
    },
    Url {
        url: &'a str,
    },
    Text {
        media_type: &'static str,
        data: String,
    },
}

/// A text.
pub(super) fn text(text: &str, cache: Option<CacheTtl>) -> Block<'_> {
    Block::Text {
        text,
        cache_control: cache.map(Cache::from),
    }
}

/// A part of a turn.
pub(super) fn write_block<'a>(
    piece: Piece<'a>,
    dropped: &mut Dropped,
) -> Result<Block<'a>, Unsupported> {
    let cache_control = piece.cache.map(Cache::from);
    Ok(match piece.content {
        Content::Text(words) | Content::Refusal(words) => text(words, piece.cache),
        Content::Media(media) => write_media(media, cache_control, dropped)?,
        Content::ToolCall(call) => Block::ToolUse {
            id: call_id(&call.id, b""),
            name: &call.name,
            input: Arguments::new(&call.arguments),
            cache_control,
        },
        Content::ToolResult(result) => write_result(result, cache_control, dropped)?,
        Content::Reasoning(thought) => {
            let signature = thought.signature.as_ref();
            let signature = signature.map_or("", |signature| &signature.value);
            if thought.redacted {
                Block::RedactedThinking { data: signature }
            } else {
                Block::Thinking {
                    thinking: &thought.text,
                    signature,
                }
            }
        }
    })
}

fn write_result<'a>(
    result: &'a ToolResult,
    cache_control: Option<Cache>,
    dropped: &mut Dropped,
) -> Result<Block<'a>, Unsupported> {
    let mut content = Vec::new();
    for inner in &result.content {
        match inner {
            Content::Text(words) if !words.trim().is_empty() => content.push(text(words, None)),
            Content::Media(media) => content.push(write_media(media, None, dropped)?),
            _ => {}
        }
    }
    Ok(Block::ToolResult {
        tool_use_id: call_id(&result.id, b""),
        content,
        is_error: result.is_error,
        cache_control,
    })
}

fn write_media<'a>(
    media: &'a Media,
    cache_control: Option<Cache>,
    dropped: &mut Dropped,
) -> Result<Block<'a>, Unsupported> {
    let lacks = |feature, detail: &str| Unsupported {
        dialect: DIALECT,
        feature,
        detail: Some(detail.to_owned()),
    };
    dropped.add_if(media.detail.is_some(), "detail");
    let source = match (&media.source, media.kind) {
        (_, MediaKind::Audio) => return Err(Unsupported::new(DIALECT, Feature::Audio)),
        (MediaSource::Url(url), _) => Source::Url { url },
        (MediaSource::Data { mime, base64 }, kind) => {
            let media_type = media_type(mime);
            match kind {
                MediaKind::Image if PICTURES.contains(&&*media_type) => {}
                MediaKind::Image => return Err(lacks(Feature::ImageType, &media_type)),
                _ if media_type == "application/pdf" => {}
                _ => {
                    let text = media_type
                        .starts_with("text/")
                        .then(|| STANDARD.decode(base64).ok())
                        .flatten()
                        .and_then(|bytes| String::from_utf8(bytes).ok());
                    let data = text.ok_or_else(|| lacks(Feature::Documents, &media_type))?;
                    let source = Source::Text {
                        media_type: "text/plain",
                        data,
                    };
                    return Ok(Block::Document {
                        source,
                        title: media.name.as_deref(),
                        cache_control,
                    });
                }
            }
            Source::Base64 {
                media_type,
                data: base64,
            }
        }
    };
    Ok(match media.kind {
        MediaKind::Image => Block::Image {
            source,
            cache_control,
        },
        _ => Block::Document {
            source,
            title: media.name.as_deref(),
            cache_control,
        },
    })
}
