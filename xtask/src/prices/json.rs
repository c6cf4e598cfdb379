//! JSON whose numbers stay text, and in which no name may stand twice: one of the two values would be lost in silence.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context as _, Result};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// An object, its values as they came.
#[derive(Debug, Clone, Default)]
pub struct Object(BTreeMap<String, Box<RawValue>>);

impl Object {
    /// Reads an object.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(serde_json::from_str(text)?)
    }

    /// Its fields, by name.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.get()))
    }

    /// The text of a value that is there and not null.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(|value| value.get())
            .filter(|value| *value != "null")
    }

    /// An object in it; absent is an empty one.
    pub fn object(&self, name: &str) -> Result<Self> {
        let text = self.get(name).unwrap_or("{}");
        Self::parse(text).with_context(|| format!("{name} is not an object"))
    }

    /// A string, if it is one.
    pub fn string(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?).ok()
    }

    /// A list of strings, if it is one.
    pub fn strings(&self, name: &str) -> Option<Vec<String>> {
        serde_json::from_str(self.get(name)?).ok()
    }

    /// A truth value, if it is one.
    pub fn flag(&self, name: &str) -> Option<bool> {
        serde_json::from_str(self.get(name)?).ok()
    }

    /// A count of tokens: whole, above zero, also as a string or with a point; anything else is none.
    pub fn tokens(&self, name: &str) -> Option<u32> {
        let read = super::decimal::read(self.get(name)?, 0).ok()?;
        u32::try_from(read.value).ok().filter(|count| *count > 0)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if fields.contains_key(&name) {
                        return Err(A::Error::custom(format!("{name:?} stands there twice")));
                    }
                    fields.insert(name, value);
                }
                Ok(Object(fields))
            }
        }

        from.deserialize_map(Fields)
    }
}
