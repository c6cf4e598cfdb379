//! Errors: the one form that callers get, and the forms that providers send.

use crate::error::{Refused, Said};
use crate::openai::write::Object;
use oarmaster_protocol::text;
use serde_json::Value;
use std::time::Duration;

/// An error's body.
pub(crate) fn write(refused: &Refused) -> String {
    Object::new().object("error", object(refused)).end()
}

/// An error's object.
pub(crate) fn object(refused: &Refused) -> Object {
    let object = Object::new()
        .text("message", &refused.message)
        .text("type", kind(refused.status));
    match &refused.field {
        Some(field) => object.text("param", field),
        None => object.raw("param", "null"),
    }
    .text("code", &refused.code)
}

/// OpenAI's type of errors with this status.
pub(crate) const fn kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

/// Reads `{"error": {...}}`, `{"error": "..."}`, `{"message": ...}`, `{"detail": ...}` and `{"object": "error", ...}`, also as the first item
/// of a list.
pub(crate) fn read(body: &str) -> Option<Said> {
    let value: Value = serde_json::from_str(body).ok()?;
    let value = match &value {
        Value::Array(list) => list.first()?, // Google's compatible endpoint
        other => other,
    };
    let object = value.as_object()?;
    if let Some(error) = object.get("error").filter(|error| !error.is_null()) {
        return said(error, object.get("status"));
    }
    let is_error = object.get("object").and_then(Value::as_str) == Some("error")
        || object.get("type").and_then(Value::as_str) == Some("error");
    let looks_like_one = ["message", "detail"]
        .iter()
        .any(|name| object.contains_key(*name))
        && !object.contains_key("choices")
        && !object.contains_key("output");
    if is_error || looks_like_one {
        return said(value, None);
    }
    None
}

/// What an error's value says.
pub(crate) fn said(error: &Value, status: Option<&Value>) -> Option<Said> {
    if let Some(message) = error.as_str() {
        return Some(Said {
            message: message.to_owned(),
            status: status.and_then(http_status),
            ..Said::default()
        });
    }
    let object = error.as_object()?;
    let code = object.get("code");
    let statuses = [
        object.get("status"),
        object.get("status_code"),
        object.get("raw_status_code"),
        code,
        status,
    ];
    let message = ["message", "detail", "error"]
        .iter()
        .filter_map(|name| object.get(*name))
        .find_map(message)
        .unwrap_or_default();
    let kind = object
        .get("type")
        .filter(|kind| kind.as_str() != Some("error"));
    Some(Said {
        status: statuses.into_iter().flatten().find_map(http_status),
        code: code.and_then(word),
        kind: kind
            .or_else(|| object.get("status"))
            .filter(|kind| kind.is_string())
            .and_then(word),
        retry_after: object.get("retry_after").and_then(wait),
        message,
    })
}

/// A message, or the first of FastAPI's list of what is wrong.
fn message(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.as_str(),
        Value::Array(list) => {
            let first = list.first()?;
            first.get("msg").or(Some(first))?.as_str()?
        }
        Value::Object(object) => {
            return object
                .get("message")
                .or_else(|| object.get("detail"))
                .and_then(message);
        }
        _ => return None,
    };
    (!text.is_empty()).then(|| text.to_owned())
}

fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text::shorten(text, 200)),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn http_status(value: &Value) -> Option<u16> {
    let number = match value {
        Value::Number(number) => number.as_u64()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    crate::error::status(number)
}

fn wait(value: &Value) -> Option<Duration> {
    value.as_f64().and_then(crate::error::wait)
}
