//! The CA in the webhook's configurations: by it the API server knows that it talks to our webhook.
//!
//! The operator may `list`, `watch` and `patch` these two objects. It writes nothing in them but `caBundle`, and again whenever somebody else
//! took it out, since without it no Task can be created, and no other spec be written.

use futures::StreamExt as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::Resource;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use oarmaster_controllers::kit::chain;
use oarmaster_crds::names::FIELD_MANAGER;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Name of both configurations, of the Service and of the Deployment.
pub const NAME: &str = "oarmaster-webhook";
/// The webhook's Secret.
pub const SECRET: &str = "oarmaster-webhook-tls";
/// How long one call may take.
const CALL: Duration = Duration::from_secs(10);
/// Wait after a patch that failed.
const RETRY: Duration = Duration::from_secs(2);
/// How long a CA stays in the configuration that is trusted no more: the kubelet brings the webhook its new certificate within two minutes.
const BEHIND: Duration = Duration::from_secs(180);
const END: &str = "-----END CERTIFICATE-----\n";

/// Host name of the webhook in the installation's namespace.
#[must_use]
pub fn host(namespace: &str) -> String {
    format!("{NAME}.{namespace}.svc")
}

/// A kind of configuration.
trait Configuration:
    Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + 'static
{
    /// Where its webhooks are, in their order.
    fn clients(&self) -> Vec<&WebhookClientConfig>;
}

impl Configuration for MutatingWebhookConfiguration {
    fn clients(&self) -> Vec<&WebhookClientConfig> {
        let webhooks = self.webhooks.iter().flatten();
        webhooks.map(|webhook| &webhook.client_config).collect()
    }
}

impl Configuration for ValidatingWebhookConfiguration {
    fn clients(&self) -> Vec<&WebhookClientConfig> {
        let webhooks = self.webhooks.iter().flatten();
        webhooks.map(|webhook| &webhook.client_config).collect()
    }
}

/// Keeps the CA in the configurations, until nobody changes the CA any more.
pub async fn keep(client: kube::Client, namespace: String, ca: watch::Receiver<String>) {
    let stamps = Api::<MutatingWebhookConfiguration>::all(client.clone());
    let checks = Api::<ValidatingWebhookConfiguration>::all(client);
    tokio::select! {
        () = keep_in(stamps, &namespace, ca.clone()) => {}
        () = keep_in(checks, &namespace, ca) => {}
    }
}

async fn keep_in<K: Configuration>(api: Api<K>, namespace: &str, mut ca: watch::Receiver<String>) {
    let kind = K::kind(&());
    let named = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
    let mut seen = std::pin::pin!(
        watcher(api.clone(), named)
            .default_backoff()
            .applied_objects()
    );
    let mut held = None;
    let mut again = false;
    let (mut overlap, mut until) = (true, Instant::now() + BEHIND);
    loop {
        tokio::select! {
            found = seen.next() => match found {
                Some(Ok(found)) => held = Some(found),
                Some(Err(error)) => {
                    tracing::warn!(kind = %kind, error = chain(&error), "the webhook's configuration is not seen");
                    continue;
                }
                None => return,
            },
            changed = ca.changed() => {
                if changed.is_err() {
                    return;
                }
                (overlap, until) = (true, Instant::now() + BEHIND);
            }
            () = tokio::time::sleep_until(until), if overlap => overlap = false,
            () = tokio::time::sleep(RETRY), if again => {}
        }
        again = false;
        let bundle = ca.borrow_and_update().clone();
        let plan = |held: &K| plan(held, namespace, &bundle, overlap);
        let Some(patch) = held.as_ref().and_then(plan) else {
            continue;
        };
        match write(&api, patch).await {
            Ok(written) => {
                tracing::info!(kind = %kind, "the webhook's configuration has the CA");
                held = Some(written);
            }
            // What changed or went meanwhile comes by the watch.
            Err(error) => {
                tracing::warn!(
                    kind = %kind,
                    error = chain(&error),
                    "the webhook's configuration has not got the CA"
                );
                again = true;
            }
        }
    }
}

/// Why the configuration could not be written.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("failed to build a patch")]
    Patch(#[from] serde_json::Error),
    #[error("failed to patch {NAME}")]
    Kubernetes(#[from] kube::Error),
    #[error("failed to patch {NAME}: no answer within {CALL:?}")]
    Slow(#[from] tokio::time::error::Elapsed),
}

async fn write<K: Configuration>(api: &Api<K>, patch: Value) -> Result<K, Error> {
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Json::<()>(serde_json::from_value(patch)?);
    Ok(tokio::time::timeout(CALL, api.patch(NAME, &params, &patch)).await??)
}

/// The patch that gives our webhooks the CA, under the version that was seen; `None` when they have it. With `overlap` they keep those that
/// they have besides. A webhook that goes elsewhere than to our Service is somebody else's doing, and is left alone.
fn plan<K: Configuration>(
    found: &K,
    namespace: &str,
    bundle: &str,
    overlap: bool,
) -> Option<Value> {
    let version = found.meta().resource_version.as_deref()?;
    let mut patch =
        vec![json!({ "op": "test", "path": "/metadata/resourceVersion", "value": version })];
    for (index, config) in found.clients().into_iter().enumerate() {
        let service = config.service.as_ref();
        let ours = service.is_some_and(|to| to.name == NAME && to.namespace == namespace);
        let held = config.ca_bundle.as_ref().map(|held| held.0.as_slice());
        let mut wanted = bundle.to_owned();
        if overlap {
            let held = String::from_utf8_lossy(held.unwrap_or_default());
            let before = held.split_inclusive(END).filter(|part| part.ends_with(END));
            wanted.extend(before.filter(|before| !bundle.contains(before)));
        }
        if ours && held != Some(wanted.as_bytes()) {
            let path = format!("/webhooks/{index}/clientConfig/caBundle");
            let value = ByteString(wanted.into_bytes());
            patch.push(json!({ "op": "add", "path": path, "value": value }));
        }
    }
    (patch.len() > 1).then_some(Value::Array(patch))
}

#[cfg(test)]
mod tests;
