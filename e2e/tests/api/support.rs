//! The API server with the charts in it, and tables of objects that it takes or refuses.

use crate::webhook;
use anyhow::{Context as _, Result, bail, ensure};
use kube::Client;
use oarmaster_e2e::apply;
use oarmaster_e2e::cluster::checkout;
use oarmaster_e2e::installed::RELEASE;
use oarmaster_e2e::{Cluster, Space};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::{Mutex, OnceCell};

/// The cluster, with the checkout's charts in it. Whether their pods run does not matter here.
pub async fn cluster() -> Result<Cluster> {
    static DONE: OnceCell<()> = OnceCell::const_new();
    let cluster = Cluster::api().await?;
    DONE.get_or_try_init(|| install(&cluster)).await?;
    Ok(cluster)
}

async fn install(cluster: &Cluster) -> Result<()> {
    webhook::forget(cluster).await?;
    for chart in ["oarmaster-crds", "oarmaster"] {
        cluster
            .run("helm")
            .dir(checkout())
            .args(&["upgrade", "--install", chart])
            .args(&[format!("charts/{chart}")])
            .args(&["--namespace", RELEASE, "--create-namespace"])
            // What another run of this cluster has set stays as it is.
            .args(&["--reset-then-reuse-values"])
            .within(Duration::from_secs(120))
            .output()
            .await?
            .success()
            .with_context(|| format!("failed to install chart {chart}"))?;
    }
    // Without its answer no Task is created, and no policy is asked about one.
    webhook::answer(cluster).await?;
    guarded(cluster).await
}

/// Waits until the API server holds its requests to the policies: it reads new ones a moment after they were written, one after the other.
async fn guarded(cluster: &Cluster) -> Result<()> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "forged", "labels": {"oarmaster.dev/sandbox": "true"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    let mut child = crate::task::run();
    child["metadata"]["labels"] = json!({"oarmaster.dev/depth": "1"});
    let forged = [
        (pod, "made by the Job controller only"),
        (crate::approval::approval(), "made by the operator"),
        (child, "is set by the operator only"),
    ];
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    for (object, told) in forged {
        loop {
            match apply::dry_run(&cluster.client, "default", &object.to_string()).await {
                Err(error) if refused(&error).contains(told) => break,
                other if tokio::time::Instant::now() > deadline => {
                    bail!("the policies are not in force after 30 s: {other:?}")
                }
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
    Ok(())
}

/// Runs a test in a namespace of its own.
pub async fn in_space(name: &str, test: impl AsyncFnOnce(&Space) -> Result<()>) -> Result<()> {
    Space::with(cluster().await?, name, test).await
}

/// Held by whoever creates objects of the samples that are of no namespace, also if only in a dry run: two of a name there cannot be.
pub static OF_THE_CLUSTER: Mutex<()> = Mutex::const_new(());

/// The text of the API server's refusal.
pub fn refused(error: &anyhow::Error) -> &str {
    apply::refusal(error).unwrap_or("not refused by the API server")
}

/// An object, and what the API server says to it.
pub struct Case {
    /// What it is, for the one who reads a failure.
    pub name: &'static str,
    /// The object.
    pub object: Value,
    /// Texts that the refusal must hold; none: it is taken.
    pub told: Vec<&'static str>,
}

/// An object that is taken.
pub fn taken(name: &'static str, object: Value) -> Case {
    Case {
        name,
        object,
        told: Vec::new(),
    }
}

/// An object that is refused with a message that holds these texts.
pub fn denied(name: &'static str, object: Value, told: &[&'static str]) -> Case {
    Case {
        name,
        object,
        told: told.to_vec(),
    }
}

/// Holds every case to what the API server says, by dry run as this client.
pub async fn check(client: &Client, namespace: &str, cases: &[Case]) -> Result<()> {
    let mut wrong = Vec::new();
    for Case { name, object, told } in cases {
        match apply::dry_run(client, namespace, &object.to_string()).await {
            Ok(_) if told.is_empty() => {}
            Ok(_) => wrong.push(format!(
                "{name}: was taken, should be refused with {told:?}"
            )),
            Err(error) => {
                let message =
                    apply::refusal(&error).with_context(|| format!("{name}: {error:#}"))?;
                if told.is_empty() || !told.iter().all(|part| message.contains(part)) {
                    wrong.push(format!(
                        "{name}: should hold {told:?}, is refused with: {message}"
                    ));
                }
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// An object of ours.
pub fn object(kind: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "oarmaster.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "case"},
        "spec": spec,
    })
}

/// `base` with a merge patch on it: a null takes a field away.
pub fn with(base: &Value, patch: Value) -> Value {
    let mut merged = base.clone();
    json_patch::merge(&mut merged, &patch);
    merged
}

/// `base` with a merge patch on its spec.
pub fn with_spec(base: &Value, patch: Value) -> Value {
    with(base, json!({ "spec": patch }))
}
