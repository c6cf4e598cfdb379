//! JSON objects whose values keep their bytes, read without trust in what they are.

use crate::reading::whole;
use serde_json::value::RawValue;
use std::collections::HashMap;

/// A JSON object. Of a field that occurs twice the last one counts.
#[derive(Debug)]
pub(crate) struct Object<'a>(HashMap<String, &'a RawValue>);

/// A number of tokens that is none: negative, a fraction, no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotCredible;

impl<'a> Object<'a> {
    /// `None` for what is no object.
    pub(crate) fn parse(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok().map(Self)
    }

    /// A field's value; `None` when it is absent or `null`.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let value = self.0.get(name).copied()?;
        (value.get() != "null").then_some(value)
    }

    /// A field that is a string.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(read)
    }

    /// A field that is an object.
    pub(crate) fn object(&self, name: &str) -> Option<Self> {
        Self::parse(self.get(name)?.get())
    }

    /// A field that is a list.
    pub(crate) fn list(&self, name: &str) -> Option<Vec<&'a RawValue>> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// A field that counts tokens; `None` when it is absent or `null`.
    pub(crate) fn count(&self, name: &str) -> Result<Option<u64>, NotCredible> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        whole(value.get()).map(Some).ok_or(NotCredible)
    }

    /// The fields' names, `null` ones left out, in alphabetical order.
    pub(crate) fn names(&self) -> Vec<&str> {
        let stated = self.0.iter().filter(|(_, value)| value.get() != "null");
        let mut names: Vec<_> = stated.map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }
}

/// A value of a known kind; `None` if it is another.
pub(crate) fn read<'a, T: serde::Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}
