//! Oarmaster, installed in the cluster: once for all tests of a run.

use crate::cluster::{Cluster, checkout};
use crate::command::xtask;
use crate::mock;
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use std::time::Duration;
use tokio::sync::OnceCell;

/// The release namespace.
pub const RELEASE: &str = "oarmaster-system";
/// Where the images are on a cluster of one's own, after `cargo xtask images --push`.
const REGISTRY: &str = "OARMASTER_REGISTRY";

/// Set: what is installed already is tested as it is.
pub const AS_IS: &str = "OARMASTER_E2E_AS_IS";

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

/// The full name of one of the checkout's images.
#[must_use]
pub fn image(name: &str) -> String {
    let registry = registry().unwrap_or_else(|| "docker.io/oarmaster".to_owned());
    format!("{registry}/{name}:{}", env!("CARGO_PKG_VERSION"))
}

/// The full name of an image of a language that few tests need: the local cluster gets it now.
///
/// # Errors
/// When it cannot be built or loaded.
pub async fn language_image(name: &str) -> Result<String> {
    if registry().is_none() && std::env::var_os(AS_IS).is_none() {
        let build = xtask(&["images", "--load", "--only", name]);
        build
            .within(Duration::from_secs(600))
            .output()
            .await?
            .success()?;
    }
    Ok(image(name))
}

fn registry() -> Option<String> {
    std::env::var(REGISTRY)
        .ok()
        .filter(|value| !value.is_empty())
}

/// The range of the cluster's Services, around that of its API server.
async fn services(cluster: &Cluster) -> Result<String> {
    let services: Api<Service> = Api::namespaced(cluster.client.clone(), "default");
    let found = services.get("kubernetes").await?;
    let address = found.spec.and_then(|spec| spec.cluster_ip);
    Ok(format!("{}/16", address.context("no cluster IP")?))
}

async fn install(cluster: &Cluster) -> Result<()> {
    if std::env::var_os(AS_IS).is_some() {
        return Ok(());
    }
    let mut values = vec![
        format!(
            "gateway.privateEndpoints[0]={}/32",
            mock::node_address(cluster).await?
        ),
        // Where the egress of sandboxes finds what a test serves.
        format!("gateway.privateEndpoints[1]={}", services(cluster).await?),
        // The range that is set aside for documents: no test reaches out to the world.
        "sandboxProbe.internet=192.0.2.1:443".to_owned(),
    ];
    let mut loaded = String::new();
    match registry() {
        Some(registry) => {
            values.push(format!("images.registry={registry}"));
            values.push(format!("sandboxClass.spec.images.allow[0]={registry}/*"));
        }
        None => {
            let images = xtask(&["images", "--load"]).output().await?;
            loaded = images.success()?.stdout;
        }
    }
    chart(cluster, "oarmaster-crds", &[]).await?;
    chart(cluster, "oarmaster", &values).await?;
    // The tag is the version, so that helm sees no difference in an image that was built anew.
    for (image, workload) in [
        ("operator", "deployment/oarmaster-operator"),
        ("gateway", "statefulset/oarmaster-gateway"),
        ("webhook", "deployment/oarmaster-webhook"),
        ("runner", "deployment/oarmaster-pilots"),
    ] {
        if loaded.contains(&format!("loaded {}", self::image(image))) {
            rollout(cluster, &["restart", workload]).await?;
        }
        rollout(cluster, &["status", workload, "--timeout=3m"]).await?;
    }
    Ok(())
}

async fn chart(cluster: &Cluster, chart: &str, values: &[String]) -> Result<()> {
    let mut run = cluster
        .run("helm")
        .dir(checkout())
        .args(&["upgrade", "--install", chart, &format!("charts/{chart}")])
        .args(&["--namespace", RELEASE, "--create-namespace"]);
    for value in values {
        run = run.args(&["--set", value]);
    }
    run.within(Duration::from_secs(120))
        .output()
        .await?
        .success()
        .with_context(|| format!("failed to install chart {chart}"))?;
    Ok(())
}

async fn rollout(cluster: &Cluster, args: &[&str]) -> Result<()> {
    let mut all = vec!["--namespace", RELEASE, "rollout"];
    all.extend_from_slice(args);
    let run = cluster.run("kubectl").args(&all);
    let done = run.within(Duration::from_secs(200)).output().await?;
    done.success()?;
    Ok(())
}
