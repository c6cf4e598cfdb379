//! The content of a caller's turns.

use super::OF_CALL;
use super::fields::At;
use crate::error::{Feature, Invalid};
use crate::openai::media::is_address;
use crate::request::{
    CacheTtl, Content, Media, MediaKind, MediaSource, Part, Role, Thought, ToolCall, ToolResult,
};
use crate::signature::{Signature, Signer};
use crate::writing::Dropped;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What a request holds beside what the neutral form has.
#[derive(Default)]
pub(super) struct Notes {
    /// As [`crate::Request::left`].
    pub(super) left: Dropped,
    /// As [`crate::Request::only_here`].
    pub(super) only_here: Vec<(Feature, String)>,
    /// The signature of the call that follows.
    of_call: Option<Signature>,
}

impl Notes {
    /// A field has no place elsewhere.
    pub(super) fn leave(&mut self, field: impl Into<String>) {
        self.left.add(&field.into());
    }

    /// Only Anthropic can do this.
    pub(super) fn only_here(&mut self, feature: Feature, detail: impl Into<String>) {
        self.only_here.push((feature, detail.into()));
    }
}

/// A field that is a string or a list of blocks.
pub(super) fn read_parts(
    at: &At<'_>,
    field: &str,
    role: Role,
    notes: &mut Notes,
) -> Result<Vec<Part>, Invalid> {
    let Some(value) = at.get(field) else {
        return Err(at.wrong(field, "is missing: write a string or a list of blocks"));
    };
    if value.get().starts_with('"') {
        return Ok(vec![Content::Text(at.needed_text(field)?).into()]);
    }
    if !value.get().starts_with('[') {
        return Err(at.wrong(field, "is neither a string nor a list of blocks"));
    }
    let mut parts = Vec::new();
    notes.of_call = None; // one of another turn
    for block in at.objects(field)? {
        read_block(&block, role, &mut parts, notes)?;
    }
    Ok(parts)
}

fn read_block(
    block: &At<'_>,
    role: Role,
    parts: &mut Vec<Part>,
    notes: &mut Notes,
) -> Result<(), Invalid> {
    let kind = block.needed_text("type")?;
    let mut cache = read_cache(block)?;
    if role == Role::System && kind != "text" {
        return Err(block.wrong("type", "is not text, the only kind of a system prompt"));
    }
    let content = match kind.as_str() {
        "text" => Content::Text(block.needed_text("text")?),
        "image" => match read_image(block, notes)? {
            Some(media) => Content::Media(media),
            None => return Ok(()),
        },
        "document" => {
            let (documents, inner) = read_document(block, notes)?;
            parts.extend(documents.into_iter().map(Part::from));
            if let Some(last) = parts.last_mut() {
                last.cache = last.cache.or(cache).or(inner);
            }
            return Ok(());
        }
        "tool_use" if role == Role::Assistant => Content::ToolCall(ToolCall {
            id: block.needed_text("id")?,
            name: block.needed_text("name")?,
            arguments: {
                block.needed_object("input")?;
                block.get("input").map_or("{}", |raw| raw.get()).to_owned()
            },
            signature: notes.of_call.take(),
        }),
        "tool_result" if role == Role::User => {
            let (result, inner) = read_result(block, notes)?;
            cache = cache.or(inner);
            Content::ToolResult(result)
        }
        "thinking" if role == Role::Assistant => {
            let text = block.needed_text("thinking")?;
            let signature = block.text("signature")?.filter(|text| !text.is_empty());
            let of_call = signature.as_deref().filter(|_| text.is_empty());
            if let Some(signature) = of_call.and_then(|text| text.strip_prefix(OF_CALL)) {
                notes.of_call = Some(Signature::read(signature, Signer::Anthropic));
                return Ok(());
            }
            Content::Reasoning(Thought {
                text,
                signature: signature.map(|text| Signature::read(&text, Signer::Anthropic)),
                ..Thought::default()
            })
        }
        "redacted_thinking" if role == Role::Assistant => Content::Reasoning(Thought {
            signature: Some(Signature::read(
                &block.needed_text("data")?,
                Signer::Anthropic,
            )),
            redacted: true,
            ..Thought::default()
        }),
        "tool_use" | "thinking" | "redacted_thinking" => {
            return Err(block.wrong("type", "has a place only in the assistant's messages"));
        }
        "tool_result" => {
            return Err(block.wrong("type", "has a place only in the user's messages"));
        }
        "search_result" => {
            notes.only_here(Feature::Documents, kind);
            return Ok(());
        }
        "container_upload" => {
            notes.only_here(Feature::StoredState, kind);
            return Ok(());
        }
        // What the vendor's own tools do, and what is newer than this.
        _ => {
            notes.only_here(Feature::VendorTools, kind);
            return Ok(());
        }
    };
    parts.push(Part { content, cache });
    Ok(())
}

