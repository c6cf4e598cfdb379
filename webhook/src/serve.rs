//! What is served, and how the server leaves.

use crate::body::{self, Held, LARGE_AT_ONCE};
use crate::check::Checks;
use crate::objects::{Asked, Verdict};
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
/// Path of the rules for objects with a spec, as in the ValidatingWebhookConfiguration.
pub const OBJECTS: &str = "/objects";
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

/// What all requests share.
#[derive(Clone, Debug)]
struct Shared {
    /// Places of large bodies; those of checks have their own, since they keep them while others are checked.
    large: Arc<Semaphore>,
    large_checked: Arc<Semaphore>,
    checks: Checks,
}

fn router(stop: CancellationToken) -> Router {
    let shared = Shared {
        large: Arc::new(Semaphore::new(LARGE_AT_ONCE)),
        large_checked: Arc::new(Semaphore::new(LARGE_AT_ONCE)),
        checks: Checks::default(),
    };
    Router::new()
        .route(TASKS, post(tasks))
        .route(OBJECTS, post(objects))
        .route(HEALTH, get(|| async { "ok" }))
        .layer(middleware::map_response_with_state(stop, goodbye))
        .with_state(shared)
}

type Answer = Result<Json<AdmissionReview<DynamicObject>>, (StatusCode, String)>;

async fn tasks(State(shared): State<Shared>, body: Body) -> Answer {
    let held = read(body, &shared.large).await?;
    let request = request(&held)?;
    let patch = stamp(&request);
    let response = allowed(request.uid);
    let response = match patch {
        None => response,
        Some(patch) => response
            .with_patch(patch)
            .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?,
    };
    Ok(Json(response.into_review()))
}

async fn objects(State(shared): State<Shared>, body: Body) -> Answer {
    let held = read(body, &shared.large_checked).await?;
    let request = request(&held)?;
    let verdict = match Asked::of(&request) {
        Some(asked) => shared.checks.check(asked).await,
        None => Verdict::Fine,
    };
    let mut response = allowed(request.uid);
    match verdict {
        Verdict::Fine => {}
        Verdict::Unchecked(why) => {
            let text = format!(
                "this object was not checked: {why}; its conditions say whether it can be used"
            );
            response.warnings = Some(vec![text]);
        }
        Verdict::Wrong(why) => {
            response.allowed = false;
            response.result = Status::failure(&why, "Invalid").with_code(422);
        }
    }
    Ok(Json(response.into_review()))
}

async fn read(body: Body, large: &Semaphore) -> Result<Held<'_>, (StatusCode, String)> {
    body::read(body, large).await.map_err(|status| {
        let reason = status.canonical_reason().unwrap_or_default();
        (status, reason.to_lowercase())
    })
}

fn request<'a>(held: &'a Held<'_>) -> Result<Request<'a>, (StatusCode, String)> {
    Request::read(&held.bytes).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

/// A yes to the request with this id.
fn allowed(uid: String) -> AdmissionResponse {
    // There is no other way to one without the whole request.
    let mut response = AdmissionResponse::invalid("");
    response.allowed = true;
    response.result = Status::default();
    response.uid = uid;
    response
}

/// While it leaves, each answer ends its connection: the API server does not ask again on one that is about to be closed.
async fn goodbye(State(stop): State<CancellationToken>, mut response: Response) -> Response {
    if stop.is_cancelled() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}
