//! JSON that is passed on as it came: the top level is split into fields, each field's bytes stay as they are.

mod outline;

pub use outline::{elements, members};

use oarmaster_protocol::text::json;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::fmt;

/// Deepest nesting of a body; serde_json's own limit for typed values.
pub const MAX_DEPTH: usize = 127;

/// A JSON object, its fields in their order and with their bytes. No field occurs twice.
#[derive(Clone, Debug)]
pub struct Fields(Vec<Field>);

#[derive(Clone, Debug)]
struct Field {
    name: String,
    /// The name as it came: an escape of half a surrogate pair is passed on, too.
    quoted: String,
    value: Box<RawValue>,
}

impl Field {
    fn is_null(&self) -> bool {
        self.value.get() == "null"
    }
}

/// Why a body is not JSON that we take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is not valid JSON: {0}")]
pub struct BadJson(pub String);

impl Fields {
    /// Splits a JSON object. An escape of half a surrogate pair stays what it is: only who reads a string must know what it means.
    ///
    /// # Errors
    /// [`BadJson`] that says where, for what is not UTF-8, not JSON, not an object, nested too deeply, or has a field twice.
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
            .find(|field| field.name == name && !field.is_null())
            .map(|field| &*field.value)
    }

    /// Replaces a field's value in its place, or adds the field.
    pub fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|field| field.name == name) {
            Some(field) => field.value = value,
            None => self.0.push(Field {
                name: name.to_owned(),
                quoted: quote(name),
                value,
            }),
        }
    }

    /// Removes a field; whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|field| field.name != name);
        self.0.len() != before
    }

    /// Removes the fields that are not wanted, `null` ones among them.
    pub fn retain(&mut self, mut wanted: impl FnMut(&str) -> bool) {
        self.0.retain(|field| wanted(&field.name));
    }

    /// The fields' names, `null` ones left out.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let stated = self.0.iter().filter(|field| !field.is_null());
        stated.map(|field| field.name.as_str())
    }

    /// The object as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let size: usize = self
            .0
            .iter()
            .map(|field| field.quoted.len() + field.value.get().len() + 2)
            .sum();
        let mut text = String::with_capacity(size + 2);
        text.push('{');
        for (position, field) in self.0.iter().enumerate() {
            if position > 0 {
                text.push(',');
            }
            text.push_str(&field.quoted);
            text.push(':');
            text.push_str(field.value.get());
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
                while let Some((quoted, value)) =
                    map.next_entry::<Box<RawValue>, Box<RawValue>>()?
                {
                    let name: String = serde_json::from_str(&json(quoted.get().as_bytes()).text)
                        .map_err(A::Error::custom)?;
                    // Readers differ in which of two they take: we would meter one and the provider act on the other.
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format!(
                            "field {} occurs twice",
                            quote(&name)
                        )));
                    }
                    fields.push(Field {
                        name,
                        quoted: quoted.get().to_owned(),
                        value,
                    });
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Top)
    }
}

/// Checks the depth, which serde_json leaves unchecked in a [`RawValue`].
fn check(text: &str) -> Result<(), BadJson> {
    let json = text.as_bytes();
    let (mut depth, mut at) = (0usize, 0);
    while let Some(byte) = json.get(at) {
        at += 1;
        match byte {
            b'"' => at = after_string(json, at),
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(BadJson(format!(
                        "nested more than {MAX_DEPTH} levels deep at byte {}",
                        at - 1
                    )));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Where a string ends that begins at `at`, after its quote.
fn after_string(json: &[u8], mut at: usize) -> usize {
    while let Some(rest) = json.get(at..)
        && let Some(found) = memchr::memchr2(b'"', b'\\', rest)
    {
        at += found + 1;
        if rest.get(found) == Some(&b'"') {
            return at;
        }
        at += 1; // what is escaped is no end
    }
    json.len()
}
