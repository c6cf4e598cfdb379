//! Errors of Gemini: those of Google's services.

use crate::error::{Said, status, wait};
use crate::reading::{Json, filled};
use std::time::Duration;

/// Reads an error, which may stand alone in a list: streams begin one.
#[must_use]
pub fn read_error(body: &str) -> Option<Said> {
    let body = Json::parse(body)?;
    let body = if body.is_object() {
        body
    } else {
        body.first()?
    };
    let error = body.get("error").filter(|error| error.is_object())?;
    let [code, message, name, details] = error.pick(["code", "message", "status", "details"]);
    let kind = filled(name);
    let mut said = Said {
        status: code.and_then(Json::count).and_then(status),
        code: None,
        message: filled(message).or_else(|| kind.clone()).unwrap_or_default(),
        kind,
        retry_after: None,
    };
    let mut quota = None;
    if let Some(details) = details {
        details.each(|detail| {
            let [kind, delay, reason, violations] =
                detail.pick(["@type", "retryDelay", "reason", "violations"]);
            let kind = filled(kind).unwrap_or_default();
            match kind.rsplit('.').next() {
                Some("RetryInfo") => said.retry_after = filled(delay).as_deref().and_then(seconds),
                Some("ErrorInfo") => said.code = filled(reason),
                Some("QuotaFailure") => quota = violations.and_then(exhausted),
                _ => {}
            }
            true
        });
    }
    said.code = said.code.or(quota);
    Some(said)
}

/// The quota that was exceeded. One of a day is named first: to wait for a minute does not help then, whatever the delay says.
fn exhausted(violations: Json<'_>) -> Option<String> {
    let mut first = None;
    let mut daily = None;
    violations.each(|violation| {
        let id = filled(violation.get("quotaId"));
        if id.as_ref().is_some_and(|id| id.contains("PerDay")) {
            daily = id;
            return false;
        }
        first = first.take().or(id);
        true
    });
    daily.or(first)
}

/// `12s` or `12.5s`.
fn seconds(delay: &str) -> Option<Duration> {
    let seconds = delay.strip_suffix('s')?.parse().ok()?;
    wait(seconds)
}
