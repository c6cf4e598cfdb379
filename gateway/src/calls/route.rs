//! From a request to its pool, and who may use it.

use super::allowed;
use crate::budgets::{Budgets, Payer};
use crate::catalog::{Id, Snapshot};
use crate::error::ApiFailure;
use crate::identity::User;
use crate::identity::sandbox::SandboxPod;
use crate::request::{Caching, Request};
use crate::state::{Gateway, Program};
use oarmaster_protocol::task::ErrorCode;
use oarmaster_store::Scope;
use std::sync::Arc;

/// A request with its pool.
pub struct Routed {
    /// The snapshot that the request is served from, to its end.
    pub snapshot: Arc<Snapshot>,
    /// The pool.
    pub pool: Id,
    /// Namespace that pays.
    pub namespace: String,
    /// UID of the Task that calls.
    pub task: Option<String>,
    /// Name of its agent.
    pub agent: Option<String>,
    /// The user who created the Task, or who calls.
    pub requester: String,
    /// Whether the call must fit under a budget, so that its cost must have a bound that the provider keeps to.
    pub bounded: bool,
    /// Output bound of the caller's assignment.
    pub assigned: Option<u64>,
    /// The request.
    pub request: Request,
}

impl Routed {
    /// The caps that its next hop counts for. They are asked for at each hop: between two of them a Task's call may wait for long.
    ///
    /// # Errors
    /// `unavailable` while it is not known which; and where the request was let through without a bound, since there was none then.
    pub fn scopes(&self, budgets: &Budgets) -> Result<Vec<Scope>, ApiFailure> {
        let scopes = budgets.scopes(&self.payer())?;
        if self.bounded || scopes.is_empty() {
            return Ok(scopes);
        }
        Err(ApiFailure::unavailable(
            "a Budget counts for this call that did not when it began; try again",
        ))
    }

    /// Whom the pool's `callerLimits` are for.
    #[must_use]
    pub fn caller(&self) -> String {
        match &self.task {
            Some(uid) => format!("task:{uid}"),
            None => format!("user:{}", self.requester),
        }
    }

    fn payer(&self) -> Payer<'_> {
        Payer {
            namespace: &self.namespace,
            pool: &self.pool,
            agent: self.agent.as_deref(),
            requester: &self.requester,
        }
    }
}

/// Routes the call of a Task: to the pool of its assignment and no other.
///
/// # Errors
/// `forbidden`, `not_found`, `unbounded_cost`, `invalid_request`.
pub async fn for_task(
    gateway: &Gateway,
    pod: &SandboxPod,
    mut request: Request,
) -> Result<Routed, ApiFailure> {
    if request.stream {
        return Err(ApiFailure::invalid(
            "field stream: a Task's calls are not streamed",
        ));
    }
    if request.choices > 1 {
        return Err(ApiFailure::invalid("field n: a Task's call has one answer"));
    }
    request.check_bounded()?;
    let assigned = gateway
        .assignments
        .get(&gateway.store, &pod.task_uid, pod.attempt)
        .await?;
    let Some(model) = &assigned.model else {
        return Err(ApiFailure::forbidden(
            "this Task was assigned no model pool",
        ));
    };
    if assigned.caching == Caching::Never {
        request.caching = Caching::Never;
    }
    let snapshot = gateway.snapshot.load_full();
    let pool = snapshot.resolve(model, Some(&pod.namespace), &gateway.settings);
    if request.model != *model
        && snapshot.resolve(&request.model, Some(&pod.namespace), &gateway.settings) != pool
    {
        return Err(ApiFailure::forbidden(format!(
            "this Task may use model {model} only"
        )));
    }
    let routed = of_pod(gateway, pod, snapshot, pool, request).await?;
    Ok(Routed {
        agent: assigned.agent.clone(),
        assigned: Some(assigned.max_output),
        ..routed
    })
}

