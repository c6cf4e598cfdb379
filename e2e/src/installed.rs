//! Oarmaster, installed in the cluster: once for all tests of a run.

use crate::cluster::{Cluster, checkout};
use crate::command::xtask;
use crate::mock;
use anyhow::{Context as _, Result};
use std::time::Duration;
use tokio::sync::OnceCell;

/// The release namespace.
pub const RELEASE: &str = "oarmaster-system";

/// The cluster, with the checkout's Oarmaster in it.
///
/// # Errors
/// When something of it cannot be built or installed.
pub async fn installed() -> Result<Cluster> {
    static DONE: OnceCell<()> = OnceCell::const_new();
    let cluster = Cluster::node().await?;
    DONE.get_or_try_init(|| install(&cluster)).await?;
    Ok(cluster)
}

async fn install(cluster: &Cluster) -> Result<()> {
    xtask(&["images", "--load"]).output().await?.success()?;
    let node = mock::node_address(cluster).await?;
    for (chart, values) in [
        ("oarmaster-crds", vec![]),
        (
            "oarmaster",
            vec![format!("gateway.privateEndpoints[0]={node}/32")],
        ),
    ] {
        let mut run = cluster
            .run("helm")
            .dir(checkout())
            .args(&["upgrade", "--install", chart])
            .args(&[format!("charts/{chart}")])
            .args(&[
                "--namespace",
                RELEASE,
                "--create-namespace",
                "--wait",
                "--timeout",
                "5m",
            ]);
        for value in &values {
            run = run.args(&["--set", value]);
        }
        run.within(Duration::from_secs(330))
            .output()
            .await?
            .success()
            .with_context(|| format!("failed to install chart {chart}"))?;
    }
    Ok(())
}
