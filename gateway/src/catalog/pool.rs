//! Pools as calls see them.

use super::provider::allowed;
use super::{Id, small};
use crate::cache::key::Rule;
use crate::routing::breaker::Limits;
use crate::routing::gate;
use oarmaster_crds::common::RateLimits;
use oarmaster_crds::duration::NotADuration;
use oarmaster_crds::kinds::pool::{Breaker, CacheMode, Failover, PoolCache, Strategy};
use oarmaster_crds::names::CACHE_FLUSHED_ANNOTATION;
use oarmaster_crds::{AllowedNamespaces, ModelPool, ModelPoolSpec};
use std::time::Duration;

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
    /// What its owner allows its callers, where that is not everything.
    pub limits: Option<gate::Limits>,
    /// Which answers are kept, where any are.
    pub cache: Option<Rule>,
    /// Whether no new call is taken.
    pub suspended: bool,
    /// Whose objects may name it.
    pub allowed: AllowedNamespaces,
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

impl Pool {
    /// A pool whose bounds cannot be read, which the API server takes from nobody, has the defaults.
    #[must_use]
    pub fn new(id: &Id, pool: &ModelPool) -> Self {
        let spec = &pool.spec;
        let members = spec.members.iter().map(|member| Member {
            provider: (
                member.provider.namespace(&id.0).to_owned(),
                member.provider.name.clone(),
            ),
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
            limits: limits(spec),
            cache: cache(pool),
            suspended: spec.suspend,
            allowed: spec.allowed_namespaces.clone(),
        }
    }
}

fn limits(spec: &ModelPoolSpec) -> Option<gate::Limits> {
    if spec.limits.is_none() && spec.caller_limits.is_none() {
        return None;
    }
    let of = |limits: &Option<RateLimits>| limits.as_ref().map(allowed).unwrap_or_default();
    Some(gate::Limits {
        all: of(&spec.limits),
        each: of(&spec.caller_limits),
    })
}

/// A time to live that cannot be read keeps nothing.
fn cache(pool: &ModelPool) -> Option<Rule> {
    let PoolCache {
        mode,
        ttl,
        sampled,
        per,
    } = &pool.spec.cache;
    let meta = &pool.metadata;
    let annotations = meta.annotations.as_ref();
    let flushed = annotations.and_then(|all| all.get(CACHE_FLUSHED_ANNOTATION));
    match mode {
        CacheMode::Off => None,
        CacheMode::Exact => Some(Rule {
            ttl: ttl.get().ok()?,
            sampled: *sampled,
            per: *per,
            version: format!(
                "{} {} {}",
                meta.uid.as_deref().unwrap_or_default(),
                meta.generation.unwrap_or_default(),
                flushed.map_or("", String::as_str)
            ),
        }),
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
