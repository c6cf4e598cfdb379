//! Embeddings through Bedrock's InvokeModel: Amazon's Titan Text Embeddings V2 and Cohere's Embed.
//!
//! Cohere's answers there do not say how many tokens they took; Bedrock does, in the header `x-amzn-bedrock-input-token-count`.

use super::{EmbedRequest, Embedded, cohere, texts, unsupported, vectors, written};
use crate::answer::MAX_TOKENS;
use crate::error::{Feature, NotAnAnswer, Unsupported};
use crate::reading::Json;
use crate::request::Written;
use crate::writing::path_segment;
use serde::Serialize;

const DIALECT: &str = "bedrock";
/// Lengths of Titan's vectors (Bedrock's documentation of the model's parameters).
const TITAN_LENGTHS: [u64; 3] = [256, 512, 1_024];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Titan<'a> {
    input_text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u64>,
}

/// Where a model is invoked, below the address of the runtime.
#[must_use]
pub fn path(model: &str) -> String {
    format!("/model/{}/invoke", path_segment(model))
}

/// Writes requests to `model`: one for each text to Titan, one for up to 96 to Cohere. The model's name may have a region before it, or be
/// the end of an ARN.
///
/// # Errors
/// [`Unsupported`] for other models, for tokens, and for lengths that the model does not have.
pub fn write_requests(request: &EmbedRequest, model: &str) -> Result<Vec<Written>, Unsupported> {
    if model.contains("cohere.embed") {
        let bodies = cohere::bodies(request, model, None)?;
        return Ok(written(bodies, request));
    }
    if !model.contains("amazon.titan-embed-text-v2") {
        return Err(unsupported(DIALECT, Feature::Embeddings, model.to_owned()));
    }
    let texts = texts(request, DIALECT)?;
    let dimensions = request.dimensions;
    if let Some(length) = dimensions.filter(|length| !TITAN_LENGTHS.contains(length)) {
        return Err(unsupported(
            DIALECT,
            Feature::Dimensions,
            length.to_string(),
        ));
    }
    let bodies = texts.iter().map(|text| Titan {
        input_text: text,
        dimensions,
    });
    Ok(written(bodies, request))
}

/// Reads an answer of either.
///
/// # Errors
/// [`NotAnAnswer`] for what has no vectors.
pub fn read_answer(body: &str) -> Result<Embedded, NotAnAnswer> {
    let json = Json::parse(body).ok_or_else(|| NotAnAnswer::new("the body is not JSON"))?;
    let [vector, tokens] = json.pick(["embedding", "inputTextTokenCount"]);
    let Some(vector) = vector else {
        return cohere::read_answer(body);
    };
    let tokens = tokens.and_then(Json::count);
    Ok(Embedded {
        model: None,
        vectors: vec![vectors::read(vector)?],
        input_tokens: tokens.filter(|tokens| *tokens <= MAX_TOKENS),
    })
}
