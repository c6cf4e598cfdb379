//! The webhook's process: flags, logs, signals.

use anyhow::Context as _;
use clap::Parser as _;
use oarmaster_webhook::args::{Args, Config};
use oarmaster_webhook::serve::serve;
use oarmaster_webhook::tls::Certificate;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

// One thread: an answer takes microseconds, and a handshake is made once per connection.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Config { addr, tls_dir } = Args::parse().resolve();
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("OARMASTER_LOG")
                .unwrap_or_else(|_| "info".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    // The pod starts when its Secret is filled, so that there is one.
    let certificate = Certificate::read(tls_dir).context("failed to load the certificate")?;
    let listener = TcpListener::bind(addr)
        .await
        .with_context(|| format!("failed to listen on {addr}"))?;
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stopped.cancel();
    });
    tracing::info!(%addr, "serving");
    serve(listener, &Arc::new(certificate), stop).await?;
    Ok(())
}
