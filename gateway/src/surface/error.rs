//! Errors in the words of a surface.

use super::Surface;
use crate::error::ApiFailure;
use axum::response::Response;
use http::{HeaderValue, StatusCode};
use oarmaster_dialect::messages;
use oarmaster_protocol::task::ErrorCode;
use serde_json::json;

/// Anthropic's status for a service that is overloaded for a while: its word for 503.
const OVERLOADED: u16 = 529;

impl Surface {
    /// An error as a body. `id` is the request's.
    #[must_use]
    pub fn write_error(self, failure: &ApiFailure, id: &str) -> String {
        if self.is_anthropics() {
            messages::write_error(&failure.refused(id))
        } else {
            let error = failure.body().error;
            // The message names the field; OpenAI's errors have this one all the same.
            json!({"error": {"message": error.message, "type": error.r#type, "param": null, "code": error.code}})
                .to_string()
        }
    }

    /// An error as a response.
    #[must_use]
    pub fn refuse(self, failure: &ApiFailure, id: &str) -> Response {
        if failure.code == ErrorCode::Internal {
            tracing::error!(request = id, error = %failure.message, "request failed");
        }
        let status = match failure.status {
            StatusCode::SERVICE_UNAVAILABLE if self.is_anthropics() => {
                StatusCode::from_u16(OVERLOADED).unwrap_or(failure.status)
            }
            status => status,
        };
        failure.respond(status, self.write_error(failure, id))
    }

    /// Names a request in the header where its vendor's SDKs look for the name.
    pub fn name(self, id: &str, response: &mut Response) {
        let header = if self.is_anthropics() {
            "request-id"
        } else {
            "x-request-id"
        };
        if let Ok(id) = HeaderValue::from_str(&format!("req_{id}")) {
            response.headers_mut().insert(header, id);
        }
    }
}

/// Data as an event; data of several lines stays several lines.
#[must_use]
pub fn frame(name: &str, data: &[u8]) -> Vec<u8> {
    let mut event = Vec::with_capacity(name.len() + data.len() + 16);
    if !name.is_empty() {
        event.extend_from_slice(b"event: ");
        event.extend_from_slice(name.as_bytes());
        event.push(b'\n');
    }
    for line in data.split(|byte| *byte == b'\n') {
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(line);
        event.push(b'\n');
    }
    event.push(b'\n');
    event
}
