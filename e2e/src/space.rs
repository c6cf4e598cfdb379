//! A namespace for one test.

use crate::cluster::Cluster;
use crate::{apply, dump};
use anyhow::{Context as _, Result};
use futures::FutureExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, PostParams};
use kube::core::NamespaceResourceScope;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

/// Says how long something took: shown with `--nocapture`, and with a failure.
#[allow(
    clippy::print_stderr,
    reason = "the test harness keeps it for a failure"
)]
pub fn say(what: &str, begun: Instant) {
    eprintln!("{:>6.1} s  {what}", begun.elapsed().as_secs_f64());
}

/// A namespace of its own, for one test.
pub struct Space {
    /// The cluster.
    pub cluster: Cluster,
    /// The namespace.
    pub name: String,
}

impl Space {
    /// Runs `test` in a fresh namespace that holds pods to the `restricted` standard. The namespace is deleted afterwards, also when the
    /// test panics; before that, a failed test's objects, events and logs are printed.
    ///
    /// # Errors
    /// When the namespace cannot be made or deleted, and those of the test.
    pub async fn with(
        cluster: Cluster,
        name: &str,
        test: impl AsyncFnOnce(&Self) -> Result<()>,
    ) -> Result<()> {
        let space = Self::make(cluster, name).await?;
        let begun = Instant::now();
        let ended = AssertUnwindSafe(test(&space)).catch_unwind().await;
        say(name, begun);
        if !matches!(ended, Ok(Ok(()))) {
            dump::print(&space).await;
        }
        let removed = space.remove().await;
        match ended {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(result) => result.and(removed),
        }
    }

    async fn make(cluster: Cluster, name: &str) -> Result<Self> {
        let random = uuid::Uuid::new_v4().simple().to_string();
        let name = format!("e2e-{name}-{}", random.get(..8).unwrap_or(&random));
        let namespace: Namespace = serde_json::from_value(serde_json::json!({
            "metadata": {
                "name": name,
                "labels": {
                    "oarmaster.dev/e2e": "true",
                    "pod-security.kubernetes.io/enforce": "restricted",
                },
            },
        }))?;
        Api::all(cluster.client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .with_context(|| format!("failed to create namespace {name}"))?;
        Ok(Self { cluster, name })
    }

    async fn remove(&self) -> Result<()> {
        let all: Api<Namespace> = Api::all(self.cluster.client.clone());
        match all.delete(&self.name, &DeleteParams::background()).await {
            // A test may have deleted it.
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            done => done
                .map(drop)
                .with_context(|| format!("failed to delete namespace {}", self.name)),
        }
    }

    /// The API of a kind in this namespace.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.cluster.client.clone(), &self.name)
    }

    /// Creates the objects of a YAML text in this namespace.
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn create(&self, yaml: &str) -> Result<Vec<DynamicObject>> {
        apply::create(&self.cluster.client, &self.name, yaml).await
    }

    /// Runs `kubectl -n <this namespace>` and takes its standard output.
    ///
    /// # Errors
    /// When it fails.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let mut all = vec!["--namespace", &self.name];
        all.extend_from_slice(args);
        Ok(self.cluster.kubectl(&all).await?.success()?.stdout)
    }
}
