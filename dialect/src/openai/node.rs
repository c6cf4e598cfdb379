//! A piece of a caller's JSON, with its path for the message of an error.

use crate::Invalid;
use crate::request::CacheTtl;
use oarmaster_protocol::text::json;
use serde_json::Value;
use serde_json::value::RawValue;

/// A value and where it stands.
#[derive(Debug)]
pub(crate) struct Node {
    /// Such as `messages[2].content`.
    pub(crate) path: String,
    value: Value,
}

impl Node {
    /// Reads a field; escapes of half a surrogate pair become U+FFFD.
    pub(crate) fn read(path: &str, raw: &RawValue) -> Result<Self, Invalid> {
        let value = serde_json::from_str(&json(raw.get().as_bytes()).text)
            .map_err(|error| Invalid::field(path, format!("cannot be read: {error}")))?;
        Ok(Self {
            path: path.to_owned(),
            value,
        })
    }

    /// Takes a field out; `None` where it is absent or `null`, or where this is no object.
    pub(crate) fn take(&mut self, name: &str) -> Option<Self> {
        let value = self.value.get_mut(name).map(Value::take)?;
        (!value.is_null()).then(|| Self {
            path: self.path_of(name),
            value,
        })
    }

    /// Takes a field out that must be there.
    pub(crate) fn required(&mut self, name: &str) -> Result<Self, Invalid> {
        let what = format!("must have a field {name}");
        self.take(name)
            .ok_or_else(|| Invalid::field(self.path.clone(), what))
    }

    /// Takes a text out, if it is there.
    pub(crate) fn take_text(&mut self, name: &str) -> Result<Option<String>, Invalid> {
        self.take(name).map(Self::text).transpose()
    }

    /// Takes a text out that must be there.
    pub(crate) fn required_text(&mut self, name: &str) -> Result<String, Invalid> {
        self.required(name)?.text()
    }

    /// The path of a field.
    pub(crate) fn path_of(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    /// The text that this is.
    pub(crate) fn text(self) -> Result<String, Invalid> {
        match self.value {
            Value::String(text) => Ok(text),
            _ => Err(Invalid::field(self.path, "must be a string")),
        }
    }

    /// The text, if it is one; the node again where it is something else.
    pub(crate) fn try_text(self) -> Result<String, Self> {
        match self.value {
            Value::String(text) => Ok(text),
            value => Err(Self { value, ..self }),
        }
    }

    /// The items of the list that this is.
    pub(crate) fn list(self) -> Result<Vec<Self>, Invalid> {
        let Self { path, value } = self;
        let Value::Array(items) = value else {
            return Err(Invalid::field(path, "must be a list"));
        };
        let nodes = items.into_iter().enumerate().map(|(position, value)| Self {
            path: format!("{path}[{position}]"),
            value,
        });
        Ok(nodes.collect())
    }

    /// A look at it.
    pub(crate) const fn value(&self) -> &Value {
        &self.value
    }

    /// What it is, as it came.
    pub(crate) fn into_value(self) -> Value {
        self.value
    }

    /// Whether it is true.
    pub(crate) fn flag(&self) -> Result<bool, Invalid> {
        self.value
            .as_bool()
            .ok_or_else(|| Invalid::field(self.path.clone(), "must be true or false"))
    }

    /// That it is an object.
    pub(crate) fn object(self) -> Result<Self, Invalid> {
        if self.value.is_object() {
            Ok(self)
        } else {
            Err(Invalid::field(self.path, "must be an object"))
        }
    }

    /// Takes `cache_control` out (Anthropic's object, which LiteLLM and OpenRouter take in chat completions), or OpenAI's own
    /// `prompt_cache_breakpoint`, whose times to live are all longer than five minutes.
    pub(crate) fn take_cache(&mut self) -> Option<CacheTtl> {
        if let Some(control) = self.take("cache_control") {
            return Some(cache(control.value.get("ttl")));
        }
        let breakpoint = self.take("prompt_cache_breakpoint")?;
        Some(match breakpoint.value.get("ttl") {
            Some(Value::String(_)) => CacheTtl::Hour1,
            _ => CacheTtl::Minutes5,
        })
    }
}

/// The time to live that Anthropic's `cache_control` says.
pub(crate) fn cache(ttl: Option<&Value>) -> CacheTtl {
    match ttl.and_then(Value::as_str) {
        Some("1h") => CacheTtl::Hour1,
        _ => CacheTtl::Minutes5,
    }
}
