//! What a provider says: fields that may be missing, or of another type, and numbers of tokens that may be nonsense.

use crate::reading::whole;
use serde_json::Value;
use serde_json::value::RawValue;

/// The value of a field; `None` where it is absent, `null`, or cannot be read.
pub(crate) fn value(raw: Option<&RawValue>) -> Option<Value> {
    serde_json::from_str(raw?.get())
        .ok()
        .filter(|value: &Value| !value.is_null())
}

/// A text that is not empty.
pub(crate) fn text(raw: Option<&RawValue>) -> Option<String> {
    match value(raw) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// A text that is not empty, of an object.
pub(crate) fn member<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// A number of tokens is nonsense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nonsense;

/// A number of tokens at a JSON pointer without escapes: `None` where nothing is said.
pub(crate) fn tokens(usage: &Value, pointer: &str) -> Result<Option<u64>, Nonsense> {
    let mut names = pointer.split('/').skip(1);
    match names.try_fold(usage, |inner, name| inner.get(name)) {
        None | Some(Value::Null) => Ok(None),
        Some(value) if value.is_u64() => Ok(value.as_u64()), // as nearly all are
        Some(value) => whole(&value.to_string()).map(Some).ok_or(Nonsense),
    }
}

/// A price as it was written, if it is a decimal number of at least 0.
pub(crate) fn cost(raw: Option<&RawValue>) -> Option<String> {
    let text = raw?.get();
    let number: f64 = serde_json::from_str(text).ok()?;
    (number.is_finite() && number >= 0.0 && !text.starts_with('-')).then(|| text.to_owned())
}

/// A tool call's arguments: text, or what stands there in its place.
pub(crate) fn arguments(value: Option<Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
    }
}