/// The mark that asks to cache up to here.
pub(super) fn read_cache(block: &At<'_>) -> Result<Option<CacheTtl>, Invalid> {
    let Some(cache) = block.object("cache_control")? else {
        return Ok(None);
    };
    match cache.text("ttl")?.as_deref() {
        None | Some("5m") => Ok(Some(CacheTtl::Minutes5)),
        Some("1h") => Ok(Some(CacheTtl::Hour1)),
        Some(_) => Err(cache.wrong("ttl", "is neither 5m nor 1h")),
    }
}

fn media(kind: MediaKind, source: MediaSource, name: Option<String>) -> Media {
    Media {
        kind,
        source,
        name,
        detail: None,
    }
}

fn read_image(block: &At<'_>, notes: &mut Notes) -> Result<Option<Media>, Invalid> {
    if block.get("transformations").is_some() {
        notes.leave("transformations");
    }
    let source = block.needed_object("source")?;
    let found = match source.needed_text("type")?.as_str() {
        "base64" => MediaSource::Data {
            mime: source.needed_text("media_type")?,
            base64: source.needed_text("data")?,
        },
        "url" => MediaSource::Url(address(&source)?),
        "file" => {
            notes.only_here(Feature::StoredState, "file");
            return Ok(None);
        }
        _ => return Err(source.wrong("type", "is none of base64, url and file")),
    };
    Ok(Some(media(MediaKind::Image, found, None)))
}

/// An address. Whoever is asked in other words could not tell another text from one.
fn address(source: &At<'_>) -> Result<String, Invalid> {
    let url = source.needed_text("url")?;
    if is_address(&url) {
        Ok(url)
    } else {
        Err(source.wrong("url", "must begin with https://"))
    }
}

/// A document; one that is made of texts and pictures becomes them. With it the mark of a cache within it.
fn read_document(
    block: &At<'_>,
    notes: &mut Notes,
) -> Result<(Vec<Content>, Option<CacheTtl>), Invalid> {
    for field in ["citations", "context"] {
        if block.get(field).is_some() {
            notes.leave(field);
        }
    }
    let name = block.text("title")?;
    let source = block.needed_object("source")?;
    let plain = |text: String| MediaSource::Data {
        mime: "text/plain".to_owned(),
        base64: STANDARD.encode(text),
    };
    let found = match source.needed_text("type")?.as_str() {
        "base64" => MediaSource::Data {
            mime: source.needed_text("media_type")?,
            base64: source.needed_text("data")?,
        },
        "text" => plain(source.needed_text("data")?),
        "url" => MediaSource::Url(address(&source)?),
        "file" => {
            notes.only_here(Feature::StoredState, "file");
            return Ok((Vec::new(), None));
        }
        "content" => {
            let parts = read_inner(&source, notes)?;
            let cache = parts.iter().rev().find_map(|part| part.cache);
            let inner: Vec<_> = parts.into_iter().map(|part| part.content).collect();
            let [Content::Text(text)] = inner.as_slice() else {
                return Ok((inner, cache));
            };
            let whole = media(MediaKind::Document, plain(text.clone()), name);
            return Ok((vec![Content::Media(whole)], cache));
        }
        _ => return Err(source.wrong("type", "is none of base64, text, url, content and file")),
    };
    let document = media(MediaKind::Document, found, name);
    Ok((vec![Content::Media(document)], None))
}

/// The content of a document, or of a tool's result: text and media.
fn read_inner(at: &At<'_>, notes: &mut Notes) -> Result<Vec<Part>, Invalid> {
    let parts = read_parts(at, "content", Role::User, notes)?;
    let is_result = |part: &Part| matches!(part.content, Content::ToolResult(_));
    if parts.iter().any(is_result) {
        return Err(at.wrong(
            "content",
            "holds a tool_result, which has a place only in a message",
        ));
    }
    Ok(parts)
}

/// What a tool answered, and the mark of a cache within it.
fn read_result(
    block: &At<'_>,
    notes: &mut Notes,
) -> Result<(ToolResult, Option<CacheTtl>), Invalid> {
    let parts = match block.get("content") {
        None => Vec::new(),
        Some(_) => read_inner(block, notes)?,
    };
    let cache = parts.iter().rev().find_map(|part| part.cache);
    let result = ToolResult {
        id: block.needed_text("tool_use_id")?,
        content: parts.into_iter().map(|part| part.content).collect(),
        is_error: block.boolean("is_error")?.unwrap_or(false),
    };
    Ok((result, cache))
}
