//! `/v1/chat/completions`.

pub mod account;
pub mod assigned;
pub mod call;
pub mod chunk;
pub mod hops;
pub mod route;
pub mod stream;

use crate::error::ApiFailure;
use crate::provider::http::Whole;
use crate::request::ChatRequest;
use crate::state::{Caller, Gateway};
use account::Account;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Names the fields of a request that the provider had no place for; they do not change what the answer is about.
pub const DROPPED_HEADER: &str = "x-oarmaster-dropped";

/// Answers a chat request of a Task or of anybody else.
///
/// # Errors
/// [`ApiFailure`].
pub async fn completions(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiFailure> {
    let caller = gateway.caller(&headers).await?;
    let body = gateway.body(body).await?;
    let request = ChatRequest::parse(&body)?;
    match caller {
        Caller::Task(pod) => call::run(&gateway, &pod, &headers, request, &body).await,
        Caller::User(user) => {
            let routed = route::for_user(&gateway, &user, request).await?;
            let account = Account::user(&gateway, &routed, &user.name);
            if routed.request.stream {
                stream::run(gateway, routed, account).await
            } else {
                whole(gateway, routed, account).await
            }
        }
    }
}

/// A whole answer for a user. It is booked even when the user does not wait for it.
async fn whole(
    gateway: Arc<Gateway>,
    routed: route::Routed,
    account: Account,
) -> Result<Response, ApiFailure> {
    let calls = gateway.calls.clone();
    let running = calls.spawn(async move { hops::complete(&gateway, &routed, &account).await });
    let (whole, _) = running
        .await
        .map_err(|_| ApiFailure::internal("the call was ended by a defect"))??;
    let Whole {
        answer,
        body,
        dropped,
    } = whole;
    let mut response = match body {
        Some(bytes) => {
            let mut response = bytes.into_response();
            let kind = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        None => Json(answer.to_json(&new_id(), now_seconds())).into_response(),
    };
    tell_dropped(response.headers_mut(), &dropped);
    Ok(response)
}

/// Names fields of the request that the provider had no place for.
fn tell_dropped(headers: &mut HeaderMap, dropped: &[String]) {
    // A name that is no header value is one that nobody could have meant.
    if !dropped.is_empty()
        && let Ok(names) = HeaderValue::from_str(&dropped.join(", "))
    {
        headers.insert(DROPPED_HEADER, names);
    }
}

/// A fresh id of an answer that has none of its own.
#[must_use]
pub fn new_id() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!(
        "chatcmpl-{:x}-{:x}",
        now_seconds(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Seconds since the Unix epoch.
#[must_use]
pub fn now_seconds() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        })
}
