//! What is known of providers: their keys and whether they answer. The operator writes it into the objects' status.

use crate::catalog::{Id, Provider, Snapshot};
use crate::clock::since_epoch;
use crate::provider::Backend;
use crate::provider::failure::{Class, Failure};
use crate::provider::http::Unreached;
use crate::provider::keys::{ApiKey, KeyRef, Keyring, SecretSight};
use crate::routing::breaker::Circuit;
use crate::routing::gate::Gates;
use crate::routing::lanes::Lanes;
use futures::StreamExt;
use oarmaster_protocol::admin::{
    CircuitHealth, Health as Report, ModelHealth, ProviderHealth, Reachable,
};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, broadcast};
use tokio::time::Instant;

/// Probes that run at once.
const PROBES: usize = 8;
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LAST_RETRY: Duration = Duration::from_secs(60);
/// Changes that a slow reader may lag behind.
const CHANGES: usize = 256;
/// Shortest time between two tellings of circuits.
const BETWEEN_CIRCUITS: Duration = Duration::from_secs(5);

/// Keys and reachability of all providers.
pub struct Health {
    /// What is known of lanes.
    pub lanes: Lanes,
    /// What callers have taken of the limits of pools.
    pub gates: Gates,
    keyring: Keyring,
    seen: Mutex<HashMap<Id, Seen>>,
    changes: broadcast::Sender<Id>,
    snapshots: tokio::sync::watch::Sender<Arc<Snapshot>>,
    look: Notify,
    /// Providers with a circuit that opened or closed and of which nobody was told yet.
    circuits: Mutex<BTreeSet<Id>>,
    circuit: Notify,
    /// Why nothing new is spent at all.
    full: Mutex<Option<String>>,
}

struct Seen {
    reachable: Option<Reachable>,
    /// Why the last probe was not sent.
    forbidden: Option<String>,
    /// Object and Secrets as of the last probe.
    probed: String,
    retry: Option<(Instant, Duration)>,
}

/// What a try to reach an endpoint came to.
enum Tried {
    Answered,
    /// A caller's hop got no answer. It does not tell whether it was sent at all, so it takes
    /// nothing back of what a probe found.
    HopFailed(String),
    Silent(String),
    Forbidden(String),
}

impl Default for Health {
    fn default() -> Self {
        Self {
            lanes: Lanes::default(),
            gates: Gates::default(),
            keyring: Keyring::default(),
            seen: Mutex::default(),
            changes: broadcast::Sender::new(CHANGES),
            snapshots: tokio::sync::watch::Sender::new(Arc::default()),
            look: Notify::new(),
            circuits: Mutex::default(),
            circuit: Notify::new(),
            full: Mutex::default(),
        }
    }
}

impl Health {
    /// The keys that can be tried now, in order.
    #[must_use]
    pub fn usable_keys(&self, provider: &Provider) -> Vec<(String, Arc<ApiKey>)> {
        self.keyring
            .usable(&provider.id.0, &provider.id.1, &provider.keys)
    }

    /// A key, if it can be tried now.
    #[must_use]
    pub fn usable_key(&self, provider: &Provider, key: &KeyRef) -> Option<Arc<ApiKey>> {
        self.keyring.usable_one(&provider.id.0, &provider.id.1, key)
    }

    /// Why no key of the provider can be used.
    #[must_use]
    pub fn key_problem(&self, provider: &Provider) -> String {
        self.keyring
            .health(&provider.id.0, &provider.id.1, &provider.keys)
            .into_iter()
            .map(|key| format!("key {} is {:?}", key.name, key.state))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Snapshots as they change, for who follows Secrets.
    #[must_use]
    pub fn snapshots(&self) -> tokio::sync::watch::Receiver<Arc<Snapshot>> {
        self.snapshots.subscribe()
    }

    /// Providers whose health changed.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Id> {
        self.changes.subscribe()
    }

    /// The objects changed.
    pub fn snapshot_changed(&self, before: &Snapshot, now: &Arc<Snapshot>) {
        self.lock().retain(|id, _| now.providers.contains_key(id));
        self.lanes.retain(|id| now.providers.contains_key(id));
        self.gates.retain(|id| now.pools.contains_key(id));
        self.snapshots.send_replace(now.clone());
        for (id, provider) in &now.providers {
            if before.providers.get(id).map(|known| &known.version) != Some(&provider.version) {
                self.changed(id);
            }
        }
        self.look.notify_one();
    }