/// Routes the call of a program in a Task's sandbox: to the Task's pool, whatever model it names. A program has names of models in it and does
/// not know of pools; one that does, and means another pool of its namespace, is told that it may not have it.
///
/// # Errors
/// `forbidden`, `not_found`, `unbounded_cost`.
pub async fn for_program(
    gateway: &Gateway,
    program: &Program,
    request: Request,
) -> Result<Routed, ApiFailure> {
    let Program { pod, pool, .. } = program;
    request.check_bounded()?;
    let snapshot = gateway.snapshot.load_full();
    let own = Some(pod.namespace.as_str());
    let id = snapshot.resolve(pool, own, &gateway.settings);
    let (namespace, name) = match request.model.split_once('/') {
        Some((namespace, name)) => (namespace, name),
        None => (pod.namespace.as_str(), request.model.as_str()),
    };
    let named = (namespace.to_owned(), name.to_owned());
    if namespace == pod.namespace && named != id && snapshot.pools.contains_key(&named) {
        return Err(ApiFailure::forbidden(format!(
            "model {} is another ModelPool, and the programs of this Task may use {pool} only: name that, or any model",
            request.model
        )));
    }
    of_pod(gateway, pod, snapshot, id, request).await
}

/// A request of a Task's pod with a pool that it may use.
async fn of_pod(
    gateway: &Gateway,
    pod: &SandboxPod,
    snapshot: Arc<Snapshot>,
    pool: Id,
    request: Request,
) -> Result<Routed, ApiFailure> {
    let from = &pod.namespace;
    gateway.lookup.seen(&snapshot, &pool, from).await?;
    allowed::pool(gateway, &pool, from)?;
    takes_calls(&snapshot, &pool)?;
    let requester = gateway.store.requested_by(&pod.task_uid);
    Ok(Routed {
        snapshot,
        pool,
        namespace: pod.namespace.clone(),
        task: Some(pod.task_uid.clone()),
        agent: None,
        requester: requester.unwrap_or_default(),
        bounded: true,
        assigned: None,
        request,
    })
}

/// Routes the call of anybody else: to a pool that RBAC lets them `use`.
///
/// # Errors
/// `forbidden`, `not_found`; `unbounded_cost` where a Budget counts.
pub async fn for_user(
    gateway: &Gateway,
    user: &User,
    request: Request,
) -> Result<Routed, ApiFailure> {
    let snapshot = gateway.snapshot.load_full();
    let own = user.namespace();
    let pool = snapshot.resolve(&request.model, own, &gateway.settings);
    // Asked before it is looked up: who may not use a pool does not learn whether there is one.
    if !gateway.may_use(user, &pool.0, &pool.1).await? {
        let name = request.model.rsplit('/').next().unwrap_or_default();
        let alias = (pool.0.clone(), name.to_owned());
        if snapshot.aliases.contains_key(&alias) && !snapshot.pools.contains_key(&alias) {
            // Nor which pool an alias means.
            return Err(ApiFailure::forbidden(format!(
                "{} may not use the ModelPool in namespace {} that has the alias {}: its owner can say which that is, and allow verb use on it",
                user.name, pool.0, name
            )));
        }
        return Err(ApiFailure::forbidden(format!(
            "{} may not use modelpools/{} in namespace {}: a Role with resources [modelpools], resourceNames [{}] and verbs [use] in apiGroups [oarmaster.dev] allows it",
            user.name, pool.1, pool.0, pool.1
        )));
    }
    gateway.lookup.seen(&snapshot, &pool, &pool.0).await?;
    takes_calls(&snapshot, &pool)?;
    let namespace = own.map_or_else(|| pool.0.clone(), str::to_owned);
    let routed = Routed {
        snapshot,
        pool,
        namespace,
        task: None,
        agent: None,
        requester: user.name.clone(),
        bounded: false,
        assigned: None,
        request,
    };
    let budgets = gateway.budgets.load();
    let bounded = !budgets.scopes(&routed.payer())?.is_empty();
    if bounded {
        routed.request.check_bounded()?;
    }
    Ok(Routed { bounded, ..routed })
}

/// Whether the pool takes new calls.
fn takes_calls(snapshot: &Snapshot, pool: &Id) -> Result<(), ApiFailure> {
    let suspended = snapshot.pools.get(pool).is_some_and(|pool| pool.suspended);
    if !suspended {
        return Ok(());
    }
    Err(ApiFailure {
        status: http::StatusCode::SERVICE_UNAVAILABLE,
        suspended: true,
        ..ApiFailure::new(
            ErrorCode::ModelUnavailable,
            format!(
                "ModelPool {}/{} is suspended; to take calls again: kubectl patch modelpools.oarmaster.dev {} -n {} --type merge -p '{{\"spec\":{{\"suspend\":false}}}}'",
                pool.0, pool.1, pool.1, pool.0
            ),
        )
    })
}
