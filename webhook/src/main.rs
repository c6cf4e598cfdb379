//! The webhook's process: flags, logs, signals.

use anyhow::Context as _;
use clap::Parser as _;
use oarmaster_serve::process;
use oarmaster_webhook::args::{Args, Config};
use oarmaster_webhook::serve::serve;
use oarmaster_webhook::tls::Mounted;
use tokio::net::TcpListener;

// One thread: an answer takes microseconds, and a handshake is made once per connection. Workflows are checked on one beside it.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Config { addr, tls_dir } = Args::parse().resolve();
    process::logs();
    // The pod starts when its Secret is filled, so that there is one.
    let certificate = Mounted::read(tls_dir).context("failed to load the certificate")?;
    let listener = TcpListener::bind(addr)
        .await
        .with_context(|| format!("failed to listen on {addr}"))?;
    let stop = process::stop()?;
    tracing::info!(%addr, "serving");
    serve(listener, &certificate, stop).await?;
    Ok(())
}
