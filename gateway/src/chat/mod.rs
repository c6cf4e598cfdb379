//! `/v1/chat/completions`.

pub mod account;
pub mod assigned;
pub mod call;
pub mod chunk;
pub mod hops;
pub mod members;
pub mod route;
pub mod stream;
pub mod tries;

use crate::clock::since_epoch;
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
use tries::Told;

/// Names who answered: `<namespace>/<ModelProvider>`.
pub const PROVIDER_HEADER: &str = "x-oarmaster-provider";
/// Names the provider's model that answered.
pub const MODEL_HEADER: &str = "x-oarmaster-model";
/// Says why that one was asked: `Priority`, `Weighted`, `Cheapest`, `Fastest`, `LeastBusy`, `Free` or `Failover`.
pub const REASON_HEADER: &str = "x-oarmaster-reason";
/// Says how many requests to providers the call took.
pub const HOPS_HEADER: &str = "x-oarmaster-hops";
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
    let (whole, told, _) = running
        .await
        .map_err(|_| ApiFailure::internal("the call was ended by a defect"))??;
    let Whole { answer, body } = whole;
    let mut response = match body {
        Some(bytes) => {
            let mut response = bytes.into_response();
            let kind = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        None => Json(answer.to_json(&new_id(), now_seconds())).into_response(),
    };
    tell(response.headers_mut(), &told);
    Ok(response)
}

/// Says who answered and why it was asked.
fn tell(headers: &mut HeaderMap, told: &Told) {
    let dropped = told.dropped.join(", ");
    let hops = told.hops.to_string();
    let told = [
        (PROVIDER_HEADER, told.by.provider.as_str()),
        (MODEL_HEADER, told.by.model.as_str()),
        (REASON_HEADER, told.reason.as_str()),
        (HOPS_HEADER, hops.as_str()),
        (DROPPED_HEADER, dropped.as_str()),
    ];
    for (name, text) in told {
        // A field's name that is no header value is one that nobody could have meant.
        if !text.is_empty()
            && let Ok(value) = HeaderValue::from_str(text)
        {
            headers.insert(name, value);
        }
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
    i64::try_from(since_epoch().as_secs()).unwrap_or(i64::MAX)
}
