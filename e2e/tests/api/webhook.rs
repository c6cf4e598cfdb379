//! The webhook of the API tier. Its API server has no pods, so nobody answers behind the chart's Service; the same server runs in this
//! process instead, and is asked by the chart's own rule with another address.

use crate::support::refused;
use anyhow::{Result, bail};
use k8s_openapi::ByteString;
use k8s_openapi::ClusterResourceScope;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::{Api, Client, Resource};
use oarmaster_e2e::{Cluster, apply};
use oarmaster_webhook::serve::{OBJECTS, TASKS, serve};
use oarmaster_webhook::tls::Mounted;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The chart's configurations.
const CHART: &str = "oarmaster-webhook";
/// Those in their place.
const OURS: &str = "oarmaster-webhook-e2e";
/// Label of a namespace for which the webhook is not asked, as if there were no configuration.
pub const NOT_ASKED: &str = "oarmaster.dev/e2e-webhook-not-asked";

/// Answers in the place of the chart's webhook, until this process ends.
pub async fn answer(cluster: &Cluster) -> Result<()> {
    if runs_pods(cluster).await? {
        return Ok(());
    }
    let (address, certificate) = start()?;
    let place = |path: &str| WebhookClientConfig {
        url: Some(format!("https://{address}{path}")),
        ca_bundle: Some(ByteString(certificate.clone().into_bytes())),
        service: None,
    };
    let client = &cluster.client;
    let mut stamps: MutatingWebhookConfiguration = Api::all(client.clone()).get(CHART).await?;
    for webhook in stamps.webhooks.iter_mut().flatten() {
        webhook.client_config = place(TASKS);
        webhook.namespace_selector = Some(asked_here());
    }
    replace(client, &mut stamps).await?;
    let mut checks: ValidatingWebhookConfiguration = Api::all(client.clone()).get(CHART).await?;
    for webhook in checks.webhooks.iter_mut().flatten() {
        webhook.client_config = place(OBJECTS);
        webhook.namespace_selector = Some(asked_here());
    }
    replace(client, &mut checks).await?;
    asked(cluster).await
}

fn asked_here() -> LabelSelector {
    LabelSelector {
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: NOT_ASKED.to_owned(),
            operator: "DoesNotExist".to_owned(),
            values: None,
        }]),
        match_labels: None,
    }
}

/// Takes away what an earlier run, or another kind of tests, has left: it asks a process that is gone, or nobody. The chart makes its own anew.
pub async fn forget(cluster: &Cluster) -> Result<()> {
    if runs_pods(cluster).await? {
        return Ok(());
    }
    forget_all::<MutatingWebhookConfiguration>(&cluster.client).await?;
    forget_all::<ValidatingWebhookConfiguration>(&cluster.client).await
}

async fn forget_all<K>(client: &Client) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + Debug + DeserializeOwned,
{
    let all: Api<K> = Api::all(client.clone());
    for name in [OURS, CHART] {
        match all.delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            other => drop(other?),
        }
    }
    Ok(())
}

/// Puts this configuration in the place of the chart's.
async fn replace<K>(client: &Client, rule: &mut K) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize,
{
    let all: Api<K> = Api::all(client.clone());
    *rule.meta_mut() = ObjectMeta {
        name: Some(OURS.to_owned()),
        ..ObjectMeta::default()
    };
    all.delete(CHART, &DeleteParams::default()).await?;
    all.create(&PostParams::default(), rule).await?;
    Ok(())
}

/// Name of the configuration by which the webhook is asked here.
pub async fn configuration(cluster: &Cluster) -> Result<&'static str> {
    Ok(if runs_pods(cluster).await? {
        CHART
    } else {
        OURS
    })
}

/// Whether the chart's own pods can run here.
pub async fn runs_pods(cluster: &Cluster) -> Result<bool> {
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let ready = |node: Node| {
        let conditions = node.status.and_then(|status| status.conditions);
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|held| held.type_ == "Ready" && held.status == "True")
    };
    let all = nodes.list(&ListParams::default()).await?;
    Ok(all.into_iter().any(ready))
}

/// Starts the webhook on a thread of its own, so that it outlives the test that came first. Gives its address and its certificate.
fn start() -> Result<(SocketAddr, String)> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("tls.crt"), made.cert.pem())?;
    std::fs::write(
        folder.path().join("tls.key"),
        made.signing_key.serialize_pem(),
    )?;
    let certificate = Mounted::read(folder.path().to_owned())?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::spawn(move || {
        let _folder = folder; // the webhook looks whether it holds another certificate
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            serve(listener, &certificate, CancellationToken::new()).await?;
            anyhow::Ok(())
        })
    });
    Ok((address, made.cert.pem()))
}

/// Waits until the API server asks the webhook: it reads a new configuration a moment after it was written.
async fn asked(cluster: &Cluster) -> Result<()> {
    let task = crate::task::run().to_string();
    let workflow = crate::workflow::wrong_one().to_string();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let stamped = apply::dry_run(&cluster.client, "default", &task).await;
        let checked = apply::dry_run(&cluster.client, "default", &workflow).await;
        match (stamped, checked) {
            (Ok(_), Err(_)) => return Ok(()),
            (stamped, checked) if tokio::time::Instant::now() > deadline => {
                let stamped = stamped.as_ref().err().map(refused);
                bail!(
                    "the webhook is not asked after 30 s: Task {stamped:?}, bad Workflow {checked:?}"
                )
            }
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
