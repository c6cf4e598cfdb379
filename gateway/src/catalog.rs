//! Pools and providers as requests see them: an immutable snapshot, made anew from the objects on each event.

use crate::config::Settings;
use crate::price::Price;
use crate::provider::Backend;
use crate::provider::aws::workload::Workload;
use crate::provider::entries::Entries;
use crate::provider::guard::PrivateEndpoints;
use crate::provider::http::{Http, Waits};
use crate::provider::keys::KeyRef;
use crate::provider::script::Script;
use crate::provider::site::Site;
use crate::provider::wire::{self, Wire};
use crate::routing::breaker::Limits;
use crate::routing::limits;
use crate::routing::quota::FreeQuota;
use oarmaster_crds::duration::NotADuration;
use oarmaster_crds::kinds::pool::{Breaker, Failover, Strategy};
use oarmaster_crds::kinds::provider::{
    self, AwsCredentials, ProviderKey, ProviderLimits, ProviderModel, Timeouts,
};
use oarmaster_crds::names::DEFAULT;
use oarmaster_crds::{ModelPool, ModelPoolSpec, ModelProvider, ModelProviderSpec};
use oarmaster_prices::{Row, Table, Vendor};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Namespace and name.
pub type Id = (String, String);

/// A provider, ready to be asked.
#[derive(Debug)]
pub struct Provider {
    /// Its namespace and name.
    pub id: Id,
    /// UID and generation of the object.
    pub version: (String, i64),
    /// How to reach it.
    pub backend: Backend,
    /// Its keys, in order.
    pub keys: Vec<KeyRef>,
    /// What its owner allows.
    pub limits: limits::Limits,
    /// Its models.
    pub models: BTreeMap<String, Model>,
}

/// A model of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its price, or why it has none.
    pub price: Result<Price, String>,
    /// Most tokens of one call.
    pub context: u64,
    /// What the built-in table knows of it.
    pub row: Option<&'static Row>,
    /// What the provider gives away.
    pub free_quota: FreeQuota,
}

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// How members of one priority are ordered.
    pub strategy: Strategy,
    /// The members, in the written order.
    pub members: Vec<Member>,
    /// Most hops of a call.
    pub hops: u32,
    /// No hop of a call starts after this long.
    pub deadline: Duration,
    /// When a lane is left alone.
    pub breaker: Limits,
    /// Whether no new call is taken.
    pub suspended: bool,
}

