//! JSON in a fixed order of fields, with pieces that keep their bytes.

use crate::json::quote;
use std::fmt::Display;

/// A JSON object in the making.
#[derive(Debug)]
pub(crate) struct Object(String);

impl Object {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self("{".to_owned())
    }

    /// One with a `type`.
    pub(crate) fn of_type(kind: &str) -> Self {
        Self::new().text("type", kind)
    }

    /// Adds a field whose value is JSON already.
    pub(crate) fn raw(mut self, name: &str, json: &str) -> Self {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&quote(name));
        self.0.push(':');
        self.0.push_str(json);
        self
    }

    /// Adds a text.
    pub(crate) fn text(self, name: &str, text: &str) -> Self {
        let json = quote(text);
        self.raw(name, &json)
    }

    /// Adds a number or a truth value.
    pub(crate) fn plain(self, name: &str, value: impl Display) -> Self {
        self.raw(name, &value.to_string())
    }

    /// Adds an object.
    pub(crate) fn object(self, name: &str, object: Self) -> Self {
        let json = object.end();
        self.raw(name, &json)
    }

    /// Adds a list of what is JSON already.
    pub(crate) fn list(self, name: &str, items: impl IntoIterator<Item = String>) -> Self {
        let json = list(items);
        self.raw(name, &json)
    }

    /// Adds what another function adds, if there is a value.
    pub(crate) fn maybe<T>(self, value: Option<T>, add: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            Some(value) => add(self, value),
            None => self,
        }
    }

    /// Adds a text if there is one.
    pub(crate) fn maybe_text(self, name: &str, text: Option<&str>) -> Self {
        self.maybe(text, |object, text| object.text(name, text))
    }

    /// The object's JSON.
    pub(crate) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// A JSON list of what is JSON already.
pub(crate) fn list(items: impl IntoIterator<Item = String>) -> String {
    let mut json = String::from("[");
    for item in items {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(&item);
    }
    json.push(']');
    json
}
