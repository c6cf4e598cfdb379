//! JSON that is passed on as it came: the top level is split into fields, each field's bytes stay as they are.

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::fmt;

/// Deepest nesting of a body; serde_json's own limit for typed values.
pub const MAX_DEPTH: usize = 127;

/// A JSON object, its fields in their order and with their bytes. No field occurs twice.
#[derive(Clone, Debug)]
pub struct Fields(Vec<(String, Box<RawValue>)>);

/// Why a body is not JSON that we take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is not valid JSON: {0}")]
pub struct BadJson(pub String);

impl Fields {
    /// Splits a JSON object.
    ///
    /// # Errors
    /// [`BadJson`] that says where, for what is not UTF-8, not JSON, not an object, nested too deeply, has a field twice, or an escaped
    /// half of a surrogate pair.
    pub fn parse(body: &[u8]) -> Result<Self, BadJson> {
        let text = std::str::from_utf8(body)
            .map_err(|error| BadJson(format!("byte {} is not UTF-8", error.valid_up_to())))?;
        check(text)?;
        serde_json::from_str(text).map_err(|error| BadJson(error.to_string()))
    }

    /// The bytes of a field's value; `None` when it is absent or `null`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.0
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| &**value)
            .filter(|value| value.get() != "null")
    }

    /// Replaces a field's value in its place, or adds the field.
    pub fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(field, _)| field == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Removes a field; whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|(field, _)| field != name);
        self.0.len() != before
    }

    /// The fields' names, `null` ones left out.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(|(_, value)| value.get() != "null")
            .map(|(field, _)| field.as_str())
    }

    /// The object as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let size: usize = self
            .0
            .iter()
            .map(|(field, value)| field.len() + value.get().len() + 4)
            .sum();
        let mut text = String::with_capacity(size + 2);
        text.push('{');
        for (position, (field, value)) in self.0.iter().enumerate() {
            if position > 0 {
                text.push(',');
            }
            text.push_str(&quote(field));
            text.push(':');
            text.push_str(value.get());
        }
        text.push('}');
        text
    }
}

/// A string as JSON.
#[must_use]
pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A value from text that is known to be JSON.
///
/// # Errors
/// When it is not.
pub fn raw(text: String) -> Result<Box<RawValue>, BadJson> {
    RawValue::from_string(text).map_err(|error| BadJson(error.to_string()))
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Top;
        impl<'de> Visitor<'de> for Top {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                let mut seen = HashSet::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    // Readers differ in which of two they take: we would meter one and the provider act on the other.
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format!(
                            "field {} occurs twice",
                            quote(&name)
                        )));
                    }
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Top)
    }
}

/// Checks what serde_json leaves unchecked in a [`RawValue`]: the depth, and that `\u` escapes are characters.
fn check(text: &str) -> Result<(), BadJson> {
    let bytes = text.as_bytes();
    let mut depth = 0usize;
    let mut in_string = false;
    let mut at = 0usize;
    while let Some(&byte) = bytes.get(at) {
        match (in_string, byte) {
            (true, b'\\') => {
                if bytes.get(at + 1) == Some(&b'u') {
                    let half = escape(bytes, at);
                    if (0xd800..0xdc00).contains(&half) {
                        if !(0xdc00..0xe000).contains(&escape(bytes, at + 6)) {
                            return Err(lone(at));
                        }
                        at += 6;
                    } else if (0xdc00..0xe000).contains(&half) {
                        return Err(lone(at));
                    }
                }
                at += 1;
            }
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(BadJson(format!(
                        "nested more than {MAX_DEPTH} levels deep at byte {at}"
                    )));
                }
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

fn lone(at: usize) -> BadJson {
    BadJson(format!("half of a surrogate pair at byte {at}"))
}

/// The code unit of the escape `\uXXXX` at `at`, or 0 where there is none.
fn escape(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 6)
        .and_then(|escape| escape.strip_prefix(b"\\u"))
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .unwrap_or(0)
}
