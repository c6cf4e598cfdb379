//! The installed release, changed as an administrator changes it: with helm.

use crate::cluster::{Cluster, checkout};
use crate::installed::RELEASE;
use anyhow::Result;
use std::time::Duration;

/// Changes some values of the release, like `images.tag=next`, and waits until everything runs with them.
///
/// # Errors
/// When helm refuses, or something does not come up within three minutes.
pub async fn upgrade(cluster: &Cluster, values: &[&str]) -> Result<()> {
    let mut args = vec![
        "upgrade",
        "oarmaster",
        "charts/oarmaster",
        "--reset-then-reuse-values",
        "--wait",
        "--timeout=3m",
        "--namespace",
        RELEASE,
    ];
    args.extend(values.iter().flat_map(|value| ["--set-string", value]));
    cluster
        .run("helm")
        .dir(checkout())
        .args(&args)
        .within(Duration::from_secs(200))
        .stdout()
        .await
        .map(drop)
}
