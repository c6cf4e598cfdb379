//! Errors, and the statuses that Anthropic documents for their types.

use crate::error::{Refused, Said};
use crate::object::Object;
use crate::writing::serialize;
use serde::Serialize;

/// Anthropic's type for each status, as its API's page on errors and the SDK's `ErrorType` have them.
const TYPES: [(u16, &str); 11] = [
    (400, "invalid_request_error"),
    (401, "authentication_error"),
    (402, "billing_error"),
    (403, "permission_error"),
    (404, "not_found_error"),
    (409, "conflict_error"),
    (413, "request_too_large"),
    (429, "rate_limit_error"),
    (500, "api_error"),
    (504, "timeout_error"),
    (529, "overloaded_error"),
];

/// The type for any status: a status that Anthropic does not use is told as the nearest that it does.
fn kind_of(status: u16) -> &'static str {
    let status = match status {
        408 => 504,
        // Both mean to come back later.
        503 => 529,
        other => other,
    };
    let known = TYPES.iter().find(|(code, _)| *code == status);
    match known {
        Some((_, kind)) => kind,
        None if (400..500).contains(&status) => "invalid_request_error",
        None => "api_error",
    }
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    error: Inner<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Inner<'a> {
    r#type: &'static str,
    message: &'a str,
    details: Details<'a>,
}

/// Where Anthropic puts a code that a program can act on.
#[derive(Serialize)]
struct Details<'a> {
    error_code: &'a str,
}

/// An error as a body; in a stream it is the data of an event `error`.
#[must_use]
pub fn write_error(refused: &Refused) -> String {
    serialize(&Body {
        r#type: "error",
        error: Inner {
            r#type: kind_of(refused.status),
            message: &refused.message,
            details: Details {
                error_code: &refused.code,
            },
        },
        request_id: refused.request.as_deref(),
    })
}

/// Reads an error; `None` for what is none. Servers that only resemble Anthropic leave out the outer type.
#[must_use]
pub fn read_error(body: &str) -> Option<Said> {
    let error = Object::parse(body)?.object("error")?;
    let kind = error.text("type");
    let message = error.text("message");
    if kind.is_none() && message.is_none() {
        return None;
    }
    let status = TYPES
        .iter()
        .find(|(_, name)| Some(*name) == kind.as_deref())
        .map(|(status, _)| *status);
    let details = error.object("details");
    Some(Said {
        status,
        code: details.and_then(|details| details.text("error_code")),
        kind,
        message: message.unwrap_or_default(),
        retry_after: None,
    })
}
