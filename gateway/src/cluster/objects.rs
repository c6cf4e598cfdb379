//! Pools and providers of all namespaces, folded into the snapshot on each event.

use crate::catalog::{Id, Outbound, Snapshot};
use crate::health::Health;
use arc_swap::ArcSwap;
use futures::StreamExt;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Client, Resource};
use oarmaster_crds::{ModelPool, ModelProvider};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch::Sender;

/// The objects, and the snapshot made of them.
pub struct Objects {
    seen: Mutex<Seen>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    outbound: Outbound,
    health: Arc<Health>,
    synced: Sender<bool>,
}

#[derive(Default)]
struct Seen {
    pools: Option<BTreeMap<Id, ModelPool>>,
    providers: Option<BTreeMap<Id, ModelProvider>>,
}

impl Objects {
    /// Nothing seen yet. `synced` becomes true once both kinds were listed.
    #[must_use]
    pub fn new(
        snapshot: Arc<ArcSwap<Snapshot>>,
        outbound: Outbound,
        health: Arc<Health>,
        synced: Sender<bool>,
    ) -> Self {
        Self {
            seen: Mutex::default(),
            snapshot,
            outbound,
            health,
            synced,
        }
    }

    /// Watches both kinds, for ever.
    pub async fn run(&self, client: Client) {
        let pools = follow::<ModelPool>(&client, |all| self.change(|seen| seen.pools = Some(all)));
        let providers = follow::<ModelProvider>(&client, |all| {
            self.change(|seen| seen.providers = Some(all))
        });
        tokio::join!(pools, providers);
    }

    fn change(&self, edit: impl FnOnce(&mut Seen)) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        edit(&mut seen);
        let before = self.snapshot.load();
        let now = Arc::new(Snapshot::build(
            seen.pools.iter().flatten(),
            seen.providers.iter().flatten(),
            &before,
            &self.outbound,
        ));
        self.snapshot.store(now.clone());
        self.health.snapshot_changed(&before, &now);
        if seen.pools.is_some() && seen.providers.is_some() {
            self.synced.send_replace(true);
        }
    }
}

/// Follows one kind: calls `changed` with all objects after the first list and after each change.
pub(super) async fn follow<K>(client: &Client, changed: impl Fn(BTreeMap<Id, K>))
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let api: Api<DeserializeGuard<K>> = Api::all(client.clone());
    let events = watcher::watcher(api, watch::Config::default()).default_backoff();
    let mut all = BTreeMap::new();
    let mut listed = BTreeMap::new();
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed = BTreeMap::new(),
            Ok(Event::InitApply(object)) => keep(&mut listed, object),
            Ok(Event::InitDone) => {
                all = std::mem::take(&mut listed);
                changed(all.clone());
            }
            Ok(Event::Apply(object)) => {
                keep(&mut all, object);
                changed(all.clone());
            }
            Ok(Event::Delete(object)) => {
                all.remove(&id(object.meta()));
                changed(all.clone());
            }
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), error = %error, "watch failed; it is tried again")
            }
        }
    }
}

/// A malformed object is as good as absent, and stops nobody else's.
fn keep<K: Resource<DynamicType = ()>>(all: &mut BTreeMap<Id, K>, object: DeserializeGuard<K>) {
    let id = id(object.meta());
    match object.0 {
        Ok(mut object) => {
            object.meta_mut().managed_fields = None;
            all.insert(id, object);
        }
        Err(invalid) => {
            tracing::warn!(kind = %K::kind(&()), namespace = id.0, name = id.1, error = %invalid.error, "object is malformed and ignored");
            all.remove(&id);
        }
    }
}

fn id(meta: &kube::api::ObjectMeta) -> Id {
    (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}
