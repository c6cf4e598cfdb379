//! Cohere's embed, version 2.

use super::{EmbedRequest, Embedded, texts, unsupported, vectors, written};
use crate::answer::MAX_TOKENS;
use crate::error::{Feature, NotAnAnswer, Unsupported};
use crate::reading::Json;
use crate::request::Written;
use serde::Serialize;

/// Where it is, below the address of the service.
pub const PATH: &str = "/v2/embed";

/// Most texts of one body.
const MOST: usize = 96;

/// A body. OpenAI has no word for what a text is for; Cohere wants one, and documents for a search are what most texts are. A text that is too long is
/// an error, as with OpenAI, and is not cut.
#[derive(Serialize)]
pub(super) struct Body<'a> {
    /// Bedrock has it in the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    texts: &'a [String],
    input_type: &'static str,
    embedding_types: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimension: Option<u64>,
    truncate: &'static str,
}

/// Writes requests to `model`, each of at most 96 texts.
///
/// # Errors
/// [`Unsupported`] for tokens, and for lengths with models of version 3 and before.
pub fn write_requests(request: &EmbedRequest, model: &str) -> Result<Vec<Written>, Unsupported> {
    let bodies = bodies(request, model, Some(model))?;
    Ok(written(bodies, request))
}

pub(super) fn bodies<'r>(
    request: &'r EmbedRequest,
    version_of: &str,
    model: Option<&'r str>,
) -> Result<impl Iterator<Item = Body<'r>>, Unsupported> {
    let texts = texts(request, "cohere")?;
    let fixed = ["-v2", "-v3"].iter().any(|old| version_of.contains(old));
    if let (Some(length), true) = (request.dimensions, fixed) {
        let detail = format!("{length} with {version_of}");
        return Err(unsupported("cohere", Feature::Dimensions, detail));
    }
    Ok(texts.chunks(MOST).map(move |texts| Body {
        model,
        texts,
        input_type: "search_document",
        embedding_types: ["float"],
        output_dimension: request.dimensions,
        truncate: "NONE",
    }))
}

/// Reads an answer: vectors by type, or, as older models answer, alone.
///
/// # Errors
/// [`NotAnAnswer`] for what has no vectors.
pub fn read_answer(body: &str) -> Result<Embedded, NotAnAnswer> {
    let body = Json::parse(body).ok_or_else(|| NotAnAnswer::new("the body is not JSON"))?;
    let [embeddings, meta] = body.pick(["embeddings", "meta"]);
    let list = match embeddings {
        Some(by_type) if by_type.is_object() => by_type.get("float"),
        list => list,
    };
    let list = list.ok_or_else(|| NotAnAnswer::new("the body has no embeddings"))?;
    let tokens = meta.and_then(|meta| {
        let [billed, counted] = meta.pick(["billed_units", "tokens"]);
        let stated = |from: Option<Json<'_>>| from?.get("input_tokens")?.count();
        stated(billed).or_else(|| stated(counted))
    });
    Ok(Embedded {
        model: None,
        vectors: vectors::read_all(list, None)?,
        input_tokens: tokens.filter(|tokens| *tokens <= MAX_TOKENS),
    })
}
