//! The fields of a caller's request that every surface reads.

use crate::error::ApiFailure;
use oarmaster_dialect::json::{Fields, elements};
use serde::Deserialize;

/// What the gateway must know of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peek {
    /// Messages, items or inputs.
    pub items: usize,
    /// Tools that are offered.
    pub tools: usize,
    /// Whether the caller wants a stream.
    pub stream: bool,
    /// Whether the caller wants usage in the stream.
    pub include_usage: bool,
    /// The output limit of one answer, if the caller states one.
    pub max_output: Option<u64>,
    /// Number of answers.
    pub choices: u64,
}

/// A field of a known type; `None` where it is absent or `null`.
///
/// # Errors
/// `invalid_request` that says what it should be.
pub fn typed<'a, T: Deserialize<'a>>(
    fields: &'a Fields,
    name: &str,
    what: &str,
) -> Result<Option<T>, ApiFailure> {
    fields
        .get(name)
        .map(|value| {
            serde_json::from_str(value.get())
                .map_err(|_| ApiFailure::invalid(format!("field {name} is not {what}")))
        })
        .transpose()
}

/// A whole number of at least `least`.
///
/// # Errors
/// `invalid_request`.
pub fn limit(fields: &Fields, name: &str, least: u64) -> Result<Option<u64>, ApiFailure> {
    let what = format!("a whole number of at least {least}");
    match typed::<u64>(fields, name, &what)? {
        Some(number) if number < least => {
            Err(ApiFailure::invalid(format!("field {name} is not {what}")))
        }
        other => Ok(other),
    }
}

/// Whether `stream` is set.
///
/// # Errors
/// `invalid_request`.
pub fn stream(fields: &Fields) -> Result<bool, ApiFailure> {
    Ok(typed(fields, "stream", "true or false")?.unwrap_or(false))
}

/// How many elements a list has; none where it is absent.
///
/// # Errors
/// `invalid_request`.
pub fn count(fields: &Fields, name: &str, what: &str) -> Result<usize, ApiFailure> {
    let Some(list) = fields.get(name) else {
        return Ok(0);
    };
    elements(list.get())
        .map(Iterator::count)
        .ok_or_else(|| ApiFailure::invalid(format!("field {name} is not {what}")))
}

/// How many elements a list has that must be there.
///
/// # Errors
/// `invalid_request`, also where it is empty.
pub fn some(fields: &Fields, name: &str, what: &str) -> Result<usize, ApiFailure> {
    if fields.get(name).is_none() {
        return Err(ApiFailure::invalid(format!("field {name} is missing")));
    }
    match count(fields, name, what)? {
        0 => Err(ApiFailure::invalid(format!("field {name} is empty"))),
        several => Ok(several),
    }
}

/// How many elements a list has, or 1 for a text in its place.
///
/// # Errors
/// `invalid_request`.
pub fn text_or_list(fields: &Fields, name: &str, what: &str) -> Result<usize, ApiFailure> {
    match fields.get(name) {
        Some(value) if value.get().starts_with('"') => Ok(1),
        _ => some(fields, name, what),
    }
}