/// A member of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The provider's namespace and name.
    pub provider: Id,
    /// The model's id there.
    pub model: String,
    /// Lower is tried first.
    pub priority: i64,
    /// Its share where members are drawn.
    pub weight: u32,
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
                .map(|(id, pool)| (id.clone(), Arc::new(Pool::new(id, &pool.spec))))
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

    /// Whether a pool has a member whose every price is 0.
    #[must_use]
    pub fn has_free_member(&self, pool: &Id) -> bool {
        let members = self.pools.get(pool).map(|pool| &pool.members);
        let mut models = members.into_iter().flatten().filter_map(|member| {
            let provider = self.providers.get(&member.provider)?;
            provider.models.get(&member.model)
        });
        models.any(|model| model.price.as_ref().is_ok_and(Price::is_free))
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

impl Pool {
    /// A pool whose bounds cannot be read, which the API server takes from nobody, has the defaults.
    fn new(id: &Id, spec: &ModelPoolSpec) -> Self {
        let members = spec.members.iter().map(|member| Member {
            provider: (id.0.clone(), member.provider.name.clone()),
            model: member.model.clone(),
            priority: member.priority,
            weight: small(member.weight),
        });
        let failover = Failover::default();
        let deadline = spec.failover.deadline.get();
        Self {
            strategy: spec.strategy,
            members: members.collect(),
            hops: small(spec.failover.max_hops).max(1),
            deadline: deadline
                .or_else(|_| failover.deadline.get())
                .unwrap_or_default(),
            breaker: breaker(&spec.breaker).unwrap_or_default(),
            suspended: spec.suspend,
        }
    }
}

fn breaker(breaker: &Breaker) -> Result<Limits, NotADuration> {
    Ok(Limits {
        error_percent: small(breaker.error_percent),
        window: breaker.window.get()?,
        min_requests: small(breaker.min_requests),
        cooldown: breaker.cooldown.get()?,
        max_cooldown: breaker.max_cooldown.get()?,
    })
}

/// What a provider's owner allows.
fn allowed(limits: &ProviderLimits) -> limits::Limits {
    limits::Limits {
        requests: count(limits.requests_per_minute),
        tokens: count(limits.tokens_per_minute),
        concurrency: limits.concurrency.map(small),
    }
}

fn given_away(quota: &provider::FreeQuota) -> FreeQuota {
    FreeQuota {
        per_minute: count(quota.requests_per_minute),
        per_day: count(quota.requests_per_day),
    }
}

/// A count that the schema keeps above 0.
fn count(number: Option<i64>) -> Option<u64> {
    number.and_then(|number| u64::try_from(number).ok())
}

/// A number that the schema keeps small.
fn small(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

impl Provider {
    fn new(id: &Id, version: (String, i64), spec: &ModelProviderSpec, outbound: &Outbound) -> Self {
        Self {
            id: id.clone(),
            version,
            backend: backend(id, spec, outbound).unwrap_or_else(Backend::Broken),
            keys: spec.keys.iter().filter_map(key).collect(),
            limits: spec.limits.as_ref().map(allowed).unwrap_or_default(),
            models: spec
                .models
                .iter()
                .map(|model| (model.name.clone(), Model::new(spec, model)))
                .collect(),
        }
    }

    /// `<namespace>/<name>`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}", self.id.0, self.id.1)
    }
}

fn key(key: &ProviderKey) -> Option<KeyRef> {
    let (secret, entries) = match (&key.secret_key_ref, &key.secret_ref) {
        (Some(entry), None) => (&entry.name, Entries::One(entry.key.clone())),
        (None, Some(whole)) => (&whole.name, Entries::Aws),
        _ => return None,
    };
    Some(KeyRef {
        name: key.name.clone(),
        secret: secret.clone(),
        entries,
    })
}

/// Tokens of a model of which nobody says how many it takes.
const DEFAULT_CONTEXT: u64 = 128_000;

impl Model {
    /// What the object says, else what the built-in table does.
    fn new(spec: &ModelProviderSpec, model: &ProviderModel) -> Self {
        let vendor = wire::vendor(spec.r#type);
        let table = Table::builtin();
        let row = vendor.and_then(|vendor| match (vendor, &spec.bedrock) {
            (Vendor::Bedrock, Some(bedrock)) => table.find_in(&bedrock.region, &model.name),
            (vendor, _) => table.find(vendor, &model.name),
        });
        let price = match (&model.pricing, row) {
            (Some(pricing), _) => match Price::new(pricing) {
                Ok(price) if model.name.contains("claude") => Ok(price.cached_by_the_hour()),
                price => price.map_err(|error| error.to_string()),
            },
            (None, Some(row)) if row.searches() => Err(
                "it searches the web by itself, and the built-in table has no price for a search"
                    .to_owned(),
            ),
            (None, Some(row)) => Ok(Price::of_row(row)),
            (None, None) if vendor.is_some() => Err(format!(
                "states no price, and the built-in table of {} has none for this id",
                Table::builtin().as_of()
            )),
            (None, None) => Err("states no price".to_owned()),
        };
        let known = row.and_then(|row| row.context_tokens).map(u64::from);
        Self {
            price,
            context: count(model.context_tokens)
                .or(known)
                .unwrap_or(DEFAULT_CONTEXT),
            row,
            free_quota: model
                .free_quota
                .as_ref()
                .map(given_away)
                .unwrap_or_default(),
        }
    }
}

fn backend(id: &Id, spec: &ModelProviderSpec, outbound: &Outbound) -> Result<Backend, String> {
    let Some(wire) = Wire::of(spec.r#type) else {
        let script = spec.script.as_ref().ok_or("spec.script is missing")?;
        return Script::compile(script).map(Backend::Script);
    };
    let site = Site::of(spec).ok_or("spec.bedrock is missing")?;
    let signs = site.region().is_some();
    if spec
        .keys
        .iter()
        .any(|key| (key.secret_ref.is_some(), key.secret_key_ref.is_some()) != (signs, !signs))
    {
        return Err("a key in spec.keys is not of the form that this type takes: secretRef for Bedrock, secretKeyRef for any other".to_owned());
    }
    let credentials = spec.bedrock.as_ref().map(|bedrock| bedrock.credentials);
    let own = match credentials.filter(|_| signs) {
        Some(AwsCredentials::Workload) if id.0 == outbound.namespace => {
            Some(outbound.workload.clone())
        }
        Some(AwsCredentials::Workload) => {
            return Err(format!(
                "spec.bedrock.credentials is Workload, the gateway's own identity, which only a ModelProvider in namespace {} may use: name a Secret in spec.keys, or call a pool of that namespace",
                outbound.namespace
            ));
        }
        Some(AwsCredentials::Secret) | None => None,
    };
    let endpoint = spec.endpoint().ok_or("spec.endpoint is missing")?;
    let waits = waits(&spec.timeouts).map_err(|error| format!("spec.timeouts: {error}"))?;
    let (tls, guard) = (&outbound.tls, &outbound.guard);
    Http::new((wire, site), &endpoint, waits, tls, guard, own)
        .map(|http| Backend::Http(Box::new(http)))
}

fn waits(timeouts: &Timeouts) -> Result<Waits, NotADuration> {
    Ok(Waits {
        connect: timeouts.connect.get()?,
        first_token: timeouts.first_token.get()?,
        idle: timeouts.idle.get()?,
        response: timeouts.response.get()?,
    })
}