    /// A Secret was seen.
    pub fn secret_seen(&self, namespace: &str, secret: &str, sight: SecretSight) {
        let snapshot = self.snapshots.borrow().clone();
        let of_it = |key: &&KeyRef| key.secret == secret;
        let version = |key: &KeyRef| self.keyring.versions(namespace, std::slice::from_ref(key));
        let providers = snapshot.providers.iter();
        let keys: Vec<(&Id, &KeyRef, String)> = providers
            .filter(|(id, _)| id.0 == namespace)
            .flat_map(|(id, provider)| {
                let keys = provider.keys.iter().filter(of_it);
                keys.map(move |key| (id, key, version(key)))
            })
            .collect();
        self.keyring.see(namespace, secret, sight);
        for (id, key, before) in keys {
            if version(key) != before {
                self.lanes.key_changed(id, &key.name);
            }
            self.changed(id);
        }
        self.look.notify_one();
    }

    /// No provider names this Secret any more.
    pub fn secret_gone(&self, namespace: &str, secret: &str) {
        self.keyring.forget(namespace, secret);
    }

    /// A hop to the provider ended.
    pub fn hop_ended(
        &self,
        provider: &Provider,
        key: Option<(&str, &ApiKey)>,
        end: Result<(), &Failure>,
    ) {
        let id = &provider.id;
        let tried = match end {
            Err(failure) if !failure.answered => Tried::HopFailed(failure.message.clone()),
            Ok(()) | Err(_) => Tried::Answered,
        };
        self.tried(id, tried);
        let (Err(failure), Some((name, key))) = (end, key) else {
            return;
        };
        match failure.class {
            Class::Credential => {
                self.keyring
                    .refused(&id.0, &id.1, name, key, &failure.message);
            }
            Class::Quota => {
                self.keyring
                    .exhausted(&id.0, &id.1, name, key, failure.retry_after);
            }
            _ => return,
        }
        self.changed(id);
    }

    /// The report for the operator.
    #[must_use]
    pub fn report(&self) -> Report {
        let snapshot = self.snapshots.borrow().clone();
        let full = self.full().clone();
        let seen = self.lock();
        Report {
            providers: snapshot
                .providers
                .iter()
                .map(|(id, provider)| ProviderHealth {
                    namespace: id.0.clone(),
                    name: id.1.clone(),
                    generation: provider.version.1,
                    keys: self.keyring.health(&id.0, &id.1, &provider.keys),
                    reachable: match &provider.backend {
                        Backend::Http(http) if http.is_scripted() => Some(Reachable {
                            ok: true,
                            message: String::new(),
                        }),
                        Backend::Broken(_) => None,
                        Backend::Http(_) => seen.get(id).and_then(|seen| seen.reachable.clone()),
                    },
                    models: provider
                        .models
                        .iter()
                        .map(|(name, model)| ModelHealth {
                            name: name.clone(),
                            problem: model.price.as_ref().err().cloned().unwrap_or_default(),
                            circuit: self.circuit(provider, name),
                        })
                        .collect(),
                    unusable: full.clone().or_else(|| match &provider.backend {
                        Backend::Broken(problem) => Some(problem.clone()),
                        Backend::Http(_) => seen.get(id).and_then(|seen| seen.forbidden.clone()),
                    }),
                })
                .collect(),
        }
    }

    /// Probes providers that are new, changed, or did not answer last time, and tells of circuits, for ever.
    pub async fn run(&self) {
        tokio::join!(self.probe_all(), self.tell_circuits());
    }

    async fn probe_all(&self) {
        loop {
            let due = self.due(Instant::now());
            futures::stream::iter(due)
                .for_each_concurrent(
                    PROBES,
                    |provider| async move { self.probe(&provider).await },
                )
                .await;
            let next = self
                .lock()
                .values()
                .filter_map(|seen| seen.retry.map(|(at, _)| at))
                .min();
            match next {
                Some(at) => tokio::select! {
                    () = self.look.notified() => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => self.look.notified().await,
            }
        }
    }

    fn due(&self, now: Instant) -> Vec<Arc<Provider>> {
        let snapshot = self.snapshots.borrow().clone();
        let mut all = self.lock();
        let mut due = Vec::new();
        for (id, provider) in &snapshot.providers {
            match &provider.backend {
                Backend::Http(http) if !http.is_scripted() => {}
                Backend::Http(_) | Backend::Broken(_) => continue,
            }
            let stand = format!(
                "{} {} {}",
                provider.version.0,
                provider.version.1,
                self.keyring.versions(&id.0, &provider.keys)
            );
            let seen = all.entry(id.clone()).or_insert_with(|| Seen {
                reachable: None,
                forbidden: None,
                probed: String::new(),
                retry: None,
            });
            if seen.probed != stand || seen.retry.is_some_and(|(at, _)| at <= now) {
                seen.probed = stand;
                due.push(provider.clone());
            }
        }
        due
    }

    async fn probe(&self, provider: &Provider) {
        let Backend::Http(http) = &provider.backend else {
            return;
        };
        let keys = self.usable_keys(provider);
        let key = keys.first().map(|(_, key)| &**key);
        let tried = match http.probe(key).await {
            Ok(()) => Tried::Answered,
            Err(Unreached::Silent(problem)) => Tried::Silent(problem),
            Err(Unreached::Forbidden(problem)) => Tried::Forbidden(problem),
        };
        self.tried(&provider.id, tried);
    }

    fn tried(&self, id: &Id, tried: Tried) {
        let ok = matches!(tried, Tried::Answered);
        let changed = {
            let mut all = self.lock();
            let Some(seen) = all.get_mut(id) else {
                return; // a script, or deleted meanwhile
            };
            if matches!(tried, Tried::HopFailed(_)) && seen.forbidden.is_some() {
                return;
            }
            seen.retry = (!ok).then(|| {
                let wait = seen
                    .retry
                    .map_or(FIRST_RETRY, |(_, wait)| (wait * 2).min(LAST_RETRY));
                (Instant::now() + wait, wait)
            });
            let reachable = |message| Some(Reachable { ok, message });
            let (reachable, forbidden) = match tried {
                Tried::Answered => (reachable(String::new()), None),
                Tried::Silent(message) | Tried::HopFailed(message) => (reachable(message), None),
                Tried::Forbidden(message) => (None, Some(message)),
            };
            let before = (
                std::mem::replace(&mut seen.reachable, reachable.clone()),
                std::mem::replace(&mut seen.forbidden, forbidden.clone()),
            );
            before != (reachable, forbidden)
        };
        if changed {
            tracing::info!(
                namespace = id.0,
                provider = id.1,
                ok,
                "reachability of a provider changed"
            );
            self.changed(id);
            self.look.notify_one();
        }
    }

    /// The circuit of a lane of a provider opened or closed. It is told with others of the next seconds: where it goes back and forth, nobody is
    /// to write that down each time.
    pub fn circuit_changed(&self, id: &Id) {
        self.circuits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.clone());
        self.circuit.notify_one();
    }

