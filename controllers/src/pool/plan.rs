//! The status of a ModelPool: pure.

use crate::kit::context::Labels;
use crate::kit::ready::{self, Plan};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use oarmaster_crds::conditions::{self, reason};
use oarmaster_crds::kinds::pool::{MemberStatus, PoolMember};
use oarmaster_crds::validate::{self, summary};
use oarmaster_crds::{ModelPool, ModelPoolStatus, ModelProvider, access};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything the planner may look at.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The clock.
    pub now: Timestamp,
    /// Labels of the pool's namespace, if it is known.
    pub labels: Option<Labels>,
    /// The providers that exist, by namespace and name.
    pub providers: BTreeMap<(String, String), Arc<ModelProvider>>,
    /// The pools of the namespace that have aliases.
    pub namesakes: Vec<Namesake>,
}

/// A pool with aliases.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Namesake {
    /// When it was created.
    pub created: Option<Time>,
    /// Its name.
    pub name: String,
    /// Its aliases.
    pub aliases: Vec<String>,
}

/// Plans one pass.
#[must_use]
pub fn plan(pool: &ModelPool, seen: &Observed) -> Plan<ModelPoolStatus> {
    let namespace = pool.metadata.namespace.as_deref().unwrap_or_default();
    let members: Vec<MemberStatus> = pool
        .spec
        .members
        .iter()
        .map(|member| {
            let message = problem(member, provider(member, namespace, seen), namespace);
            MemberStatus {
                provider: member.provider.path(namespace),
                model: member.model.clone(),
                usable: message.is_none(),
                message: message.unwrap_or_default(),
            }
        })
        .collect();
    let usable = members.iter().filter(|member| member.usable).count();
    let problems = validate::pool(&pool.spec, namespace);
    let (degraded, how, lack) = degraded(pool, seen, &members);
    let (ready, why, message) = if !problems.is_empty() {
        (false, reason::INVALID_SPEC, summary(&problems))
    } else if pool.spec.suspend {
        let text = "spec.suspend is true: no new call is taken";
        (false, reason::SUSPENDED, text.to_owned())
    } else if usable == 0 {
        let texts: Vec<&str> = members
            .iter()
            .map(|member| member.message.as_str())
            .take(5)
            .collect();
        // Where everything is applied at once, a pool is looked at before its providers are.
        let coming = |member: &PoolMember| comes(provider(member, namespace, seen));
        let why = match pool.spec.members.iter().any(coming) {
            true => reason::REFS_NOT_RESOLVED,
            false => reason::NO_USABLE_MEMBER,
        };
        (false, why, texts.join("; "))
    } else {
        (true, reason::READY, String::new())
    };
    let mut status = pool.status.clone().unwrap_or_default();
    status.observed_generation = pool.metadata.generation;
    status.member_count = i64::try_from(members.len()).ok();
    status.usable_count = i64::try_from(usable).ok();
    status.members = members;
    conditions::set(
        &mut status.conditions,
        conditions::READY,
        Some(ready),
        why,
        &message,
        pool.metadata.generation,
        seen.now,
    );
    conditions::set(
        &mut status.conditions,
        conditions::DEGRADED,
        Some(degraded),
        how,
        &lack,
        pool.metadata.generation,
        seen.now,
    );
    ready::plan(pool.status.as_ref(), status, |status| &status.conditions)
}

