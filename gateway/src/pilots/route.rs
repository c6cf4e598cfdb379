//! What shared pilots ask: for work, and for more time.

use super::{Offer, is_capability};
use crate::bodies;
use crate::data::{Shared, context, parse};
use crate::error::ApiFailure;
use crate::identity::bearer;
use crate::identity::sandbox::SandboxPod;
use crate::state::{Caller, Gateway};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, http::StatusCode};
use http::HeaderMap;
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::journal::{Body as Record, Failure, Outcome};
use oarmaster_protocol::task::{Append, ClaimRequest, Release, WORK_WAIT, Work};
use oarmaster_protocol::text::shorten;
use oarmaster_store::Refusal;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// A claim that was not renewed is offered at most this much later: nobody is told when its time is over.
const LOOK: Duration = Duration::from_secs(1);

/// Largest body of a release, and longest reason in it, in characters.
const MAX_RELEASE: usize = 64 << 10;
const MAX_WHY: usize = 1024;
/// How often the end of an attempt is written that others write to meanwhile.
const TRIES: usize = 8;

/// The routes.
pub fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/task/v1/work", post(work))
        .route("/task/v1/renew", post(renew))
        .route("/task/v1/release", post(release))
}

async fn work(State(gateway): Shared, headers: HeaderMap) -> Result<Response, ApiFailure> {
    let pilot = gateway.pilot(&headers).await?;
    let end = Instant::now() + WORK_WAIT;
    loop {
        let more = gateway.pilots.more.notified();
        if let Some(offer) = gateway.pilots.offer(&gateway.store, &pilot) {
            let work = take(&gateway, offer, &pilot).await?;
            // Who waits beside us may have the next one.
            gateway.pilots.wake();
            return Ok(Json(work).into_response());
        }
        let look = end.min(Instant::now() + LOOK);
        tokio::select! {
            () = more => {}
            () = sleep_until(look) => {
                if Instant::now() >= end {
                    return Ok(StatusCode::NO_CONTENT.into_response());
                }
            }
            // Not as if there were none: who hears that asks again at once.
            () = gateway.stopping.cancelled() => {
                return Err(ApiFailure::unavailable("the gateway stops"));
            }
        }
    }
}

/// Claims the attempt in the log before anybody hears of it.
async fn take(gateway: &Gateway, mut offer: Offer<'_>, pilot: &str) -> Result<Work, ApiFailure> {
    let request = ClaimRequest {
        assignment: offer.attempt.assignment.clone(),
        nonce: offer.key.clone(),
    };
    let (uid, attempt) = (offer.attempt.task.uid.clone(), offer.attempt.attempt);
    let mut claim = gateway.store.claim(&uid, attempt, &request, pilot).await?;
    claim.context_tokens = context(gateway, &uid, attempt).await?;
    offer.kept = true;
    Ok(Work {
        capability: offer.capability.clone(),
        task_uid: uid,
        attempt,
        assignment: request.assignment,
        claim,
    })
}

async fn renew(State(gateway): Shared, headers: HeaderMap) -> Result<StatusCode, ApiFailure> {
    let capability = capability(&headers)?;
    gateway.caller(capability).await?; // an attempt that is over is told so
    gateway.pilots.renew(capability)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn release(
    State(gateway): Shared,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiFailure> {
    let capability = capability(&headers)?;
    let Caller::Task(pod) = gateway.caller(capability).await? else {
        return Err(ApiFailure::internal("a claim is nobody's"));
    };
    let Release { session, failed } = parse(&bodies::read(body, MAX_RELEASE).await?)?;
    if let Some(why) = failed {
        fail(&gateway, &pod, &session, &why).await?;
    }
    gateway.pilots.give_back(capability);
    Ok(StatusCode::NO_CONTENT)
}

/// Ends an attempt that its pilot cannot run. Calls that are still open may write beside us.
async fn fail(
    gateway: &Gateway,
    pod: &SandboxPod,
    session: &str,
    why: &str,
) -> Result<(), ApiFailure> {
    let (uid, attempt) = (&pod.task_uid, pod.attempt);
    for _ in 0..TRIES {
        let failure = Failure {
            class: FailureClass::Internal,
            message: shorten(why, MAX_WHY),
            waits: None,
        };
        let outcome = Outcome {
            failure: Some(failure),
            ..Outcome::default()
        };
        let append = Append {
            next: gateway.store.next(uid).await?,
            records: vec![Record::Result { outcome }],
        };
        match gateway.store.append(uid, attempt, session, append).await {
            Err(Refusal::Conflict { .. }) => {}
            ended => return Ok(ended.map(drop)?),
        }
    }
    Err(ApiFailure::unavailable(
        "calls of the attempt are being written",
    ))
}

fn capability(headers: &HeaderMap) -> Result<&str, ApiFailure> {
    let token = bearer(headers)?;
    if is_capability(token) {
        return Ok(token);
    }
    Err(ApiFailure::forbidden(
        "only the claim of a shared pilot is renewed or given back",
    ))
}
