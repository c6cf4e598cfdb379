//! The content of turns, as the body has it.

use super::DIALECT;
use crate::error::{Feature, Unsupported};
use crate::messages::turns::{NOTHING, Piece, call_id};
use crate::request::{
    CacheTtl, Content, Media, MediaKind, MediaSource, Request, Thought, ToolCall, ToolResult,
};
use crate::signature::Signer;
use crate::writing::{Arguments, Dropped, media_type};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::HashMap;

/// Longest name of a document, with room for a number (the service model's `DocumentBlockNameString` ends at 200).
const MAX_NAME: usize = 180;

/// The service model's `ImageFormat`, by MIME type.
const PICTURES: [(&str, &str); 4] = [
    ("image/png", "png"),
    ("image/jpeg", "jpeg"),
    ("image/gif", "gif"),
    ("image/webp", "webp"),
];

/// The service model's `DocumentFormat`, by MIME type.
const DOCUMENTS: [(&str, &str); 9] = [
    ("application/pdf", "pdf"),
    ("text/csv", "csv"),
    ("application/msword", "doc"),
    (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "docx",
    ),
    ("application/vnd.ms-excel", "xls"),
    (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "xlsx",
    ),
    ("text/html", "html"),
    ("text/plain", "txt"),
    ("text/markdown", "md"),
];

/// Of the service model's `AudioFormat` those that have a MIME type of their own.
const SOUNDS: [(&str, &str); 14] = [
    ("audio/mpeg", "mp3"),
    ("audio/mp3", "mp3"),
    ("audio/wav", "wav"),
    ("audio/x-wav", "wav"),
    ("audio/wave", "wav"),
    ("audio/aac", "aac"),
    ("audio/flac", "flac"),
    ("audio/mp4", "mp4"),
    ("audio/m4a", "m4a"),
    ("audio/x-m4a", "m4a"),
    ("audio/ogg", "ogg"),
    ("audio/opus", "opus"),
    ("audio/webm", "webm"),
    ("audio/x-matroska", "mka"),
];

