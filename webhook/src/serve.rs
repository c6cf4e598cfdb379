//! What is served, and how the server leaves.

use crate::requester::stamp;
use crate::tls::Mounted;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview};
use oarmaster_serve::listen::{self, Limits};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Path of the rule for Tasks, as in the MutatingWebhookConfiguration.
pub const TASKS: &str = "/tasks";
/// Path of the probes.
pub const HEALTH: &str = "/healthz";

/// The API server takes objects of at most 3 MiB; as a part of a review one may grow by its escapes.
const MAX_BODY: usize = 8 << 20;
/// How long after the signal to stop new connections are still taken: until every node has heard that this pod leaves the Service.
const LEAVE: Duration = Duration::from_secs(5);
const LIMITS: Limits = Limits {
    connections: 1024,
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
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::map_response_with_state(stop, goodbye))
}

async fn tasks(
    Json(review): Json<AdmissionReview<DynamicObject>>,
) -> Result<Json<AdmissionReview<DynamicObject>>, (StatusCode, String)> {
    let request: AdmissionRequest<_> = review
        .try_into()
        .map_err(|_| (StatusCode::BAD_REQUEST, "a review without request".into()))?;
    let response = AdmissionResponse::from(&request);
    let response = match stamp(&request) {
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
