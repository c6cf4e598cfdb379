//! Secrets by name, with `get` and `watch` only: rights that RBAC can give for single names.

use crate::catalog::{Id, Snapshot};
use crate::health::Health;
use crate::provider::entries::Entries;
use crate::provider::keys::SecretSight;
use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, WatchEvent, WatchParams};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Receiver;
use tokio::task::JoinSet;

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LAST_BACKOFF: Duration = Duration::from_secs(15);
/// Seconds after which a watch is opened anew.
const WATCH_SECONDS: u32 = 290;

/// What was seen of a Secret.
pub enum Sight {
    /// It was read.
    Found {
        /// Its resourceVersion.
        version: String,
        /// Its data.
        data: BTreeMap<String, ByteString>,
    },
    /// It does not exist.
    Missing,
    /// It may not be read.
    Forbidden,
}

/// Follows one Secret for ever and reports every change.
pub async fn follow(client: &Client, namespace: &str, name: &str, seen: impl Fn(Sight)) {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let mut backoff = FIRST_BACKOFF;
    loop {
        match round(&api, name, &seen).await {
            Ok(()) => {
                backoff = FIRST_BACKOFF;
                continue;
            }
            Err(kube::Error::Api(status)) if status.code == 403 => seen(Sight::Forbidden),
            // What was seen before holds until something else is seen: a pause of the API server takes no key away.
            Err(error) => {
                tracing::warn!(namespace, secret = name, error = %error, "failed to watch Secret; it is tried again")
            }
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(LAST_BACKOFF);
    }
}

/// Reads the Secret and follows it until the watch ends.
async fn round(api: &Api<Secret>, name: &str, seen: &impl Fn(Sight)) -> Result<(), kube::Error> {
    match api.get_opt(name).await? {
        Some(secret) => seen(found(secret)),
        None => seen(Sight::Missing),
    }
    let params = WatchParams::default()
        .fields(&format!("metadata.name={name}"))
        .timeout(WATCH_SECONDS);
    // From "0" the watch starts with the object as it is, so that nothing between the read and the watch is missed.
    let mut events = api.watch(&params, "0").await?.boxed();
    while let Some(event) = events.next().await {
        match event? {
            WatchEvent::Added(secret) | WatchEvent::Modified(secret) => seen(found(secret)),
            WatchEvent::Deleted(_) => seen(Sight::Missing),
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
        }
    }
    Ok(())
}

fn found(secret: Secret) -> Sight {
    Sight::Found {
        version: secret.metadata.resource_version.unwrap_or_default(),
        data: secret.data.unwrap_or_default(),
    }
}

/// The command that lets the gateway read the Secrets of a namespace.
#[must_use]
pub fn grant(namespace: &str, release: &str) -> String {
    format!(
        "kubectl create rolebinding oarmaster-gateway-keys --namespace {namespace} --clusterrole=oarmaster-gateway-keys --serviceaccount={release}:oarmaster-gateway"
    )
}

/// Follows the Secrets that the providers name, whichever those are at the time.
pub async fn follow_keys(
    client: Client,
    release: String,
    health: Arc<Health>,
    mut snapshots: Receiver<Arc<Snapshot>>,
) {
    let mut running: BTreeMap<Id, (BTreeSet<Entries>, tokio::task::AbortHandle)> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    loop {
        let wanted = snapshots.borrow_and_update().secrets();
        running.retain(|id, (entries, task)| {
            let keep = wanted.get(id) == Some(entries);
            if !keep {
                task.abort();
                health.secret_gone(&id.0, &id.1);
            }
            keep
        });
        for (id, entries) in wanted {
            if running.contains_key(&id) {
                continue;
            }
            let (client, release, health) = (client.clone(), release.clone(), health.clone());
            let (names, of) = (entries.clone(), id.clone());
            let task = tasks.spawn(async move {
                let (namespace, secret) = (&of.0, &of.1);
                follow(&client, namespace, secret, |sight| {
                    health.secret_seen(
                        namespace,
                        secret,
                        judge(sight, secret, &names, || grant(namespace, &release)),
                    );
                })
                .await;
            });
            running.insert(id, (entries, task));
        }
        while tasks.try_join_next().is_some() {} // aborted ones
        if snapshots.changed().await.is_err() {
            return;
        }
    }
}

fn judge(
    sight: Sight,
    secret: &str,
    wanted: &BTreeSet<Entries>,
    grant: impl Fn() -> String,
) -> SecretSight {
    match sight {
        Sight::Missing => SecretSight::Missing,
        Sight::Forbidden => SecretSight::Forbidden(grant()),
        Sight::Found { version, data } => SecretSight::Found {
            values: wanted
                .iter()
                .map(|entries| {
                    let entry = |name: &str| data.get(name).map(|value| value.0.as_slice());
                    let key = entries.read(secret, &version, entry).map(Arc::new);
                    (entries.clone(), key)
                })
                .collect(),
            version,
        },
    }
}
