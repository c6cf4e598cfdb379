//! Errors as callers see them: our codes, in OpenAI's form where the surface has no other.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use oarmaster_dialect::Refused;
use oarmaster_protocol::task::{ApiError, ApiErrorBody, ErrorCode};
use oarmaster_store::Refusal;
use std::time::Duration;

/// A request that was refused or failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiFailure {
    /// Our code.
    pub code: ErrorCode,
    /// The HTTP status.
    pub status: StatusCode,
    /// What happened and what to do. Never a key, prompt or answer.
    pub message: String,
    /// How long to wait before the next try, where somebody said so.
    pub retry_after: Option<Duration>,
    /// The sequence number of the Task's next record, where the pilot must know it.
    pub next: Option<u64>,
    /// Whether it is refused because its pool is suspended.
    pub suspended: bool,
}

impl ApiFailure {
    /// A failure with the code's own status.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            status: status(code),
            message: message.into(),
            retry_after: None,
            next: None,
            suspended: false,
        }
    }

    /// A request that cannot be understood.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }

    /// A caller who may not do this.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Forbidden, message)
    }

    /// A caller without a valid token.
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unauthenticated, message)
    }

    /// Something that is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, message)
    }

    /// A defect.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Internal, message)
    }

    /// The API server cannot be asked: 503, so that clients try again.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            retry_after: Some(Duration::from_secs(1)),
            ..Self::new(ErrorCode::Internal, message)
        }
    }

    /// The error in no dialect; `id` is the request's.
    #[must_use]
    pub fn refused(&self, id: &str) -> Refused {
        Refused {
            status: self.status.as_u16(),
            code: self.code.as_str().to_owned(),
            message: self.message.clone(),
            field: None,
            request: Some(format!("req_{id}")),
        }
    }

    /// The error as a response with this status and body.
    #[must_use]
    pub fn respond(&self, status: StatusCode, body: String) -> Response {
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if let Some(wait) = self.retry_after {
            headers.insert(
                header::RETRY_AFTER,
                HeaderValue::from(wait.as_secs().max(1)),
            );
        }
        if let Some(next) = self.next {
            headers.insert(
                oarmaster_protocol::task::NEXT_HEADER,
                HeaderValue::from(next),
            );
        }
        if self.code == ErrorCode::BudgetExceeded {
            // Time changes nothing, and the vendors' SDKs would try a 429 again.
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        if self.code == ErrorCode::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> ApiError {
        ApiError {
            error: ApiErrorBody {
                message: self.message.clone(),
                r#type: kind(self.code).to_owned(),
                code: self.code.as_str().to_owned(),
            },
        }
    }
}

impl From<Refusal> for ApiFailure {
    fn from(refusal: Refusal) -> Self {
        let mut failure = Self::new(refusal.code(), refusal.to_string());
        match refusal {
            Refusal::Unwritable(_) | Refusal::Full(_) => {
                failure.status = StatusCode::SERVICE_UNAVAILABLE
            }
            Refusal::Conflict { next, .. } => failure.next = Some(next),
            _ => {}
        }
        failure
    }
}

impl IntoResponse for ApiFailure {
    fn into_response(self) -> Response {
        if self.code == ErrorCode::Internal {
            tracing::error!(error = %self.message, "request failed");
        }
        // A struct of strings is JSON.
        let body = serde_json::to_string(&self.body()).unwrap_or_default();
        self.respond(self.status, body)
    }
}

/// The status of a code; the table of [`ErrorCode`].
#[must_use]
pub const fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::InvalidRequest
        | ErrorCode::UnboundedCost
        | ErrorCode::UnknownPrice
        | ErrorCode::ContextLength => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::Fenced | ErrorCode::Conflict | ErrorCode::Diverged | ErrorCode::InDoubt => {
            StatusCode::CONFLICT
        }
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::BudgetExceeded | ErrorCode::RateLimited | ErrorCode::WindowExceeded => {
            StatusCode::TOO_MANY_REQUESTS
        }
        ErrorCode::ModelUnavailable => StatusCode::BAD_GATEWAY,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

const fn kind(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::Unauthenticated => "authentication_error",
        ErrorCode::Forbidden => "permission_error",
        ErrorCode::BudgetExceeded | ErrorCode::RateLimited | ErrorCode::WindowExceeded => {
            "rate_limit_error"
        }
        ErrorCode::ModelUnavailable | ErrorCode::Internal => "api_error",
        ErrorCode::InvalidRequest
        | ErrorCode::NotFound
        | ErrorCode::Fenced
        | ErrorCode::Conflict
        | ErrorCode::Diverged
        | ErrorCode::InDoubt
        | ErrorCode::TooLarge
        | ErrorCode::ContextLength
        | ErrorCode::UnboundedCost
        | ErrorCode::UnknownPrice => "invalid_request_error",
    }
}
