//! Errors, and the statuses that the service model gives them.

use crate::error::Said;
use crate::object::Object;

/// The service model's exceptions of Converse and ConverseStream. In a stream they begin with a small letter.
const STATUSES: [(&str, u16); 10] = [
    ("AccessDeniedException", 403),
    ("InternalServerException", 500),
    ("ModelErrorException", 424),
    ("ModelNotReadyException", 429),
    ("ModelStreamErrorException", 424),
    ("ModelTimeoutException", 408),
    ("ResourceNotFoundException", 404),
    ("ServiceUnavailableException", 503),
    ("ThrottlingException", 429),
    ("ValidationException", 400),
];

/// An exception with its name and its payload.
pub(super) fn read_exception(name: &str, payload: &str) -> Said {
    let known = STATUSES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    let fields = Object::parse(payload);
    let text = |names: [&str; 3]| {
        let fields = fields.as_ref()?;
        names.iter().find_map(|name| fields.text(name))
    };
    Said {
        status: known.map(|(_, status)| *status),
        code: None,
        kind: Some(known.map_or(name, |(known, _)| known).to_owned()),
        message: text(["message", "Message", "originalMessage"]).unwrap_or_default(),
        retry_after: None,
    }
}

/// Reads an error's body; `None` for what is none. Its type is in the header `x-amzn-errortype`, and only sometimes in the body, too, as
/// `__type`.
#[must_use]
pub fn read_error(body: &str) -> Option<Said> {
    let fields = Object::parse(body)?;
    let kind = fields.text("__type").or_else(|| fields.text("code"));
    let message = fields.text("message").or_else(|| fields.text("Message"));
    if kind.is_none() && message.is_none() {
        return None;
    }
    Some(match kind.as_deref().map(bare) {
        Some(name) => read_exception(name, body),
        None => Said {
            message: message.unwrap_or_default(),
            ..Said::default()
        },
    })
}

/// Reads an error whose type is in the header `x-amzn-errortype`, whatever its body says or lacks.
#[must_use]
pub fn read_typed_error(kind: &str, body: &str) -> Said {
    read_exception(bare(kind), body)
}

/// Whether a body that came with a success status is an error.
#[must_use]
pub fn is_error(body: &str) -> bool {
    let Some(fields) = Object::parse(body) else {
        return false;
    };
    let says = |name| fields.get(name).is_some();
    !says("output") && (says("__type") || says("message") || says("Message"))
}

/// A type may come with its namespace before it, and with an address after it.
fn bare(kind: &str) -> &str {
    let name = kind.rsplit('#').next().unwrap_or(kind);
    name.split(':').next().unwrap_or(name).trim()
}
