//! An object that the watch has not brought: asked of the API server itself, since a watch may lag behind whoever sends us the call.

use crate::catalog::{Id, Snapshot};
use crate::error::ApiFailure;
use crate::identity::ask;
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::{Api, Client, Resource};
use moka::future::Cache;
use oarmaster_crds::access::absent;
use oarmaster_crds::names::{is_dns_label, is_dns_subdomain};
use oarmaster_crds::{ModelPool, ModelProvider};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// Who asks for what does not exist asks often. A watch is behind by less.
const KNOWN_FOR: Duration = Duration::from_secs(2);
const MAX_CACHED: u64 = 20_000;

/// Asks the API server for single objects: for each at most once in 2 s, however many ask.
#[derive(Clone)]
pub struct Lookup {
    client: Client,
    /// By kind and [`Id`].
    cache: Cache<(String, Id), bool>,
}

impl Lookup {
    /// Asks with this client.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
            cache: Cache::builder()
                .max_capacity(MAX_CACHED)
                .time_to_live(KNOWN_FOR)
                .build(),
        }
    }

    /// What it asks with.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Passes when the snapshot has the pool and a provider of it. What it has not is looked up once. `from` is the namespace that names the pool.
    ///
    /// # Errors
    /// `not_found` for a pool that does not exist; `unavailable` (to be tried again) for a pool or a provider that exists and was not
    /// seen yet.
    pub async fn seen(&self, snapshot: &Snapshot, pool: &Id, from: &str) -> Result<(), ApiFailure> {
        let Some(found) = snapshot.pools.get(pool) else {
            return if self.exists::<ModelPool>(pool).await? {
                Err(unseen("ModelPool", pool))
            } else {
                let id = (pool.0.as_str(), pool.1.as_str());
                Err(ApiFailure::not_found(absent("ModelPool", id, from)))
            };
        };
        // A member that is never there costs no question while another one serves.
        let served = |id: &Id| snapshot.providers.contains_key(id);
        let members = &found.members;
        if members.iter().any(|member| served(&member.provider)) {
            return Ok(());
        }
        for member in members {
            if self.exists::<ModelProvider>(&member.provider).await? {
                return Err(unseen("ModelProvider", &member.provider));
            }
        }
        Ok(()) // the hops say what is missing
    }

    /// Whether there is such an object, and a well-formed one: a malformed one is as good as absent. The names come from callers; what
    /// cannot be a name is not asked for, since it would become part of a URL.
    async fn exists<K>(&self, id: &Id) -> Result<bool, ApiFailure>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let (namespace, name) = id;
        if !is_dns_label(namespace) || !is_dns_subdomain(name) {
            return Ok(false);
        }
        let key = (K::plural(&()).into_owned(), id.clone());
        let asked = self.cache.try_get_with(key, async {
            let api: Api<DeserializeGuard<K>> = Api::namespaced(self.client.clone(), namespace);
            let found = ask("read of an object", api.get_opt(name)).await?;
            Ok(found.is_some_and(|object| object.0.is_ok()))
        });
        asked
            .await
            .map_err(|error: Arc<ApiFailure>| (*error).clone())
    }
}

fn unseen(kind: &str, (namespace, name): &Id) -> ApiFailure {
    ApiFailure::unavailable(format!(
        "{kind} {name} in namespace {namespace} is new to the gateway; try again in a second"
    ))
}
