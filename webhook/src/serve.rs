//! The listener: HTTP/1.1 over TLS, with bounds on everything that a client may be slow with or send too much of.

use crate::requester::stamp;
use crate::tls::Certificate;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Path of the rule for Tasks, as in the MutatingWebhookConfiguration.
pub const TASKS: &str = "/tasks";
/// Path of the probes.
pub const HEALTH: &str = "/healthz";

/// The API server takes objects of at most 3 MiB; as a part of a review one may grow by its escapes.
const MAX_BODY: usize = 8 << 20;
const MAX_CONNECTIONS: usize = 1024;
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEADERS: Duration = Duration::from_secs(15);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long after the signal to stop new connections are still taken: until every node has heard that this pod leaves the Service.
const LEAVE: Duration = Duration::from_secs(5);
/// How long running requests have to finish after that. The API server waits no longer for an answer.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves until `stop`, then leaves without dropping a request.
///
/// # Errors
/// Never with the built-in cryptography.
pub async fn serve(
    listener: TcpListener,
    certificate: &Arc<Certificate>,
    stop: CancellationToken,
) -> Result<(), rustls::Error> {
    let acceptor = TlsAcceptor::from(certificate.server_config()?);
    let router = router(stop.clone());
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut left = std::pin::pin!(async {
        stop.cancelled().await;
        tokio::time::sleep(LEAVE).await;
    });
    let mut following = std::pin::pin!(certificate.follow());
    loop {
        let accepted = tokio::select! {
            () = &mut left => break,
            never = &mut following => match never {},
            accepted = accept(&listener, &slots) => accepted,
        };
        let Some((socket, slot)) = accepted else {
            continue;
        };
        let (acceptor, router, watcher) = (acceptor.clone(), router.clone(), graceful.watcher());
        tokio::spawn(async move {
            let _slot = slot;
            let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(socket)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    tracing::debug!(error = %error, "TLS handshake failed");
                    return;
                }
                Err(_) => {
                    tracing::debug!("TLS handshake timed out");
                    return;
                }
            };
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(error = %error, "connection ended");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("requests were still running when the time to drain was over");
    }
    Ok(())
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

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((socket, _)) => {
            // Without it an answer in two segments waits 40 ms for the acknowledgement of the first.
            if let Err(error) = socket.set_nodelay(true) {
                tracing::debug!(error = %error, "failed to set TCP_NODELAY");
            }
            Some((socket, slot))
        }
        Err(error) => {
            tracing::warn!(error = %error, "failed to accept");
            tokio::time::sleep(ACCEPT_PAUSE).await; // out of file descriptors, usually: do not spin
            None
        }
    }
}
