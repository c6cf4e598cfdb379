//! The conversation as Gemini's contents.

use super::DIALECT;
use super::model::Model;
use super::part::{
    FileData, FunctionCall, FunctionResponse, InlineData, NOT_OURS, Part, Response, ResponsePart,
};
use crate::error::{Feature, Unsupported};
use crate::request::{Content, Media, MediaKind, MediaSource, Request, Role, ToolResult, Turn};
use crate::signature::{Signature, Signer};
use crate::writing::{Arguments, Dropped, media_type, object};
use serde::Serialize;
use std::collections::HashMap;

/// Types of pictures that Gemini's documentation of image input names.
const IMAGE_TYPES: [&str; 5] = [
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/heic",
    "image/heif",
];

/// What one speaker says.
#[derive(Debug, Serialize)]
pub(super) struct Spoken<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    pub parts: Vec<Part<'a>>,
}

/// Writes turns.
pub(super) struct Writing<'r, 'd> {
    pub model: Model,
    pub dropped: &'d mut Dropped,
    /// The tool of each call.
    tools: HashMap<&'r str, &'r str>,
}

impl<'r, 'd> Writing<'r, 'd> {
    pub(super) fn new(request: &'r Request, model: Model, dropped: &'d mut Dropped) -> Self {
        Self {
            model,
            dropped,
            tools: request.tools_of_calls(),
        }
    }

