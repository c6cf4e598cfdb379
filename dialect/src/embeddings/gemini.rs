//! Gemini's batchEmbedContents.

use super::{EmbedRequest, Embedded, texts, vectors, written};
use crate::answer::MAX_TOKENS;
use crate::error::{NotAnAnswer, Unsupported};
use crate::gemini::method_path;
use crate::reading::Json;
use crate::request::Written;
use serde::Serialize;

/// Most texts of one body.
const MOST: usize = 100;

#[derive(Serialize)]
struct Body<'a> {
    requests: Vec<Request<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    model: String,
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimensionality: Option<u64>,
}

#[derive(Serialize)]
struct Content<'a> {
    parts: [Part<'a>; 1],
}

#[derive(Serialize)]
struct Part<'a> {
    text: &'a str,
}

/// Where a model embeds, below the address of the service.
#[must_use]
pub fn path(model: &str) -> String {
    method_path(model, "batchEmbedContents")
}

/// Writes requests to `model`, each of at most 100 texts.
///
/// # Errors
/// [`Unsupported`] for tokens.
pub fn write_requests(request: &EmbedRequest, model: &str) -> Result<Vec<Written>, Unsupported> {
    let texts = texts(request, "gemini")?;
    let collection = if model.contains('/') { "" } else { "models/" };
    let bodies = texts.chunks(MOST).map(|texts| Body {
        requests: texts
            .iter()
            .map(|text| Request {
                model: format!("{collection}{model}"),
                content: Content {
                    parts: [Part { text }],
                },
                output_dimensionality: request.dimensions,
            })
            .collect(),
    });
    Ok(written(bodies, request))
}

/// Reads an answer.
///
/// # Errors
/// [`NotAnAnswer`] for what has no vectors.
pub fn read_answer(body: &str) -> Result<Embedded, NotAnAnswer> {
    let body = Json::parse(body).ok_or_else(|| NotAnAnswer::new("the body is not JSON"))?;
    let [embeddings, usage] = body.pick(["embeddings", "usageMetadata"]);
    let embeddings = embeddings.ok_or_else(|| NotAnAnswer::new("the body has no embeddings"))?;
    let tokens = usage.and_then(|usage| usage.get("promptTokenCount")?.count());
    Ok(Embedded {
        model: None,
        vectors: vectors::read_all(embeddings, Some("values"))?,
        input_tokens: tokens.filter(|tokens| *tokens <= MAX_TOKENS),
    })
}
