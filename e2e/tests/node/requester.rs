//! Who created a Task is known wherever its costs are, and no Task is created without it, whatever happens to the webhook.

use crate::support::{agent, alone, beside_others, create, pool, says, scripted, task};
use anyhow::{Context as _, Result, ensure};
use futures::future::join_all;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use oarmaster_e2e::forward::Forward;
use oarmaster_e2e::gateway::{Gateway, READ};
use oarmaster_e2e::installed::RELEASE;
use oarmaster_e2e::task::SOON;
use oarmaster_e2e::{Space, apply, kill, wait};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Name of Deployment, Service and configuration.
const WEBHOOK: &str = "oarmaster-webhook";

/// What creators of Tasks were told meanwhile.
struct Told {
    taken: usize,
    refused: Vec<String>,
}

/// Creates Tasks while `act` goes on, four at a time. They are dry runs: the webhook is asked as for any other.
async fn meanwhile<T>(space: &Space, act: impl Future<Output = Result<T>>) -> Result<(T, Told)> {
    let over = AtomicBool::new(false);
    let object = task(&json!({})).to_string();
    let creators = join_all((0..4).map(async |_| {
        let mut told = Vec::new();
        while !over.load(Ordering::SeqCst) {
            let answer = apply::dry_run(&space.cluster.client, &space.name, &object).await;
            told.push(answer.err().map(|error| format!("{error:#}")));
            // Leaves the machine to what it is about.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        told
    }));
    let act = async {
        let done = act.await;
        over.store(true, Ordering::SeqCst);
        done
    };
    let (done, told) = tokio::join!(act, creators);
    let (refused, taken): (Vec<_>, Vec<_>) = told.into_iter().flatten().partition(Option::is_some);
    let told = Told {
        taken: taken.len(),
        refused: refused.into_iter().flatten().collect(),
    };
    Ok((done?, told))
}

/// Waits until a Task can be created.
async fn taken(space: &Space) -> Result<()> {
    let object = task(&json!({})).to_string();
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        match apply::dry_run(&space.cluster.client, &space.name, &object).await {
            Ok(_) => return Ok(()),
            Err(error) if tokio::time::Instant::now() > deadline => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn pods(space: &Space) -> Api<Pod> {
    Api::namespaced(space.cluster.client.clone(), RELEASE)
}

async fn webhooks(space: &Space) -> Result<Vec<Pod>> {
    let ours = ListParams::default().labels("app.kubernetes.io/component=webhook");
    let found = pods(space).list(&ours).await?.items;
    ensure!(found.len() == 2, "{} pods of the webhook", found.len());
    Ok(found)
}

async fn ready(space: &Space) -> Result<()> {
    let all: Api<Deployment> = Api::namespaced(space.cluster.client.clone(), RELEASE);
    wait::until(all, WEBHOOK, "two ready pods", SOON, |found| {
        let status = found.status.as_ref();
        status.is_some_and(|status| status.ready_replicas == Some(2) && status.replicas == Some(2))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn the_ledger_says_whose_costs_they_are() -> Result<()> {
    beside_others("requester", async |space| {
        space
            .kubectl(&[
                "create",
                "rolebinding",
                "alice",
                "--clusterrole=edit",
                "--user=alice@acme",
            ])
            .await?;
        create(space, &[scripted(&[says("done")]), pool(), agent(&[])]).await?;
        let alice = space
            .cluster
            .acting_as("alice@acme", &["system:authenticated"])?;
        apply::create(&alice, &space.name, &task(&json!({})).to_string()).await?;
        let done = space.complete("work").await?;
        ensure!(done.spec.requested_by.as_deref() == Some("alice@acme"));
        let usage = space.reader().await?.usage("work").await?;
        ensure!(usage.calls == 1, "{usage:?}");
        ensure!(
            usage.requested_by.as_deref() == Some("alice@acme"),
            "{usage:?}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn no_creation_fails_while_a_pod_of_the_webhook_is_replaced() -> Result<()> {
    alone("webhook-leaves", async |space| {
        let leaving = webhooks(space).await?[0].name_any();
        let ((), told) = meanwhile(space, async {
            pods(space)
                .delete(&leaving, &DeleteParams::default())
                .await?;
            wait::until_gone(pods(space), &leaving, SOON).await?;
            ready(space).await
        })
        .await?;
        ensure!(told.refused.is_empty(), "{:#?}", told.refused);
        ensure!(told.taken > 0, "nothing was created meanwhile");
        Ok(())
    })
    .await
}

/// Without a chance to leave the Service: the API server does not ask twice, so that for a moment it refuses Tasks, and says why.
#[tokio::test]
async fn a_killed_webhook_is_named_by_the_refusal_and_comes_back() -> Result<()> {
    alone("webhook-killed", async |space| {
        let restarts =
            |pod: &Pod| kill::status(pod, "webhook").map_or(0, |held| held.restart_count);
        let found = webhooks(space).await?;
        let ((), told) = meanwhile(space, async {
            for pod in &found {
                kill::container(pod, "webhook")?;
            }
            for pod in &found {
                wait::until(pods(space), &pod.name_any(), "its restart", SOON, |now| {
                    restarts(now) > restarts(pod)
                        && kill::status(now, "webhook").is_some_and(|held| held.ready)
                })
                .await?;
            }
            Ok(())
        })
        .await?;
        ensure!(!told.refused.is_empty(), "no creation met a killed pod");
        for why in &told.refused {
            // It is asked for the requester, and then whether the Task could run.
            let named = ["requester", "objects"].map(|webhook| {
                why.contains(&format!(
                    "failed calling webhook \"{webhook}.oarmaster.dev\""
                ))
            });
            ensure!(named.contains(&true), "{why}");
        }
        taken(space).await
    })
    .await
}

/// The certificate that a pod of the webhook shows.
async fn shown(space: &Space, pod: &str, ca: &str) -> Result<Vec<u8>> {
    let forward = Forward::open(pods(space), pod, 8443).await?;
    let host = format!("{WEBHOOK}.{RELEASE}.svc");
    let http = reqwest::Client::builder()
        .tls_certs_only(reqwest::Certificate::from_pem_bundle(ca.as_bytes())?)
        .tls_info(true)
        .resolve(&host, forward.address)
        .timeout(Duration::from_secs(30))
        .build()?;
    let url = format!("https://{host}:{}/healthz", forward.address.port());
    let answer = http.get(url).send().await?.error_for_status()?;
    let info = answer.extensions().get::<reqwest::tls::TlsInfo>();
    let shown = info.and_then(|info| info.peer_certificate());
    Ok(shown.context("no certificate was shown")?.to_vec())
}

#[tokio::test]
async fn a_new_certificate_of_the_webhook_is_used_without_a_restart() -> Result<()> {
    alone("webhook-rotation", async |space| {
        const SECRET: &str = "oarmaster-webhook-tls";
        let secrets: Api<Secret> = Api::namespaced(space.cluster.client.clone(), RELEASE);
        let certificate = |secret: &Secret| -> Option<Vec<u8>> {
            let pem = &secret.data.as_ref()?.get("tls.crt")?.0;
            Some(CertificateDer::from_pem_slice(pem).ok()?.to_vec())
        };
        let found = webhooks(space).await?;
        let ca = Gateway::open(&space.cluster, READ).await?.ca;
        let before = certificate(&secrets.get(SECRET).await?).context("no certificate")?;
        let ((), told) = meanwhile(space, async {
            // As in a chart that was just installed; whoever leads next issues it.
            let issued = json!({"metadata": {"annotations": {"oarmaster.dev/issued": "0"}}});
            let patch = Patch::Merge(issued);
            secrets
                .patch(SECRET, &PatchParams::default(), &patch)
                .await?;
            let operators = ListParams::default().labels("app.kubernetes.io/component=operator");
            for pod in pods(space).list(&operators).await? {
                kill::container(&pod, "operator")?;
            }
            let now = wait::until(secrets, SECRET, "a new certificate", SOON, |secret| {
                certificate(secret).is_some_and(|now| now != before)
            })
            .await?;
            let wanted = certificate(&now).context("no certificate")?;
            for pod in &found {
                // The kubelet looks at a pod's Secrets when the pod changes, and else about once a minute.
                let note = Patch::Merge(json!({"metadata": {"annotations": {"e2e": "look"}}}));
                let name = pod.name_any();
                pods(space)
                    .patch(&name, &PatchParams::default(), &note)
                    .await?;
                let deadline = tokio::time::Instant::now() + Duration::from_secs(180);
                while shown(space, &name, &ca).await? != wanted {
                    ensure!(
                        tokio::time::Instant::now() < deadline,
                        "{name} shows the certificate from before"
                    );
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
            Ok(())
        })
        .await?;
        ensure!(told.refused.is_empty(), "{:#?}", told.refused);
        let restarted = |pod: &Pod| kill::status(pod, "webhook").map(|held| held.restart_count);
        for (before, after) in found.iter().zip(webhooks(space).await?) {
            ensure!(before.metadata.uid == after.metadata.uid);
            ensure!(restarted(before) == restarted(&after));
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn without_its_configuration_no_task_is_created_and_the_operator_mends_it() -> Result<()> {
    alone("webhook-unasked", async |space| {
        let all: Api<MutatingWebhookConfiguration> = Api::all(space.cluster.client.clone());
        let mut saved = all.get(WEBHOOK).await?;
        all.delete(WEBHOOK, &DeleteParams::default()).await?;
        let closed = closed(space).await;
        // As the chart has it: without the CA.
        saved.metadata.resource_version = None;
        saved.metadata.uid = None;
        saved.metadata.managed_fields = None;
        for webhook in saved.webhooks.iter_mut().flatten() {
            webhook.client_config.ca_bundle = None;
        }
        all.create(&PostParams::default(), &saved).await?;
        closed?;
        taken(space).await
    })
    .await
}

/// Waits until Tasks are refused, since nobody filled their requester in.
async fn closed(space: &Space) -> Result<()> {
    let object = task(&json!({})).to_string();
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        match apply::dry_run(&space.cluster.client, &space.name, &object).await {
            Ok(_) => ensure!(
                tokio::time::Instant::now() < deadline,
                "Tasks are still created"
            ),
            Err(error) => {
                let told = apply::refusal(&error).context("no answer")?;
                ensure!(told.contains("spec.requestedBy is missing"), "{told}");
                return Ok(());
            }
        }
    }
}
