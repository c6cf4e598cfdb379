//! The webhook of the API tier. Its API server has no pods, so nobody answers behind the chart's Service; the same server runs in this
//! process instead, and is asked by the chart's own rule with another address.

use crate::support::refused;
use anyhow::{Result, bail};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::Api;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};
use oarmaster_e2e::{Cluster, apply};
use oarmaster_webhook::serve::{TASKS, serve};
use oarmaster_webhook::tls::Mounted;
use std::net::SocketAddr;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The chart's configuration.
const CHART: &str = "oarmaster-webhook";
/// The one in its place.
const OURS: &str = "oarmaster-webhook-e2e";
/// Label of a namespace for which the webhook is not asked, as if there were no configuration.
pub const NOT_ASKED: &str = "oarmaster.dev/e2e-webhook-not-asked";

/// Answers in the place of the chart's webhook, until this process ends.
pub async fn answer(cluster: &Cluster) -> Result<()> {
    if runs_pods(cluster).await? {
        return Ok(());
    }
    let all: Api<MutatingWebhookConfiguration> = Api::all(cluster.client.clone());
    let mut rule = all.get(CHART).await?;
    let (address, certificate) = start()?;
    for webhook in rule.webhooks.iter_mut().flatten() {
        webhook.client_config = WebhookClientConfig {
            url: Some(format!("https://{address}{TASKS}")),
            ca_bundle: Some(ByteString(certificate.clone().into_bytes())),
            service: None,
        };
        webhook.namespace_selector = Some(LabelSelector {
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: NOT_ASKED.to_owned(),
                operator: "DoesNotExist".to_owned(),
                values: None,
            }]),
            match_labels: None,
        });
    }
    rule.metadata = ObjectMeta {
        name: Some(OURS.to_owned()),
        ..ObjectMeta::default()
    };
    // What an earlier run has left asks a process that is gone.
    for name in [OURS, CHART] {
        match all.delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            other => drop(other?),
        }
    }
    all.create(&PostParams::default(), &rule).await?;
    asked(cluster).await
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
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        match apply::dry_run(&cluster.client, "default", &task).await {
            Ok(_) => return Ok(()),
            Err(error) if tokio::time::Instant::now() > deadline => {
                bail!("no Task can be created after 30 s: {}", refused(&error))
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
