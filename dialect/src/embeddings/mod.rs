//! Embeddings: texts in, vectors out. Callers speak OpenAI's dialect; upstreams are servers that speak it, too ([`openai`]), Gemini ([`gemini`]),
//! Cohere ([`cohere`]), and Amazon's and Cohere's models at Bedrock ([`bedrock`]).
//!
//! Vendors take fewer inputs at a time than OpenAI, one at least. So each upstream's `write_requests(request, model)` gives a list of bodies; the
//! answers to all of them, each read with `read_answer(body)`, are one through [`Embedded::join`]. The first body says what all of them drop. Errors are those of the vendors' chat.
//!
//! Vectors stay what a model makes: nothing is normalised. Gemini's first embedding model does not do so itself for shorter vectors than its own.

pub mod bedrock;
pub mod cohere;
pub mod gemini;
pub mod openai;
mod surface;
mod vectors;

pub use surface::{read_request, write_answer};

use crate::error::{NotAnAnswer, Unsupported};
use crate::request::Written;
use crate::{answer::MAX_TOKENS, error::Feature};

/// Most inputs of a request: OpenAI's bound.
pub const MAX_INPUTS: usize = 2_048;

/// What is to be embedded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedRequest {
    /// The model as the caller names it; for the gateway the name of a pool.
    pub model: String,
    /// The inputs, between one and [`MAX_INPUTS`], none of them empty.
    pub input: Input,
    /// The length of the vectors, at least 1; `None`: the model's own.
    pub dimensions: Option<u64>,
    /// How the caller wants the vectors.
    pub encoding: Encoding,
    /// The caller's name of its user.
    pub user: Option<String>,
    /// Fields that were not understood, by name.
    pub left: Vec<String>,
}

/// Inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Texts.
    Texts(Vec<String>),
    /// Tokens of the model's own tokenizer.
    Tokens(Vec<Vec<u32>>),
}

impl Input {
    /// How many inputs.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Tokens(lists) => lists.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How a vector is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// As a list of numbers.
    #[default]
    Float,
    /// As base64 of 32-bit floats, little-endian.
    Base64,
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embedded {
    /// The model that the provider names.
    pub model: Option<String>,
    /// One vector for each input, in the order of the inputs. All numbers are finite.
    pub vectors: Vec<Vec<f32>>,
    /// Input tokens, if the provider says how many.
    pub input_tokens: Option<u64>,
}

impl Embedded {
    /// Puts the answers to a request's bodies together, in their order. Tokens are known only where all of them say how many.
    ///
    /// # Errors
    /// [`NotAnAnswer`] when there is not one vector for each of `inputs`.
    pub fn join(answers: Vec<Self>, inputs: usize) -> Result<Self, NotAnAnswer> {
        let mut all = Self {
            input_tokens: Some(0),
            ..Self::default()
        };
        for answer in answers {
            all.model = all.model.or(answer.model);
            all.vectors.extend(answer.vectors);
            let sum = all.input_tokens.zip(answer.input_tokens);
            all.input_tokens = sum.map(|(one, other)| one.saturating_add(other));
        }
        all.input_tokens = all.input_tokens.filter(|tokens| *tokens <= MAX_TOKENS);
        if all.vectors.len() == inputs {
            return Ok(all);
        }
        Err(NotAnAnswer {
            message: "the answer has not one vector for each input",
            usage: all.usage(),
        })
    }

    /// The tokens as usage.
    #[must_use]
    pub fn usage(&self) -> Option<crate::Usage> {
        self.input_tokens.map(|input| crate::Usage {
            input,
            ..crate::Usage::default()
        })
    }
}

/// The texts of a request.
fn texts<'r>(
    request: &'r EmbedRequest,
    dialect: &'static str,
) -> Result<&'r [String], Unsupported> {
    match &request.input {
        Input::Texts(texts) => Ok(texts),
        Input::Tokens(_) => Err(Unsupported::new(dialect, Feature::TokenInput)),
    }
}

/// Bodies. The first says what is dropped from all of them.
fn written<T>(bodies: impl Iterator<Item = T>, request: &EmbedRequest) -> Vec<Written>
where
    T: serde::Serialize,
{
    let mut dropped = crate::writing::Dropped::new(&request.left);
    dropped.add_if(request.user.is_some(), "user");
    let mut dropped = dropped.into_list();
    bodies
        .map(|body| Written {
            body: crate::writing::serialize(&body),
            dropped: std::mem::take(&mut dropped),
        })
        .collect()
}

fn unsupported(dialect: &'static str, feature: Feature, detail: String) -> Unsupported {
    Unsupported {
        dialect,
        feature,
        detail: Some(detail),
    }
}

#[cfg(test)]
mod tests;
