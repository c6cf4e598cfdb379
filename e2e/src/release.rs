//! The installed release, changed as an administrator changes it: with helm.

use crate::cluster::{Cluster, checkout};
use crate::installed::RELEASE;
use anyhow::Result;
use std::time::Duration;

/// The values that the release was given, as YAML.
///
/// # Errors
/// When there is no release.
pub async fn values(cluster: &Cluster) -> Result<String> {
    helm(
        cluster,
        &["get", "values", "oarmaster", "--output=yaml"],
        "",
    )
    .await
}

/// Changes some values of the release, like `images.tag=next`, and waits until everything runs with them.
///
/// # Errors
/// When helm refuses, or something does not come up within three minutes.
pub async fn upgrade(cluster: &Cluster, values: &[&str]) -> Result<()> {
    to(cluster, "charts/oarmaster", values).await
}

/// Puts the chart of the version before in place, with the values that the release has. Its images are those of the checkout: the chart is what
/// differs.
///
/// # Errors
/// As [`upgrade`].
pub async fn previous(cluster: &Cluster) -> Result<()> {
    to(cluster, "e2e/fixtures/charts/oarmaster-0.1.0.tgz", &[]).await
}

async fn to(cluster: &Cluster, chart: &str, values: &[&str]) -> Result<()> {
    let mut args = vec![
        "upgrade",
        "oarmaster",
        chart,
        "--reset-then-reuse-values",
        "--wait",
        "--timeout=3m",
    ];
    args.extend(values.iter().flat_map(|value| ["--set-string", value]));
    helm(cluster, &args, "").await.map(drop)
}

/// Removes the release.
///
/// # Errors
/// When helm refuses.
pub async fn uninstall(cluster: &Cluster) -> Result<()> {
    let args = ["uninstall", "oarmaster", "--wait", "--timeout=3m"];
    helm(cluster, &args, "").await.map(drop)
}

/// Installs the release with these values, and waits until everything runs.
///
/// # Errors
/// When helm refuses, or something does not come up within three minutes.
pub async fn install(cluster: &Cluster, values: &str) -> Result<()> {
    let args = [
        "install",
        "oarmaster",
        "charts/oarmaster",
        "--values=-",
        "--wait",
        "--timeout=3m",
    ];
    helm(cluster, &args, values).await.map(drop)
}

async fn helm(cluster: &Cluster, args: &[&str], stdin: &str) -> Result<String> {
    cluster
        .run("helm")
        .dir(checkout())
        .args(args)
        .args(&["--namespace", RELEASE])
        .stdin(stdin)
        .within(Duration::from_secs(200))
        .stdout()
        .await
}
