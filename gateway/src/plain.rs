//! Metrics and probes, without TLS and without anything to protect.

use crate::state::Gateway;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use std::sync::Arc;
use tokio::sync::watch::Receiver;

/// What readiness depends on.
#[derive(Clone)]
pub struct Plain {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// The certificate that must be loaded.
    pub certificate: Arc<oarmaster_serve::certificate::Certificate>,
    /// Whether pools and providers were listed.
    pub synced: Receiver<bool>,
    /// Whether Budgets and namespaces were listed.
    pub counted: Receiver<bool>,
}

/// The routes.
pub fn router(plain: Plain) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(plain)
}

async fn ready(State(plain): State<Plain>) -> Response {
    match plain.not_ready() {
        None => "ok".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}

impl Plain {
    fn not_ready(&self) -> Option<String> {
        if let Some(why) = self.gateway.store.unwritable().borrow().clone() {
            return Some(format!("the log cannot be written: {why}"));
        }
        if !self.certificate.is_loaded() {
            return Some("the TLS Secret holds no certificate yet".to_owned());
        }
        if !*self.synced.borrow() {
            return Some("pools and providers were not listed yet".to_owned());
        }
        if !*self.counted.borrow() {
            return Some("Budgets and namespaces were not listed yet".to_owned());
        }
        None
    }
}

async fn metrics(State(plain): State<Plain>) -> Response {
    plain.gateway.show();
    match plain.gateway.metrics.text() {
        Ok(text) => (
            [(
                header::CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            )],
            text,
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
