//! Pools and providers as requests see them: an immutable snapshot, made anew from the objects on each event.

mod pool;
mod provider;

pub use pool::{Member, Pool};
pub use provider::{Model, Provider};

use crate::config::Settings;
use crate::price::Price;
use crate::provider::aws::workload::Workload;
use crate::provider::entries::Entries;
use crate::provider::guard::PrivateEndpoints;
use oarmaster_crds::names::DEFAULT;
use oarmaster_crds::{ModelPool, ModelProvider};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Namespace and name.
pub type Id = (String, String);

/// An object in texts, labels and rows: `<namespace>/<name>`.
#[must_use]
pub fn path((namespace, name): &Id) -> String {
    format!("{namespace}/{name}")
}

/// Everything that requests are routed by.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The pools.
    pub pools: BTreeMap<Id, Arc<Pool>>,
    /// The pools that the other names of callers mean, by namespace and alias.
    pub aliases: BTreeMap<Id, Id>,
    /// The providers.
    pub providers: BTreeMap<Id, Arc<Provider>>,
}

/// What providers are made with.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// TLS towards providers.
    pub tls: Arc<rustls::ClientConfig>,
    /// Private addresses that they may have.
    pub guard: Arc<PrivateEndpoints>,
    /// The gateway's own identity at AWS.
    pub workload: Arc<Workload>,
    /// The release namespace, whose providers alone may use that identity.
    pub namespace: String,
}

impl Snapshot {
    /// A snapshot of these objects. Providers that did not change keep their connections.
    #[must_use]
    pub fn build<'a>(
        pools: impl IntoIterator<Item = (&'a Id, &'a ModelPool)>,
        providers: impl IntoIterator<Item = (&'a Id, &'a ModelProvider)>,
        before: &Self,
        outbound: &Outbound,
    ) -> Self {
        let pools: Vec<_> = pools.into_iter().collect();
        Self {
            aliases: aliases(&pools),
            pools: pools
                .into_iter()
                .map(|(id, pool)| (id.clone(), Arc::new(Pool::new(id, pool))))
                .collect(),
            providers: providers
                .into_iter()
                .map(|(id, object)| {
                    let version = (
                        object.metadata.uid.clone().unwrap_or_default(),
                        object.metadata.generation.unwrap_or_default(),
                    );
                    let provider = match before.providers.get(id) {
                        Some(known) if known.version == version => known.clone(),
                        _ => Arc::new(Provider::new(id, version, &object.spec, outbound)),
                    };
                    (id.clone(), provider)
                })
                .collect(),
        }
    }

    /// Whether a pool has a member whose every price is 0, of a provider that it may name.
    #[must_use]
    pub fn has_free_member(&self, pool: &Id, may_name: impl Fn(&Id) -> bool) -> bool {
        let members = self.pools.get(pool).map(|pool| &pool.members);
        let members = members.into_iter().flatten();
        let members = members.filter(|member| may_name(&member.provider));
        let mut models = members.filter_map(|member| {
            let provider = self.providers.get(&member.provider)?;
            provider.models.get(&member.model)
        });
        models.any(|model| model.price.as_ref().is_ok_and(Price::is_free))
    }

    /// Most tokens of a call to the pool: those of the member that takes the most, where it is known of all of them.
    #[must_use]
    pub fn context(&self, pool: &Id) -> Option<u64> {
        let members = self.pools.get(pool)?.members.iter();
        let models = members.filter_map(|member| {
            let provider = self.providers.get(&member.provider)?;
            provider.models.get(&member.model)
        });
        let contexts: Option<Vec<u64>> = models.map(|model| model.stated_context).collect();
        contexts?.into_iter().max()
    }

    /// The Secrets that providers name, with what is a key in each.
    #[must_use]
    pub fn secrets(&self) -> BTreeMap<Id, BTreeSet<Entries>> {
        let mut wanted: BTreeMap<Id, BTreeSet<Entries>> = BTreeMap::new();
        for provider in self.providers.values() {
            for key in &provider.keys {
                wanted
                    .entry((provider.id.0.clone(), key.secret.clone()))
                    .or_default()
                    .insert(key.entries.clone());
            }
        }
        wanted
    }

    /// The pool that a `model` means for a caller of this namespace: the first that exists, else the first that it could mean.
    #[must_use]
    pub fn resolve(&self, model: &str, caller: Option<&str>, settings: &Settings) -> Id {
        let candidates: Vec<Id> = match model.split_once('/') {
            Some((namespace, name)) => vec![(namespace.to_owned(), name.to_owned())],
            None => {
                let release = &settings.namespace;
                let mut list: Vec<Id> = caller
                    .into_iter()
                    .chain(std::iter::once(release.as_str()))
                    .map(|namespace| (namespace.to_owned(), model.to_owned()))
                    .collect();
                if let (DEFAULT, Some(pool)) = (model, &settings.default_pool) {
                    // The administrator's choice comes before a pool that happens to have the name.
                    list.insert(
                        usize::from(caller.is_some()),
                        (release.clone(), pool.clone()),
                    );
                }
                list
            }
        };
        candidates
            .iter()
            .find_map(|id| {
                let pool = self.pools.get_key_value(id).map(|(id, _)| id);
                pool.or_else(|| self.aliases.get(id))
            })
            .or(candidates.first())
            .cloned()
            .unwrap_or_default()
    }
}

/// Whom each alias means. Of two pools of a namespace that claim one, the older has it; of two of the same second, the first by name.
fn aliases(pools: &[(&Id, &ModelPool)]) -> BTreeMap<Id, Id> {
    let mut by_age = pools.to_vec();
    by_age.sort_by_key(|(id, pool)| (pool.metadata.creation_timestamp.clone(), *id));
    let mut aliases = BTreeMap::new();
    for (id, pool) in by_age {
        for alias in &pool.spec.aliases {
            aliases
                .entry((id.0.clone(), alias.clone()))
                .or_insert_with(|| id.clone());
        }
    }
    aliases
}

/// A count that the schema keeps above 0.
fn count(number: Option<i64>) -> Option<u64> {
    number.and_then(|number| u64::try_from(number).ok())
}

/// A number that the schema keeps small.
fn small(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}
