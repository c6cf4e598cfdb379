//! Whoever applies the chart, and however, finds nothing to change in the webhook's configurations once the operator has put its CA there.

use crate::chart::helm;
use crate::support::in_space;
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::{ByteString, ClusterResourceScope};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Resource};
use oarmaster_crds::names::FIELD_MANAGER;
use oarmaster_e2e::Space;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt::Debug;

/// Ways in which people and their tools apply.
const WAYS: [&[&str]; 3] = [
    &[],
    &["--server-side", "--field-manager=argocd-controller"],
    &[
        "--server-side",
        "--field-manager=argocd-controller",
        "--force-conflicts",
    ],
];

/// What each webhook of a configuration is asked by.
trait Asked {
    fn clients(&self) -> Vec<&WebhookClientConfig>;
}

impl Asked for MutatingWebhookConfiguration {
    fn clients(&self) -> Vec<&WebhookClientConfig> {
        let all = self.webhooks.iter().flatten();
        all.map(|webhook| &webhook.client_config).collect()
    }
}

impl Asked for ValidatingWebhookConfiguration {
    fn clients(&self) -> Vec<&WebhookClientConfig> {
        let all = self.webhooks.iter().flatten();
        all.map(|webhook| &webhook.client_config).collect()
    }
}

/// The CA is put there as the operator does it, and is there still.
async fn put<K>(space: &Space, ca: &ByteString) -> Result<()>
where
    K: Asked
        + Resource<DynamicType = (), Scope = ClusterResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let all: Api<K> = Api::all(space.cluster.client.clone());
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = json!([{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": ca}]);
    let patch = Patch::Json::<()>(serde_json::from_value(patch)?);
    all.patch(&space.name, &params, &patch).await?;
    Ok(())
}

async fn holds<K>(space: &Space, ca: &ByteString) -> Result<()>
where
    K: Asked
        + Resource<DynamicType = (), Scope = ClusterResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let all: Api<K> = Api::all(space.cluster.client.clone());
    let held = all.get(&space.name).await?;
    let clients = held.clients();
    ensure!(
        clients.len() == 1
            && clients
                .iter()
                .all(|held| held.ca_bundle.as_ref() == Some(ca)),
        "{held:?}"
    );
    Ok(())
}

#[tokio::test]
async fn whoever_applies_the_chart_finds_nothing_to_change() -> Result<()> {
    in_space("webhook-drift", async |space| {
        let done = compared(space).await;
        let client = &space.cluster.client;
        let params = DeleteParams::default();
        let stamps: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
        let checks: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
        let deleted = (
            stamps.delete(&space.name, &params).await,
            checks.delete(&space.name, &params).await,
        );
        done?;
        deleted.0?;
        deleted.1?;
        Ok(())
    })
    .await
}

async fn compared(space: &Space) -> Result<()> {
    let rendered = helm(
        &space.cluster,
        &[
            "template",
            "oarmaster",
            "charts/oarmaster",
            "--kube-version=1.33.0",
            "--show-only=templates/webhook/configuration.yaml",
        ],
        "",
    )
    .await?
    .success()?
    .stdout;
    // Under another name, and for a group that there is not: nothing else is to wait for them.
    let name = format!("\n  name: {}\n", space.name);
    let ours = rendered
        .replace("\n  name: oarmaster-webhook\n", &name)
        .replace(
            "apiGroups: [oarmaster.dev]",
            "apiGroups: [drift.example.com]",
        );
    ensure!(ours.matches(&name).count() == 2, "{ours}");
    ensure!(!ours.contains("[oarmaster.dev]"), "{ours}");
    let kubectl = async |verb: &str, how: &[&str]| {
        let run = space.cluster.run("kubectl").stdin(ours.clone());
        run.args(&[verb, "--filename=-"]).args(how).output().await
    };
    kubectl("apply", &[]).await?.success()?;
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let ca = ByteString(certificate.cert.pem().into_bytes());
    put::<MutatingWebhookConfiguration>(space, &ca).await?;
    put::<ValidatingWebhookConfiguration>(space, &ca).await?;
    for how in WAYS {
        // What a tool looks at before, and what it finds after.
        for verb in ["diff", "apply", "diff"] {
            let said = kubectl(verb, how).await?;
            ensure!(said.code == Some(0), "{verb} {how:?}: {}", said.text());
        }
        holds::<MutatingWebhookConfiguration>(space, &ca)
            .await
            .with_context(|| format!("{how:?}"))?;
        holds::<ValidatingWebhookConfiguration>(space, &ca)
            .await
            .with_context(|| format!("{how:?}"))?;
    }
    Ok(())
}
