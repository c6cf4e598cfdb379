//! The objects of a caller's request, each with the path that an error names.

use crate::error::Invalid;
use crate::object::{Object, read};
use serde::Deserialize;
use serde_json::value::RawValue;

/// An object of a request.
pub(super) struct At<'a> {
    object: Object<'a>,
    path: String,
}

impl<'a> At<'a> {
    /// The body.
    pub(super) fn top(body: &'a str) -> Result<Self, Invalid> {
        let object = Object::parse(body).ok_or_else(|| Invalid {
            message: "the body is not a JSON object".to_owned(),
            field: None,
        })?;
        let path = String::new();
        Ok(Self { object, path })
    }

    /// A value within the body.
    pub(super) fn value(value: &'a RawValue, path: String) -> Result<Self, Invalid> {
        match Object::parse(value.get()) {
            Some(object) => Ok(Self { object, path }),
            None => Err(Invalid::field(path, "is not an object")),
        }
    }

    /// Where a field is.
    pub(super) fn path(&self, name: &str) -> String {
        if self.path.is_empty() {
            return name.to_owned();
        }
        format!("{}.{name}", self.path)
    }

    /// A field is wrong.
    pub(super) fn wrong(&self, name: &str, what: &str) -> Invalid {
        Invalid::field(self.path(name), what)
    }

    /// The fields' names.
    pub(super) fn names(&self) -> Vec<&str> {
        self.object.names()
    }

    /// A field's value; `None` when it is absent or `null`.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.object.get(name)
    }

    fn typed<T: Deserialize<'a>>(&self, name: &str, what: &str) -> Result<Option<T>, Invalid> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let value = read(value).ok_or_else(|| self.wrong(name, what))?;
        Ok(Some(value))
    }

    /// A string, if it is there.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Invalid> {
        self.typed(name, "is not a string")
    }

    /// A string.
    pub(super) fn needed_text(&self, name: &str) -> Result<String, Invalid> {
        self.text(name)?
            .ok_or_else(|| self.wrong(name, "is missing: write a string"))
    }

    /// `true` or `false`, if it is there.
    pub(super) fn boolean(&self, name: &str) -> Result<Option<bool>, Invalid> {
        self.typed(name, "is neither true nor false")
    }

    /// A number, if it is there.
    pub(super) fn number(&self, name: &str) -> Result<Option<serde_json::Number>, Invalid> {
        self.typed(name, "is not a number")
    }

    /// A whole number from 0, if it is there.
    pub(super) fn whole(&self, name: &str) -> Result<Option<u64>, Invalid> {
        self.typed(name, "is not a whole number from 0 on")
    }

    /// An object, if it is there.
    pub(super) fn object(&self, name: &str) -> Result<Option<Self>, Invalid> {
        let value = self.get(name);
        value
            .map(|value| Self::value(value, self.path(name)))
            .transpose()
    }

    /// An object.
    pub(super) fn needed_object(&self, name: &str) -> Result<Self, Invalid> {
        self.object(name)?
            .ok_or_else(|| self.wrong(name, "is missing: write an object"))
    }

    /// A list's objects; none if it is absent.
    pub(super) fn objects(&self, name: &str) -> Result<Vec<Self>, Invalid> {
        let list: Vec<&RawValue> = self.typed(name, "is not a list")?.unwrap_or_default();
        let numbered = list.into_iter().enumerate();
        numbered
            .map(|(at, value)| Self::value(value, format!("{}[{at}]", self.path(name))))
            .collect()
    }

    /// A list of strings; empty if it is absent.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, Invalid> {
        let texts = self.typed(name, "is not a list of strings")?;
        Ok(texts.unwrap_or_default())
    }
}
