//! Errors of Cohere.

use crate::error::Said;
use crate::reading::{Json, filled};

/// Reads an error: an object whose message is a text. An answer's is an object.
#[must_use]
pub fn read_error(body: &str) -> Option<Said> {
    let message = Json::parse(body)?.get("message");
    Some(Said {
        message: filled(message)?,
        ..Said::default()
    })
}
