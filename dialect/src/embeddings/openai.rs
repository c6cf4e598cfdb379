//! Servers that speak OpenAI's embeddings. The fields that were not understood do not go to them: who keeps the caller's bytes writes none, but
//! edits them with [`adapt`] and reads the answer with [`read_passed`].

use super::{EmbedRequest, Embedded, Encoding, Input, vectors};
use crate::answer::MAX_TOKENS;
use crate::chat::{Flavour, rename};
use crate::error::{NotAnAnswer, Unsupported};
use crate::json::Fields;
use crate::reading::{Json, filled};
use crate::request::Written;
use crate::writing::serialize;
use serde::Serialize;

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    input: Inputs<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u64>,
    encoding_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Inputs<'a> {
    Texts(&'a [String]),
    Tokens(&'a [Vec<u32>]),
}

/// Writes a request to `model`: always one body. The vectors are asked for as the caller wants them, since not every server knows base64.
///
/// # Errors
/// None.
pub fn write_requests(request: &EmbedRequest, model: &str) -> Result<Vec<Written>, Unsupported> {
    let body = Body {
        model,
        input: match &request.input {
            Input::Texts(texts) => Inputs::Texts(texts),
            Input::Tokens(lists) => Inputs::Tokens(lists),
        },
        dimensions: request.dimensions,
        encoding_format: match request.encoding {
            Encoding::Float => "float",
            Encoding::Base64 => "base64",
        },
        user: request.user.as_deref(),
    };
    Ok(vec![Written {
        body: serialize(&body),
        dropped: request.left.clone(),
    }])
}

/// Edits a body that goes on as it came: Mistral has another name for the length of vectors, and refuses the name of a user. Returns the names of what
/// was left out.
pub fn adapt(fields: &mut Fields, flavour: Flavour) -> Vec<String> {
    let mut dropped = Vec::new();
    if flavour == Flavour::Mistral {
        rename(fields, "dimensions", "output_dimension");
        let stated = fields.get("user").is_some();
        if fields.remove("user") && stated {
            dropped.push("user".to_owned());
        }
    }
    dropped
}

/// Reads how many vectors an answer has that goes on as it came, and what was counted. The vectors themselves are not read.
///
/// # Errors
/// [`NotAnAnswer`] for what has no vectors.
pub fn read_passed(body: &str) -> Result<(usize, Embedded), NotAnAnswer> {
    let body = Json::parse(body).ok_or_else(|| NotAnAnswer::new("the body is not JSON"))?;
    let [data, model, usage] = body.pick(["data", "model", "usage"]);
    let mut vectors = 0;
    if let Some(data) = data {
        data.each(|_| {
            vectors += 1;
            true
        });
    }
    let counted = Embedded {
        model: filled(model),
        vectors: Vec::new(),
        input_tokens: tokens(usage),
    };
    if vectors == 0 {
        return Err(NotAnAnswer {
            message: "the body has no embeddings",
            usage: counted.usage(),
        });
    }
    Ok((vectors, counted))
}

/// Reads an answer. Vectors are put into the order of their indices.
///
/// # Errors
/// [`NotAnAnswer`] for what has no vectors, or not one for each index.
pub fn read_answer(body: &str) -> Result<Embedded, NotAnAnswer> {
    let body = Json::parse(body).ok_or_else(|| NotAnAnswer::new("the body is not JSON"))?;
    let [data, model, usage] = body.pick(["data", "model", "usage"]);
    let data = data.ok_or_else(|| NotAnAnswer::new("the body has no embeddings"))?;
    let vectors = vectors::read_all(data, Some("embedding"))?;
    let mut indices = Vec::with_capacity(vectors.len());
    data.each(|datum| {
        let index = datum.get("index").and_then(Json::count);
        indices.push(index.unwrap_or(indices.len() as u64));
        true
    });
    let mut placed: Vec<_> = indices.into_iter().zip(vectors).collect();
    placed.sort_by_key(|(index, _)| *index);
    let each = placed
        .iter()
        .zip(0..)
        .all(|((index, _), place)| *index == place);
    if !each {
        return Err(NotAnAnswer::new("the embeddings' indices do not count up"));
    }
    Ok(Embedded {
        model: filled(model),
        vectors: placed.into_iter().map(|(_, vector)| vector).collect(),
        input_tokens: tokens(usage),
    })
}

fn tokens(usage: Option<Json<'_>>) -> Option<u64> {
    let [prompt, total] = usage?.pick(["prompt_tokens", "total_tokens"]);
    let tokens = prompt.or(total)?.count()?;
    (tokens <= MAX_TOKENS).then_some(tokens)
}
