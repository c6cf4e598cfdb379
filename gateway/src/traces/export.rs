//! Spans on their way to the collector: OTLP over HTTP, in batches, from a task of its own.

use super::{Queue, Traces};
use crate::config::Tracing;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use prometheus_client::metrics::counter::Counter;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Spans that wait to be sent.
const QUEUE: usize = 4096;
/// Most spans of one request.
const BATCH: usize = 512;
/// How long a span may wait for others.
const LINGER: Duration = Duration::from_millis(200);
/// A collector that takes longer has not taken it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Sends what is queued.
pub struct Exporter {
    receiver: mpsc::Receiver<SpanData>,
    exporter: SpanExporter,
    dropped: Counter,
}

/// A queue for spans, and what sends them to the collector. `dropped` counts spans that never came there.
///
/// # Errors
/// When the endpoint is no URL, or no HTTP client can be made.
pub fn start(
    tracing: &Tracing,
    tls: &rustls::ClientConfig,
    dropped: Counter,
) -> anyhow::Result<(Traces, Exporter)> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(TIMEOUT)
        .timeout(TIMEOUT)
        .user_agent(concat!("oarmaster/", env!("CARGO_PKG_VERSION")))
        .build()?;
    let base = tracing.endpoint.trim_end_matches('/');
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(format!("{base}/v1/traces"))
        .with_timeout(TIMEOUT)
        .build()?;
    let resource = Resource::builder_empty()
        .with_service_name("oarmaster-gateway")
        .with_attributes([KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))]);
    exporter.set_resource(&resource.build());
    let (sender, receiver) = mpsc::channel(QUEUE);
    let queue = Queue {
        sender,
        dropped: dropped.clone(),
    };
    let traces = Traces {
        queue,
        share: tracing.sampling,
    };
    let exporter = Exporter {
        receiver,
        exporter,
        dropped,
    };
    Ok((traces, exporter))
}

impl Exporter {
    /// Sends spans until `stop`, and then what is still queued.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut taken = true;
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let stopped = tokio::select! {
                _ = self.receiver.recv_many(&mut batch, BATCH) => false,
                () = stop.cancelled() => true,
            };
            if !stopped && batch.len() < BATCH {
                tokio::select! {
                    () = tokio::time::sleep(LINGER) => {}
                    () = stop.cancelled() => {}
                }
            }
            while batch.len() < BATCH
                && let Ok(span) = self.receiver.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                return;
            }
            let spans = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            let count = u64::try_from(spans.len()).unwrap_or(u64::MAX);
            let result = self.exporter.export(spans).await;
            if result.is_err() {
                self.dropped.inc_by(count);
            }
            // Told once, not for every batch.
            match (&result, taken) {
                (Err(error), true) => {
                    tracing::warn!(%error, "the collector does not take spans; they are dropped");
                }
                (Ok(()), false) => tracing::info!("the collector takes spans again"),
                _ => {}
            }
            taken = result.is_ok();
        }
    }
}
