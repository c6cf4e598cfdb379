//! OpenAI's embeddings as callers speak them.

use super::{EmbedRequest, Embedded, Encoding, Input, MAX_INPUTS, vectors};
use crate::error::Invalid;
use crate::json::Fields;
use crate::writing::serialize;
use oarmaster_protocol::text::json;
use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::marker::PhantomData;

const FIELDS: [&str; 5] = ["model", "input", "dimensions", "encoding_format", "user"];

/// Reads a caller's request.
///
/// # Errors
/// [`Invalid`] that names the field.
pub fn read_request(body: &[u8]) -> Result<EmbedRequest, Invalid> {
    let fields = Fields::parse(body)?;
    let model: String = match fields.get("model") {
        Some(value) => string(value, "model")?,
        None => {
            return Err(Invalid::field(
                "model",
                "is missing; write the name of a model",
            ));
        }
    };
    if model.is_empty() {
        return Err(Invalid::field(
            "model",
            "is empty; write the name of a model",
        ));
    }
    let left = fields.names().filter(|name| !FIELDS.contains(name));
    Ok(EmbedRequest {
        model,
        input: match fields.get("input") {
            Some(value) => input(value)?,
            None => {
                return Err(Invalid::field(
                    "input",
                    "is missing; write a text or a list",
                ));
            }
        },
        dimensions: fields.get("dimensions").map(dimensions).transpose()?,
        encoding: match fields.get("encoding_format") {
            Some(value) => encoding(value)?,
            None => Encoding::default(),
        },
        user: match fields.get("user") {
            Some(value) => Some(string(value, "user")?),
            None => None,
        },
        left: left.map(str::to_owned).collect(),
    })
}

fn string(value: &RawValue, field: &str) -> Result<String, Invalid> {
    serde_json::from_str(&json(value.get().as_bytes()).text)
        .map_err(|_| Invalid::field(field, "is not a string"))
}

fn dimensions(value: &RawValue) -> Result<u64, Invalid> {
    let number = serde_json::from_str(value.get()).ok();
    number
        .filter(|number| *number > 0)
        .ok_or_else(|| Invalid::field("dimensions", "is not a whole number of at least 1"))
}

fn encoding(value: &RawValue) -> Result<Encoding, Invalid> {
    match value.get() {
        r#""float""# => Ok(Encoding::Float),
        r#""base64""# => Ok(Encoding::Base64),
        _ => Err(Invalid::field(
            "encoding_format",
            "is neither \"float\" nor \"base64\"",
        )),
    }
}

/// The first element says what a list is of.
fn input(value: &RawValue) -> Result<Input, Invalid> {
    let text = json(value.get().as_bytes()).text;
    let list = text.strip_prefix('[').map(str::trim_start);
    let input = match list.and_then(|list| list.chars().next()) {
        None if text.starts_with('"') => Input::Texts(vec![string(value, "input")?]),
        Some('"') => Input::Texts(bounded(&text, MAX_INPUTS, "a string")?),
        Some('[') => Input::Tokens(bounded(&text, MAX_INPUTS, "a list of tokens")?),
        Some('0'..='9') => Input::Tokens(vec![bounded(&text, usize::MAX, "a token")?]),
        Some(']') => return Err(Invalid::field("input", "is empty; write at least one text")),
        _ => {
            return Err(Invalid::field(
                "input",
                "is none of a text, a list of texts, a list of tokens, a list of such lists",
            ));
        }
    };
    let empty = match &input {
        Input::Texts(texts) => texts.iter().position(String::is_empty),
        Input::Tokens(lists) => lists.iter().position(Vec::is_empty),
    };
    match empty {
        None => Ok(input),
        Some(at) if list.is_some() => Err(Invalid::field(
            format!("input[{at}]"),
            "is empty; leave it out",
        )),
        Some(_) => Err(Invalid::field("input", "is empty; write a text")),
    }
}

/// Reads a list of at most `most` elements; one more is not read.
fn bounded<T: DeserializeOwned>(text: &str, most: usize, what: &str) -> Result<Vec<T>, Invalid> {
    let mut list = Bounded {
        most,
        read: Vec::new(),
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = (&mut list).deserialize(&mut deserializer);
    let at = list.read.len();
    match read {
        Ok(()) => Ok(list.read),
        Err(_) if at == most => Err(Invalid::field(
            "input",
            format!("has more than {most} elements; send several requests"),
        )),
        Err(_) => Err(Invalid::field(
            format!("input[{at}]"),
            format!("is not {what}"),
        )),
    }
}

struct Bounded<T> {
    most: usize,
    read: Vec<T>,
}

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for &mut Bounded<T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: DeserializeOwned> Visitor<'de> for &mut Bounded<T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    /// Elements that are left over are an error of serde_json.
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while self.read.len() < self.most
            && let Some(element) = list.next_element_seed(PhantomData)?
        {
            self.read.push(element);
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct Body<'a> {
    object: &'static str,
    data: Vec<Datum<'a>>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Datum<'a> {
    object: &'static str,
    index: usize,
    embedding: Vector<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector<'a> {
    Float(&'a [f32]),
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
}

/// Writes an answer. `model` is what the caller asked for, where the provider names none. Tokens that the provider does not state are zero: OpenAI's
/// form wants a number.
#[must_use]
pub fn write_answer(answer: &Embedded, model: &str, encoding: Encoding) -> String {
    let tokens = answer.input_tokens.unwrap_or_default();
    let data = answer.vectors.iter().enumerate();
    serialize(&Body {
        object: "list",
        data: data
            .map(|(index, vector)| Datum {
                object: "embedding",
                index,
                embedding: match encoding {
                    Encoding::Float => Vector::Float(vector),
                    Encoding::Base64 => Vector::Base64(vectors::encode(vector)),
                },
            })
            .collect(),
        model: answer.model.as_deref().unwrap_or(model),
        usage: Usage {
            prompt_tokens: tokens,
            total_tokens: tokens,
        },
    })
}
