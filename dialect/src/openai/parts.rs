//! The parts of a caller's messages.

use crate::error::Invalid;
use crate::openai::media;
use crate::openai::node::Node;
use crate::request::{Content, Media, MediaKind, MediaSource, Part, Request};

/// Reads one part; `None` for one that only its dialect has.
type Read = fn(&mut Node, &mut Request) -> Result<Option<Content>, Invalid>;

/// A text, or a list of parts.
pub(crate) fn contents(
    node: Node,
    request: &mut Request,
    read: Read,
) -> Result<Vec<Part>, Invalid> {
    let node = match node.try_text() {
        Ok(text) => return Ok(vec![Content::Text(text).into()]),
        Err(node) => node,
    };
    let path = node.path.clone();
    let items = node
        .list()
        .map_err(|_| Invalid::field(path, "must be a string or a list of parts"))?;
    let mut parts = Vec::new();
    for item in items {
        let mut item = item.object()?;
        let cache = item.take_cache();
        if let Some(content) = read(&mut item, request)? {
            parts.push(Part { content, cache });
        }
    }
    Ok(parts)
}

/// A medium.
pub(crate) fn medium(
    kind: MediaKind,
    source: MediaSource,
    name: Option<String>,
    detail: Option<String>,
) -> Content {
    Content::Media(Media {
        kind,
        source,
        name,
        detail,
    })
}

/// A sound: its data and format.
pub(crate) fn sound(item: &mut Node) -> Result<Content, Invalid> {
    let mut audio = item.required("input_audio")?.object()?;
    let source = MediaSource::Data {
        base64: audio.required_text("data")?,
        mime: media::audio_mime(&audio.required_text("format")?),
    };
    Ok(medium(MediaKind::Audio, source, None, None))
}