    /// Turns that follow each other and have one role are one content. What tools answered is a content of its own before what the user says: Gemini
    /// wants as many responses right after the model's turn as that has calls.
    pub(super) fn contents(&mut self, turns: &[&'r Turn]) -> Result<Vec<Spoken<'r>>, Unsupported> {
        let mut contents = Vec::new();
        for same in turns.chunk_by(|one, next| one.role == next.role) {
            let of_model = same.iter().any(|turn| turn.role == Role::Assistant);
            let mut results = Vec::new();
            let mut parts = Vec::new();
            for part in same.iter().flat_map(|turn| &turn.parts) {
                self.dropped.add_if(part.cache.is_some(), "cache_control");
                match &part.content {
                    Content::ToolResult(result) => results.push(self.result(result)?),
                    other => parts.extend(self.part(other)?),
                }
            }
            if of_model && self.model.modern {
                sign_first_call(&mut parts);
            }
            let role = Some(if of_model { "model" } else { "user" });
            let both = [results, parts]
                .into_iter()
                .filter(|parts| !parts.is_empty());
            contents.extend(both.map(|parts| Spoken { role, parts }));
        }
        Ok(contents)
    }

    /// A part that is no result. Gemini refuses empty texts.
    pub(super) fn part(&mut self, content: &'r Content) -> Result<Option<Part<'r>>, Unsupported> {
        Ok(match content {
            Content::Text(text) | Content::Refusal(text) => (!text.is_empty()).then(|| Part {
                text: Some(text),
                ..Part::default()
            }),
            Content::Media(media) => Some(self.media(media)?),
            Content::ToolCall(call) => Some(Part {
                function_call: Some(FunctionCall {
                    id: &call.id,
                    name: &call.name,
                    args: Arguments::new(&call.arguments),
                }),
                thought_signature: googles(call.signature.as_ref()),
                ..Part::default()
            }),
            // Thoughts are not sent back. Their signature is: on an empty text, as Gemini itself sends it at the end of a stream.
            Content::Reasoning(thought) => {
                googles(thought.signature.as_ref()).map(|signature| Part {
                    text: Some(""),
                    thought_signature: Some(signature),
                    ..Part::default()
                })
            }
            Content::ToolResult(result) => Some(self.result(result)?),
        })
    }

    fn media(&mut self, media: &'r Media) -> Result<Part<'r>, Unsupported> {
        let looked_at = media.detail.as_deref().unwrap_or("auto");
        self.dropped.add_if(looked_at != "auto", "detail");
        self.dropped.add_if(media.name.is_some(), "filename");
        match &media.source {
            MediaSource::Data { .. } => Ok(Part {
                inline_data: Some(inline(media)?),
                ..Part::default()
            }),
            MediaSource::Url(url) => self.address(media.kind, url),
        }
    }

    /// Gemini fetches pictures and documents itself (its documentation of file input methods). That is newer than the models of generation 2.0,
    /// which are not asked to. A type that the address does not end in is left to what the server there says.
    fn address(&self, kind: MediaKind, url: &'r str) -> Result<Part<'r>, Unsupported> {
        let fetches = self.model.thinking != super::model::Thinking::None;
        if !fetches {
            let feature = match kind {
                MediaKind::Image => Feature::ImageUrls,
                MediaKind::Document => Feature::Documents,
                MediaKind::Audio => Feature::Audio,
            };
            return Err(unsupported(feature, "by address, with this model"));
        }
        Ok(Part {
            file_data: Some(FileData {
                mime_type: type_of_address(url),
                file_uri: url,
            }),
            ..Part::default()
        })
    }

    fn result(&mut self, result: &'r ToolResult) -> Result<Part<'r>, Unsupported> {
        let mut text = String::new();
        let mut parts = Vec::new();
        for content in &result.content {
            match content {
                Content::Text(more) | Content::Refusal(more) => text.push_str(more),
                Content::Media(media) if !self.model.modern => {
                    let kind = format!("{:?}", media.kind).to_lowercase();
                    return Err(unsupported(Feature::MediaInToolResults, &kind));
                }
                Content::Media(media) => parts.push(ResponsePart {
                    inline_data: inline(media)?,
                }),
                Content::ToolCall(_) | Content::ToolResult(_) | Content::Reasoning(_) => {}
            }
        }
        let name = self.tools.get(result.id.as_str()).copied();
        Ok(Part {
            function_response: Some(FunctionResponse {
                id: &result.id,
                name: name.unwrap_or(&result.id),
                response: match (object(&text), result.is_error) {
                    (Some(object), false) => Response::Object(object),
                    (Some(error), true) => Response::ErrorObject { error },
                    (None, false) => Response::Result { result: text },
                    (None, true) => Response::Error { error: text },
                },
                parts,
            }),
            ..Part::default()
        })
    }
}

/// A signature that Google takes back.
fn googles(signature: Option<&Signature>) -> Option<&str> {
    let signature = signature.filter(|signature| signature.by == Signer::Google)?;
    (!signature.value.is_empty()).then_some(signature.value.as_str())
}

/// The first call of a turn must have a signature, the others need none.
fn sign_first_call(parts: &mut [Part<'_>]) {
    let first = parts.iter_mut().find(|part| part.function_call.is_some());
    if let Some(part) = first {
        part.thought_signature.get_or_insert(NOT_OURS);
    }
}

fn inline(media: &Media) -> Result<InlineData<'_>, Unsupported> {
    let MediaSource::Data { mime, base64 } = &media.source else {
        return Err(unsupported(Feature::MediaInToolResults, "by address"));
    };
    let mime_type = media_type(mime);
    if media.kind == MediaKind::Image && !IMAGE_TYPES.contains(&&*mime_type) {
        return Err(unsupported(Feature::ImageType, mime));
    }
    Ok(InlineData {
        mime_type,
        data: base64,
    })
}

fn type_of_address(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let (_, ending) = path.rsplit('/').next()?.rsplit_once('.')?;
    Some(match ending.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "mp3" => "audio/mp3",
        "wav" => "audio/wav",
        "flac" => "audio/flac",
        "ogg" => "audio/ogg",
        "aac" => "audio/aac",
        _ => return None,
    })
}

pub(super) fn unsupported(feature: Feature, detail: &str) -> Unsupported {
    Unsupported {
        dialect: DIALECT,
        feature,
        detail: Some(detail.to_owned()),
    }
}