/// A block of content; those of the system and of tools' results have some of these, too.
#[derive(Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum Block<'a> {
    Text(Cow<'a, str>),
    Image {
        format: &'static str,
        source: Source<'a>,
    },
    Document {
        format: &'static str,
        name: String,
        source: Source<'a>,
    },
    Audio {
        format: &'static str,
        source: Source<'a>,
    },
    ToolUse {
        tool_use_id: Cow<'a, str>,
        name: &'a str,
        input: Arguments<'a>,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        content: Vec<Block<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<&'static str>,
    },
    ReasoningContent(Reasoning<'a>),
    CachePoint(CachePoint),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Source<'a> {
    Bytes(&'a str),
    S3Location { uri: &'a str },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Reasoning<'a> {
    ReasoningText { text: &'a str, signature: &'a str },
    RedactedContent(&'a str),
}

/// A mark that asks to cache up to here.
#[derive(Serialize)]
pub(super) struct CachePoint {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<&'static str>,
}

/// Where a model lets itself be told to cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caching {
    /// Everywhere, for five minutes or an hour: Claude since 4.5.
    Hour,
    /// Everywhere, for five minutes: Claude before it.
    Minutes,
    /// Not among tools, and for as long as it likes: Nova.
    Plain,
    /// Nowhere.
    None,
}

/// A mark that asks to cache up to here.
fn point(ttl: Option<&'static str>) -> CachePoint {
    CachePoint {
        r#type: "default",
        ttl,
    }
}

/// Writes content.
pub(super) struct Blocks<'a> {
    pub(super) caching: Caching,
    /// Whether calls and results are told as text: the API refuses them where no tool is offered, and cannot offer tools that must not be
    /// called.
    pub(super) told: bool,
    pub(super) dropped: Dropped,
    /// The documents' names, and how often each was given.
    names: HashMap<String, u64>,
    /// The tool of each call.
    tools: HashMap<&'a str, &'a str>,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(request: &'a Request, caching: Caching, told: bool) -> Self {
        Self {
            caching,
            told,
            dropped: Dropped::new(&request.left),
            names: HashMap::new(),
            tools: request.tools_of_calls(),
        }
    }

    /// Names a field that has no place.
    pub(super) fn drop(&mut self, field: &str) {
        self.dropped.add(field);
    }

    /// The parts of a turn.
    pub(super) fn write(&mut self, pieces: &[Piece<'a>]) -> Result<Vec<Block<'a>>, Unsupported> {
        let mut blocks = Vec::new();
        for piece in pieces {
            match piece.content {
                Content::Text(text) | Content::Refusal(text) => {
                    blocks.push(Block::Text(text.into()))
                }
                Content::Media(media) => blocks.push(self.media(media)?),
                Content::ToolCall(call) => blocks.push(self.call(call)),
                Content::ToolResult(result) => self.result(result, &mut blocks)?,
                Content::Reasoning(thought) => blocks.push(reasoning(thought)),
            }
            if let Some(ttl) = piece.cache {
                self.mark(ttl, &mut blocks);
            }
        }
        let is_document = |block: &Block<'_>| matches!(block, Block::Document { .. });
        let is_text = |block: &Block<'_>| matches!(block, Block::Text(_));
        if blocks.iter().any(is_document) && !blocks.iter().any(is_text) {
            blocks.push(Block::Text(NOTHING.into())); // the API wants text beside a document
        }
        Ok(blocks)
    }

    /// Marks that the request is to be cached up to here.
    pub(super) fn mark(&mut self, ttl: CacheTtl, blocks: &mut Vec<Block<'a>>) {
        blocks.extend(self.point(ttl).map(Block::CachePoint));
    }

    /// A mark, if the model takes one.
    pub(super) fn point(&mut self, ttl: CacheTtl) -> Option<CachePoint> {
        match (self.caching, ttl) {
            (Caching::None, _) => {
                self.drop("cache_control");
                None
            }
            (Caching::Hour, CacheTtl::Hour1) => Some(point(Some("1h"))),
            (_, CacheTtl::Hour1) => {
                self.drop("cache_control.ttl");
                Some(point(None))
            }
            (_, CacheTtl::Minutes5) => Some(point(None)),
        }
    }

    fn call(&self, call: &'a ToolCall) -> Block<'a> {
        if self.told {
            let text = format!("[called {} with {}]", call.name, call.arguments);
            return Block::Text(text.into());
        }
        Block::ToolUse {
            tool_use_id: call_id(&call.id, b".:"),
            name: &call.name,
            input: Arguments::new(&call.arguments),
        }
    }

    fn result(
        &mut self,
        result: &'a ToolResult,
        blocks: &mut Vec<Block<'a>>,
    ) -> Result<(), Unsupported> {
        let mut content = Vec::new();
        for inner in &result.content {
            match inner {
                Content::Text(text) if !text.trim().is_empty() => {
                    content.push(Block::Text(text.into()));
                }
                Content::Media(media) if media.kind == MediaKind::Audio => {
                    return Err(Unsupported::new(DIALECT, Feature::MediaInToolResults));
                }
                Content::Media(media) => content.push(self.media(media)?),
                _ => {}
            }
        }
        if self.told {
            let tool = self.tools.get(result.id.as_str()).unwrap_or(&"a tool");
            let verb = if result.is_error {
                "failed"
            } else {
                "answered"
            };
            blocks.push(Block::Text(format!("[{tool} {verb}:]").into()));
            blocks.append(&mut content);
        } else {
            blocks.push(Block::ToolResult {
                tool_use_id: call_id(&result.id, b".:"),
                content,
                // Success is what is meant where nothing is said; not every model takes the field.
                status: result.is_error.then_some("error"),
            });
        }
        Ok(())
    }

    fn media(&mut self, media: &'a Media) -> Result<Block<'a>, Unsupported> {
        if media.detail.is_some() {
            self.drop("detail");
        }
        let (formats, lacking): (&[_], _) = match media.kind {
            MediaKind::Image => (&PICTURES, Feature::ImageType),
            MediaKind::Document => (&DOCUMENTS, Feature::Documents),
            MediaKind::Audio => (&SOUNDS, Feature::Audio),
        };
        let lacks = |feature, detail: &str| Unsupported {
            dialect: DIALECT,
            feature,
            detail: Some(detail.to_owned()),
        };
        let (mime, source) = match &media.source {
            MediaSource::Data { mime, base64 } => (media_type(mime), Source::Bytes(base64)),
            MediaSource::Url(uri) if uri.starts_with("s3://") => {
                let ending = uri.rsplit('.').next().unwrap_or_default();
                (media_type(ending), Source::S3Location { uri })
            }
            MediaSource::Url(_) if media.kind == MediaKind::Image => {
                return Err(Unsupported::new(DIALECT, Feature::ImageUrls));
            }
            MediaSource::Url(_) => return Err(lacks(lacking, "by address")),
        };
        let known = formats.iter().find(|(known, format)| {
            *known == mime || *format == mime || (*format == "jpeg" && mime == "jpg")
        });
        let Some((_, format)) = known else {
            return Err(lacks(lacking, &mime));
        };
        Ok(match media.kind {
            MediaKind::Image => Block::Image { format, source },
            MediaKind::Audio => Block::Audio { format, source },
            MediaKind::Document => Block::Document {
                format,
                name: self.name(media.name.as_deref()),
                source,
            },
        })
    }

    /// A document's name of letters, digits, single spaces, hyphens, parentheses and brackets, as the API wants it, and not given twice.
    fn name(&mut self, given: Option<&str>) -> String {
        let fits = |letter: char| letter.is_ascii_alphanumeric() || "-()[]".contains(letter);
        let words = given.unwrap_or_default().split_whitespace();
        let words: Vec<String> = words
            .map(|word| {
                let letters = word.chars().map(|c| if fits(c) { c } else { '-' });
                letters.collect()
            })
            .collect();
        let mut base: String = words.join(" ").chars().take(MAX_NAME).collect();
        base.truncate(base.trim_end().len());
        if base.is_empty() {
            "document".clone_into(&mut base);
        }
        let mut name = base.clone();
        while self.names.contains_key(&name) {
            let given = self.names.entry(base.clone()).or_insert(1);
            *given += 1;
            name = format!("{base} ({given})");
        }
        self.names.insert(name.clone(), 1);
        name
    }
}

/// Whether Claude on Bedrock takes a thought back. What was redacted is bytes here.
pub(super) fn takes(thought: &Thought) -> bool {
    thought
        .signed_by(Signer::Anthropic)
        .is_some_and(|signature| !thought.redacted || STANDARD.decode(&signature.value).is_ok())
}

fn reasoning(thought: &Thought) -> Block<'_> {
    let signature = thought.signature.as_ref();
    let signature = signature.map_or("", |signature| &signature.value);
    Block::ReasoningContent(if thought.redacted {
        Reasoning::RedactedContent(signature)
    } else {
        Reasoning::ReasoningText {
            text: &thought.text,
            signature,
        }
    })
}
