//! Providers as calls see them: how each is reached, with which keys, and what its models cost.

use super::{Id, Outbound, count, small};
use crate::price::Price;
use crate::provider::Backend;
use crate::provider::entries::Entries;
use crate::provider::http::{Http, Waits};
use crate::provider::keys::KeyRef;
use crate::provider::script::Script;
use crate::provider::site::Site;
use crate::provider::wire::{self, Wire};
use crate::routing::limits;
use crate::routing::quota::FreeQuota;
use oarmaster_crds::common::RateLimits;
use oarmaster_crds::duration::NotADuration;
use oarmaster_crds::kinds::provider::{
    self, AwsCredentials, ProviderKey, ProviderModel, ProviderType, Timeouts,
};
use oarmaster_crds::{AllowedNamespaces, ModelProviderSpec};
use oarmaster_prices::{Row, Table, Vendor};
use std::collections::BTreeMap;

/// A provider, ready to be asked.
#[derive(Debug)]
pub struct Provider {
    /// Its namespace and name.
    pub id: Id,
    /// UID and generation of the object.
    pub version: (String, i64),
    /// What it is.
    pub kind: ProviderType,
    /// How to reach it.
    pub backend: Backend,
    /// Its keys, in order.
    pub keys: Vec<KeyRef>,
    /// What its owner allows.
    pub limits: limits::Limits,
    /// Its models.
    pub models: BTreeMap<String, Model>,
    /// Whose pools may name it.
    pub allowed: AllowedNamespaces,
}

/// A model of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its price, or why it has none.
    pub price: Result<Price, String>,
    /// Most tokens of one call; assumed where nobody says it.
    pub context: u64,
    /// The same, where the object or the built-in table says it.
    pub stated_context: Option<u64>,
    /// What the built-in table knows of it.
    pub row: Option<&'static Row>,
    /// What the provider gives away.
    pub free_quota: FreeQuota,
}

/// What the owner of a provider or a pool allows.
pub(super) fn allowed(limits: &RateLimits) -> limits::Limits {
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

impl Provider {
    pub(super) fn new(
        id: &Id,
        version: (String, i64),
        spec: &ModelProviderSpec,
        outbound: &Outbound,
    ) -> Self {
        Self {
            id: id.clone(),
            version,
            kind: spec.r#type,
            backend: backend(id, spec, outbound).unwrap_or_else(Backend::Broken),
            keys: spec.keys.iter().filter_map(key).collect(),
            limits: spec.limits.as_ref().map(allowed).unwrap_or_default(),
            models: spec
                .models
                .iter()
                .map(|model| (model.name.clone(), Model::new(spec, model)))
                .collect(),
            allowed: spec.allowed_namespaces.clone(),
        }
    }

    /// `<namespace>/<name>`.
    #[must_use]
    pub fn path(&self) -> String {
        super::path(&self.id)
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
        weight: small(key.weight),
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
        let stated = count(model.context_tokens).or(known);
        Self {
            price,
            context: stated.unwrap_or(DEFAULT_CONTEXT),
            stated_context: stated,
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
    let waits = waits(&spec.timeouts).map_err(|error| format!("spec.timeouts: {error}"))?;
    let Some(wire) = Wire::of(spec.r#type) else {
        let script = spec.script.as_ref().ok_or("spec.script is missing")?;
        let http = Http::scripted(Script::compile(script)?, waits);
        return Ok(Backend::Http(Box::new(http)));
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