    /// Tells of circuits, for ever.
    async fn tell_circuits(&self) {
        // The last reopening that was told: what reopens during the pause between two tellings comes after it.
        let mut told = std::time::Instant::now();
        loop {
            let mut changed =
                std::mem::take(&mut *self.circuits.lock().unwrap_or_else(PoisonError::into_inner));
            let now = std::time::Instant::now();
            let next = loop {
                match self.lanes.reopens(told) {
                    Some((at, id)) if at <= now => {
                        told = at;
                        changed.insert(id);
                    }
                    next => break next,
                }
            };
            if !changed.is_empty() {
                for id in changed {
                    self.changed(&id);
                }
                tokio::time::sleep(BETWEEN_CIRCUITS).await;
                continue;
            }
            let reopens = async {
                match next {
                    Some((at, _)) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.circuit.notified() => {}
                () = reopens => {}
            }
        }
    }

    /// Where each model of each provider stands: its names, and 0 for closed, 1 for half-open, 2 for open.
    #[must_use]
    pub fn states(&self) -> Vec<(String, String, i64)> {
        let snapshot = self.snapshots.borrow().clone();
        let providers = snapshot.providers.values();
        let state = |provider: &Provider, model: &str| match self.circuit(provider, model) {
            CircuitHealth::Closed => 0,
            CircuitHealth::HalfOpen => 1,
            CircuitHealth::Open { .. } => 2,
        };
        let models = providers.flat_map(|provider| {
            let names = provider.models.keys();
            names.map(move |model| (provider.path(), model.clone(), state(provider, model)))
        });
        models.collect()
    }

    fn circuit(&self, provider: &Provider, model: &str) -> CircuitHealth {
        let keys = provider.keys.iter().map(|key| key.name.as_str());
        let now = std::time::Instant::now();
        match self.lanes.circuit(provider, model, keys, now) {
            Circuit::Closed => CircuitHealth::Closed,
            Circuit::HalfOpen => CircuitHealth::HalfOpen,
            Circuit::Open { until } => CircuitHealth::Open {
                until_ms: ms_since_epoch(until.saturating_duration_since(now)),
            },
        }
    }

    /// Why nothing new is spent at all, from now on; `None` where something is. The operator is told when that changes.
    pub fn set_full(&self, why: Option<String>) {
        let before = std::mem::replace(&mut *self.full(), why.clone());
        // The numbers in it change while it is full.
        if before.is_some() != why.is_some() {
            match why {
                Some(why) => tracing::error!(%why, "the volume is full"),
                None => tracing::info!("the volume has room again"),
            }
            let snapshot = self.snapshots.borrow().clone();
            for id in snapshot.providers.keys() {
                self.changed(id);
            }
        }
    }

    fn full(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.full.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self, id: &Id) {
        // Without a reader there is nobody to tell: readers start with everything.
        let _ = self.changes.send(id.clone());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Id, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time in so long, in milliseconds since the Unix epoch.
fn ms_since_epoch(ahead: Duration) -> i64 {
    i64::try_from((since_epoch() + ahead).as_millis()).unwrap_or(i64::MAX)
}
