//! Pools and providers as requests see them: an immutable snapshot, made anew from the objects on each event.

use crate::config::Settings;
use crate::price::Price;
use crate::provider::Backend;
use crate::provider::guard::PrivateEndpoints;
use crate::provider::http::{Http, Waits};
use crate::provider::keys::KeyRef;
use crate::provider::script::Script;
use crate::provider::wire::{self, Wire};
use oarmaster_crds::duration::NotADuration;
use oarmaster_crds::kinds::provider::{ProviderModel, ProviderType, Timeouts};
use oarmaster_crds::names::DEFAULT;
use oarmaster_crds::{ModelPool, ModelProvider, ModelProviderSpec};
use oarmaster_prices::Table;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
}

/// A member of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The provider's namespace and name.
    pub provider: Id,
    /// The model's id there.
    pub model: String,
}

/// Everything that requests are routed by.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The pools, their members in the order of trying.
    pub pools: BTreeMap<Id, Vec<Member>>,
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
        Self {
            pools: pools
                .into_iter()
                .map(|(id, pool)| (id.clone(), members(id, pool)))
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
        let members = self.pools.get(pool).into_iter().flatten();
        let mut models = members.filter_map(|member| {
            let provider = self.providers.get(&member.provider)?;
            provider.models.get(&member.model)
        });
        models.any(|model| model.price.as_ref().is_ok_and(Price::is_free))
    }

    /// The Secrets that providers name, with the keys in each.
    #[must_use]
    pub fn secrets(&self) -> BTreeMap<Id, BTreeSet<String>> {
        let mut wanted: BTreeMap<Id, BTreeSet<String>> = BTreeMap::new();
        for provider in self.providers.values() {
            for key in &provider.keys {
                wanted
                    .entry((provider.id.0.clone(), key.secret.clone()))
                    .or_default()
                    .insert(key.entry.clone());
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
            .find(|id| self.pools.contains_key(*id))
            .or(candidates.first())
            .cloned()
            .unwrap_or_default()
    }
}

fn members(id: &Id, pool: &ModelPool) -> Vec<Member> {
    let mut members: Vec<_> = pool.spec.members.iter().collect();
    members.sort_by_key(|member| member.priority); // stable: within one priority in the written order
    members
        .into_iter()
        .map(|member| Member {
            provider: (id.0.clone(), member.provider.name.clone()),
            model: member.model.clone(),
        })
        .collect()
}

impl Provider {
    fn new(id: &Id, version: (String, i64), spec: &ModelProviderSpec, outbound: &Outbound) -> Self {
        Self {
            id: id.clone(),
            version,
            backend: backend(spec, outbound).unwrap_or_else(Backend::Broken),
            keys: spec
                .keys
                .iter()
                .map(|key| KeyRef {
                    name: key.name.clone(),
                    secret: key.secret_key_ref.name.clone(),
                    entry: key.secret_key_ref.key.clone(),
                })
                .collect(),
            models: spec
                .models
                .iter()
                .map(|model| (model.name.clone(), Model::new(spec.r#type, model)))
                .collect(),
        }
    }

    /// `<namespace>/<name>`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}", self.id.0, self.id.1)
    }
}

/// Tokens of a model of which nobody says how many it takes.
const DEFAULT_CONTEXT: u64 = 128_000;

impl Model {
    /// What the object says, else what the built-in table does.
    fn new(kind: ProviderType, model: &ProviderModel) -> Self {
        let vendor = wire::vendor(kind);
        let row = vendor.and_then(|vendor| Table::builtin().find(vendor, &model.name));
        let price = match (&model.pricing, row) {
            (Some(pricing), _) => Price::new(pricing).map_err(|error| error.to_string()),
            (None, Some(row)) => Ok(Price::of_row(row)),
            (None, None) if vendor.is_some() => Err(format!(
                "states no price, and the built-in table of {} has none for this id",
                Table::builtin().as_of()
            )),
            (None, None) => Err("states no price".to_owned()),
        };
        let stated = model
            .context_tokens
            .and_then(|tokens| u64::try_from(tokens).ok());
        let known = row.and_then(|row| row.context_tokens).map(u64::from);
        Self {
            price,
            context: stated.or(known).unwrap_or(DEFAULT_CONTEXT),
        }
    }
}

fn backend(spec: &ModelProviderSpec, outbound: &Outbound) -> Result<Backend, String> {
    let Some(wire) = Wire::of(spec.r#type) else {
        let script = spec.script.as_ref().ok_or("spec.script is missing")?;
        return Script::compile(script).map(Backend::Script);
    };
    let endpoint = spec.endpoint.as_deref().or(spec.r#type.endpoint());
    let endpoint = endpoint.ok_or("spec.endpoint is missing")?;
    let waits = waits(&spec.timeouts).map_err(|error| format!("spec.timeouts: {error}"))?;
    Http::new(wire, endpoint, waits, &outbound.tls, &outbound.guard).map(Backend::Http)
}

fn waits(timeouts: &Timeouts) -> Result<Waits, NotADuration> {
    Ok(Waits {
        connect: timeouts.connect.get()?,
        first_token: timeouts.first_token.get()?,
        idle: timeouts.idle.get()?,
        response: timeouts.response.get()?,
    })
}