/// Whether something that the pool names does not serve.
fn degraded(
    pool: &ModelPool,
    seen: &Observed,
    members: &[MemberStatus],
) -> (bool, &'static str, String) {
    let namespace = pool.metadata.namespace.as_deref().unwrap_or_default();
    let texts: Vec<String> = members
        .iter()
        .zip(&pool.spec.members)
        .filter_map(|(member, written)| {
            if !member.usable {
                return Some(member.message.clone());
            }
            left_alone(member, provider(written, namespace, seen)?)
        })
        .take(5)
        .collect();
    if !texts.is_empty() {
        return (true, reason::MEMBER_UNUSABLE, texts.join("; "));
    }
    let name = pool.metadata.name.clone().unwrap_or_default();
    let own = (&pool.metadata.creation_timestamp, &name);
    let taken: Vec<String> = pool
        .spec
        .aliases
        .iter()
        .filter_map(|alias| {
            let older = seen
                .namesakes
                .iter()
                .filter(|other| other.aliases.contains(alias))
                .min()?;
            ((&older.created, &older.name) < own)
                .then(|| format!("alias {alias} means the older ModelPool {}", older.name))
        })
        .collect();
    if taken.is_empty() {
        (false, reason::ALL_USABLE, String::new())
    } else {
        (true, reason::ALIAS_TAKEN, taken.join("; "))
    }
}

/// Of a member that can be used: that nothing is sent there for a while.
fn left_alone(member: &MemberStatus, provider: &ModelProvider) -> Option<String> {
    let models = &provider.status.as_ref()?.models;
    let model = models.iter().find(|model| model.name == member.model)?;
    (model.circuit == "Open").then(|| {
        format!(
            "model {} of ModelProvider {} is left alone until {}, since too many requests failed, the provider asked to wait, or a quota of it is used up",
            member.model,
            member.provider,
            model.until.as_deref().unwrap_or("later")
        )
    })
}

/// A member's provider, if it exists and the pool's namespace may name it.
fn provider<'a>(
    member: &PoolMember,
    namespace: &str,
    seen: &'a Observed,
) -> Option<&'a ModelProvider> {
    let own = member.provider.namespace(namespace);
    let id = (own.to_owned(), member.provider.name.clone());
    let found = seen.providers.get(&id)?;
    let allowed = &found.spec.allowed_namespaces;
    allowed
        .allows(own, namespace, seen.labels.as_ref())
        .then_some(found)
}

/// Whether a member's provider is waited for: it does not exist, or nobody knows yet whether it can be used.
fn comes(provider: Option<&ModelProvider>) -> bool {
    let Some(provider) = provider else {
        return true;
    };
    let held = provider.status.iter().flat_map(|status| &status.conditions);
    !held
        .into_iter()
        .any(|held| held.type_ == conditions::READY && held.status != "Unknown")
}

/// Why a member cannot be used.
fn problem(
    member: &PoolMember,
    provider: Option<&ModelProvider>,
    namespace: &str,
) -> Option<String> {
    let name = member.provider.path(namespace);
    let Some(provider) = provider else {
        let id = (
            member.provider.namespace(namespace),
            member.provider.name.as_str(),
        );
        return Some(access::absent("ModelProvider", id, namespace));
    };
    let Some(model) = provider
        .spec
        .models
        .iter()
        .find(|model| model.name == member.model)
    else {
        return Some(format!(
            "ModelProvider {name} does not list model {}; add it to spec.models",
            member.model
        ));
    };
    let status = provider.status.clone().unwrap_or_default();
    // Of a vendor's models the gateway has a table of prices; of others there is only what the object states.
    let tabled = provider.spec.r#type.is_vendor();
    let told = status.models.iter().find(|told| told.name == member.model);
    let problem = match told {
        Some(told) => told.problem.as_str(),
        None if tabled || model.pricing.is_some() => "",
        None => "states no price",
    };
    if !problem.is_empty() {
        return Some(format!(
            "model {} of ModelProvider {name} {problem}, so no budget could hold; set pricing (\"0\" for a server of your own)",
            member.model
        ));
    }
    if conditions::is_true(&status.conditions, conditions::READY) {
        return None;
    }
    let why = match conditions::find(&status.conditions, conditions::READY) {
        None => "it was not looked at yet",
        // Its message may name what is in the other namespace, like a Secret.
        Some(_) if member.provider.namespace(namespace) != namespace => {
            "its owner finds the reason in its conditions"
        }
        Some(held) => held.message.as_str(),
    };
    Some(format!("ModelProvider {name} is not ready: {why}"))
}
