//! What several upstreams need to write a request: arguments and schemas as objects, types of media, segments of a path, and a list of what was
//! dropped.

use crate::json::Fields;
use crate::object::Object;
use oarmaster_protocol::text::json;
use serde::Serialize;
use serde_json::Number;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;

/// Largest whole number that is written: services with numbers of 32 bits take no larger one.
pub(crate) const LARGEST: u64 = i32::MAX as u64;

/// The arguments of a tool call where a dialect wants an object.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Arguments<'a> {
    /// As the model wrote them.
    Object(Box<RawValue>),
    /// None were written.
    Empty {},
    /// They are no object: the text is passed on as one.
    Invalid {
        /// What the model wrote.
        invalid_arguments: &'a str,
    },
}

impl<'a> Arguments<'a> {
    /// Reads what a model wrote as arguments.
    pub(crate) fn new(text: &'a str) -> Self {
        if text.trim().is_empty() {
            return Self::Empty {};
        }
        match object(text) {
            Some(object) => Self::Object(object),
            None => Self::Invalid {
                invalid_arguments: text,
            },
        }
    }

    /// The object as JSON.
    pub(crate) fn to_json(&self) -> String {
        serialize(self)
    }
}

/// A JSON object with its bytes; `None` when the text is none, has a field twice or is nested too deeply.
pub(crate) fn object(text: &str) -> Option<Box<RawValue>> {
    let text = json(text.as_bytes()).text;
    Fields::parse(text.as_bytes()).ok()?;
    RawValue::from_string(text.trim().to_owned()).ok()
}

/// A body. Its types have no map whose keys are no strings and no serializer that fails, so there always is one.
pub(crate) fn serialize(body: &impl Serialize) -> String {
    serde_json::to_string(body).unwrap_or_default()
}

/// A MIME type without its parameters, in small letters, and with the name that is registered: many write that of JPEG with its files' ending.
pub(crate) fn media_type(mime: &str) -> Cow<'_, str> {
    let plain = mime.split(';').next().unwrap_or_default().trim();
    match plain.to_ascii_lowercase().as_str() {
        "image/jpg" => "image/jpeg".into(),
        lower if lower == plain => plain.into(),
        lower => lower.to_owned().into(),
    }
}

/// A segment of a path: percent-encodes everything but the unreserved characters of RFC 3986.
pub(crate) fn path_segment(segment: &str) -> String {
    let mut encoded = String::with_capacity(segment.len());
    // A segment of dots would be a step in the path.
    let dots = segment.bytes().all(|byte| byte == b'.');
    for byte in segment.bytes() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~');
        if plain || (byte == b'.' && !dots) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}"); // a String takes everything
        }
    }
    encoded
}

/// The caller's fields that an upstream has no place for, each once.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    names: Vec<String>,
    /// The same names: a caller may send very many fields.
    known: HashSet<String>,
}

impl Dropped {
    /// Begins with what the caller's own dialect had no neutral form for.
    pub(crate) fn new(left: &[String]) -> Self {
        let mut dropped = Self::default();
        for name in left {
            dropped.add(name);
        }
        dropped
    }

    /// Adds a field.
    pub(crate) fn add(&mut self, field: &str) {
        if !self.known.contains(field) {
            self.known.insert(field.to_owned());
            self.names.push(field.to_owned());
        }
    }

    /// Adds a field if this is so.
    pub(crate) fn add_if(&mut self, so: bool, field: &str) {
        if so {
            self.add(field);
        }
    }

    /// A number within a dialect's range; one outside becomes the nearest bound and is named.
    pub(crate) fn clamp(
        &mut self,
        number: Option<&Number>,
        range: std::ops::RangeInclusive<f64>,
        field: &str,
    ) -> Option<Number> {
        let number = number?;
        // A number that is no float is larger than any range.
        let value = number.as_f64().unwrap_or(f64::MAX);
        if range.contains(&value) {
            return Some(number.clone());
        }
        self.add(field);
        Number::from_f64(value.clamp(*range.start(), *range.end()))
    }

    /// The same for whole numbers that end at `most`.
    pub(crate) fn at_most(&mut self, number: Option<u64>, most: u64, field: &str) -> Option<u64> {
        let number = number?;
        self.add_if(number > most, field);
        Some(number.min(most))
    }

    /// The first `most` of a list; that there were more is named.
    pub(crate) fn first<'a, T>(&mut self, list: &'a [T], most: usize, field: &str) -> &'a [T] {
        self.add_if(list.len() > most, field);
        list.get(..most).unwrap_or(list)
    }

    /// All of them.
    pub(crate) fn into_list(self) -> Vec<String> {
        self.names
    }
}

/// A tool's JSON Schema, which both Anthropic and Bedrock want to be one of an object: a `type` is added where there is none.
pub(crate) fn parameters(schema: Option<&RawValue>) -> Box<RawValue> {
    let raw = schema.map_or("{}", RawValue::get).trim();
    let typed = match Object::parse(raw) {
        Some(object) if object.get("type").is_none() => {
            let rest = raw.strip_prefix('{').unwrap_or_default().trim_start();
            let comma = if rest.starts_with('}') { "" } else { "," };
            format!("{{\"type\":\"object\"{comma}{rest}")
        }
        _ => raw.to_owned(),
    };
    RawValue::from_string(typed).unwrap_or_default()
}

#[cfg(test)]
mod tests;
