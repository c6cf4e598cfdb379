//! The gateway's process: flags, logs, signals.

use anyhow::Context as _;
use clap::Parser as _;
use oarmaster_gateway::config::Args;
use oarmaster_gateway::serve::run;
use oarmaster_serve::process;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Args::parse().resolve()?;
    process::logs();
    process::keep_memory().context("failed to keep the keys in memory to this process")?;
    // A second provider of cryptography in the process would make every later choice of one a panic.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        anyhow::bail!("failed to choose the provider of cryptography: one was chosen already");
    }
    let mut cluster = kube::Config::infer()
        .await
        .context("failed to find the API server")?;
    cluster.default_retry = false; // it waits for minutes; whoever asks here has a time limit or a back-off of its own
    let client = kube::Client::try_from(cluster).context("failed to make a Kubernetes client")?;
    let stop = process::stop()?;
    run(config, client, stop).await
}
