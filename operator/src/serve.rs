//! Metrics and health, over plain HTTP inside the cluster.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use oarmaster_controllers::kit::Context;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::{Arc, OnceLock};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSecret {
    secret: &'static str,
}

/// When certificates end, by the Secret that each is in.
#[derive(Clone, Default)]
pub struct Expiry(Family<OfSecret, Gauge>);

impl Expiry {
    /// The certificate in this Secret ends then, in seconds since 1970.
    pub fn set(&self, secret: &'static str, at: i64) {
        self.0.get_or_create(&OfSecret { secret }).set(at);
    }
}

/// What is served.
pub struct Served {
    /// The metrics.
    pub registry: Registry,
    /// 1 while this process leads.
    pub leader: Gauge,
    /// When the installation's certificates end, as the leader knows it.
    pub expiry: Expiry,
    /// The controllers' context, once they run.
    pub context: OnceLock<Arc<Context>>,
    /// The controllers' metrics.
    pub metrics: Arc<oarmaster_controllers::Metrics>,
}

impl Served {
    /// Registers every metric of the process.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("oarmaster");
        let leader = Gauge::default();
        registry.register("leader", "1 while this process leads", leader.clone());
        let expiry = Expiry::default();
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When a certificate of the installation ends, in seconds since 1970, as the leader knows it: a server's is renewed 30 days before, the CA (oarmaster-ca) is replaced within the year before",
            expiry.0.clone(),
        );
        let metrics = Arc::new(oarmaster_controllers::Metrics::register(&mut registry));
        Self {
            registry,
            leader,
            expiry,
            context: OnceLock::new(),
            metrics,
        }
    }
}

/// Serves for ever.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: tokio::net::TcpListener, served: Arc<Served>) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        // A process that answers is alive; the lease, not this, decides who works.
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(|| async { "ok" }))
        .with_state(served);
    axum::serve(listener, router).await
}

async fn metrics(State(served): State<Arc<Served>>) -> impl IntoResponse {
    if let Some(context) = served.context.get() {
        served
            .metrics
            .active(oarmaster_controllers::active_tasks(context));
        let oldest = oarmaster_controllers::oldest_queued(context, jiff::Timestamp::now());
        served.metrics.oldest_queued(oldest);
    }
    let mut text = String::new();
    match encode(&mut text, &served.registry) {
        Ok(()) => (
            StatusCode::OK,
            [(
                header::CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            )],
            text,
        ),
        Err(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(header::CONTENT_TYPE, "text/plain")],
            "metrics cannot be written".to_owned(),
        ),
    }
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
