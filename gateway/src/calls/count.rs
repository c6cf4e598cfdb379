//! How many tokens a request has. The member that would answer it is asked, if it is one that counts; otherwise the answer is an estimate, and says so.
//! Nobody bills a count, so none is booked.

use super::attempt::Paced;
use super::json;
use super::route::Routed;
use super::tries::Tries;
use crate::error::ApiFailure;
use crate::state::Gateway;
use crate::surface::messages::estimate;
use axum::response::Response;
use http::HeaderValue;
use oarmaster_dialect::messages::write_count;
use std::sync::Arc;

/// Names what of an answer is an estimate.
pub const ESTIMATED_HEADER: &str = "x-oarmaster-estimated";

/// Answers a request for a count.
///
/// # Errors
/// What the caller is told.
pub async fn run(gateway: Arc<Gateway>, routed: Routed) -> Result<Response, ApiFailure> {
    let calls = gateway.calls.clone();
    let running = calls.spawn(async move { count(&gateway, &routed).await });
    running
        .await
        .map_err(|_| ApiFailure::internal("the call was ended by a defect"))?
}

async fn count(gateway: &Gateway, routed: &Routed) -> Result<Response, ApiFailure> {
    let mut tries = Tries::new(gateway, routed)?;
    loop {
        let tried = tries.advance().await?;
        let Some(body) = tried.sent.bodies.first() else {
            let tokens = estimate(&routed.request.neutral()?);
            let mut response = json(write_count(tokens).into(), &tried.told);
            response
                .headers_mut()
                .insert(ESTIMATED_HEADER, HeaderValue::from_static("input_tokens"));
            return Ok(response);
        };
        let backend = &tried.provider.backend;
        let failure = match backend.count(&tried.asked(routed), body.clone()).await {
            Ok(body) => {
                return Ok(json(
                    body,
                    &tried.ended(gateway, Ok(()), Paced::Count, None),
                ));
            }
            Err(failure) => failure,
        };
        let told = tried.ended(gateway, Err(&failure), Paced::Count, None);
        tries.failed(&told.by, &failure)?;
    }
}
