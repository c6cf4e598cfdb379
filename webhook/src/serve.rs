//! What is served, and how the server leaves.

use crate::body::{self, LARGE_AT_ONCE};
use crate::requester::stamp;
use crate::review::Request;
use crate::tls::Mounted;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use kube::core::admission::{AdmissionResponse, AdmissionReview};
use kube::core::{DynamicObject, Status};
use oarmaster_serve::listen::{self, Limits};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Path of the rule for Tasks, as in the MutatingWebhookConfiguration.
pub const TASKS: &str = "/tasks";
/// Path of the probes.
pub const HEALTH: &str = "/healthz";

/// How long after the signal to stop new connections are still taken: until every node has heard that this pod leaves the Service.
const LEAVE: Duration = Duration::from_secs(5);
const LIMITS: Limits = Limits {
    // The API server needs a few. One that stalls holds up to 250 KiB, its small body among it: 32 MiB, as much as the large bodies.
    connections: 128,
    // All of them come from the API server.
    each: 128,
    // After that, for running requests. The API server waits no longer for an answer.
    drain: Duration::from_secs(5),
};

/// Serves until `stop`, then leaves without dropping a request.
///
/// # Errors
/// Never with the built-in cryptography.
pub async fn serve(
    listener: TcpListener,
    certificate: &Mounted,
    stop: CancellationToken,
) -> Result<(), rustls::Error> {
    let tls = certificate.server_config()?;
    let left = CancellationToken::new();
    let serving = listen::serve(
        listener,
        Some(tls),
        router(stop.clone()),
        left.clone(),
        LIMITS,
    );
    let leaving = async {
        stop.cancelled().await;
        tracing::info!("stopping");
        tokio::time::sleep(LEAVE).await;
        left.cancel();
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(serving, leaving) } => Ok(()),
        never = certificate.follow() => match never {},
    }
}

fn router(stop: CancellationToken) -> Router {
    Router::new()
        .route(TASKS, post(tasks))
        .route(HEALTH, get(|| async { "ok" }))
        .layer(middleware::map_response_with_state(stop, goodbye))
        .with_state(Arc::new(Semaphore::new(LARGE_AT_ONCE)))
}

async fn tasks(
    State(large): State<Arc<Semaphore>>,
    body: Body,
) -> Result<Json<AdmissionReview<DynamicObject>>, (StatusCode, String)> {
    let held = body::read(body, &large).await.map_err(|status| {
        let reason = status.canonical_reason().unwrap_or_default();
        (status, reason.to_lowercase())
    })?;
    let request =
        Request::read(&held.bytes).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    let patch = stamp(&request);
    // There is no other way to one without the whole request.
    let mut response = AdmissionResponse::invalid("");
    response.allowed = true;
    response.result = Status::default();
    response.uid = request.uid;
    let response = match patch {
        None => response,
        Some(patch) => response
            .with_patch(patch)
            .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?,
    };
    Ok(Json(response.into_review()))
}

/// While it leaves, each answer ends its connection: the API server does not ask again on one that is about to be closed.
async fn goodbye(State(stop): State<CancellationToken>, mut response: Response) -> Response {
    if stop.is_cancelled() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}
