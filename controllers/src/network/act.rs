//! Writes the policy. The only place that does.

use super::plan::{Observed, Plan, plan};
use crate::kit::write::{WRITE_TIMEOUT, within};
use crate::kit::{Context, Result};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use oarmaster_crds::names;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What this process applied in each namespace, until the watch brings it: of Tasks that begin at once in a new namespace one applies, and
/// the others wait for that.
#[derive(Default)]
pub struct Made(Mutex<HashMap<String, Applied>>);

type Applied = Arc<tokio::sync::Mutex<Option<NetworkPolicySpec>>>;

impl Made {
    fn of(&self, namespace: &str) -> Applied {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(held.entry(namespace.to_owned()).or_default())
    }

    /// The policy was seen to change: what was applied before counts no more, also while its namespace waits for its look. Where it is being
    /// applied just now, that look comes after.
    pub(super) fn changed(&self, namespace: &str) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(applied) = held.get_mut(namespace)
            && let Ok(mut applied) = applied.try_lock()
        {
            *applied = None;
        }
        drop(held);
        self.tidy(namespace);
    }

    /// Drops what says nothing any more, unless somebody waits for it: namespaces come and go.
    fn tidy(&self, namespace: &str) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = held.get_mut(namespace).and_then(Arc::get_mut);
        if idle.is_some_and(|applied| applied.get_mut().is_none()) {
            held.remove(namespace);
        }
    }
}

/// Sees to it that a namespace has the policy; `false` as long as the gateway's Service does not tell what it would say.
///
/// # Errors
/// When it cannot be applied.
pub async fn ensure(ctx: &Context, namespace: &str) -> Result<bool> {
    let wanted = match plan(&observe(ctx, namespace)) {
        Plan::Settled => return Ok(true),
        Plan::Wait => return Ok(false),
        Plan::Apply(wanted) => *wanted,
    };
    let applied = ctx.policies.of(namespace);
    let done = {
        let mut applied = applied.lock().await;
        match applied.as_ref() == Some(&wanted) {
            true => Ok(()),
            false => apply(ctx, namespace, wanted, &mut applied).await,
        }
    };
    drop(applied);
    ctx.policies.tidy(namespace);
    done.map(|()| true)
}

/// The same after the policy was seen to change: what was applied before counts no more. Where no Task runs (`needed`), nothing is made.
///
/// # Errors
/// When it cannot be applied.
pub(super) async fn mend(ctx: &Context, namespace: &str, needed: bool) -> Result<()> {
    let applied = ctx.policies.of(namespace);
    let done = {
        let mut applied = applied.lock().await;
        *applied = None;
        match plan(&observe(ctx, namespace)) {
            Plan::Apply(wanted) if needed => apply(ctx, namespace, *wanted, &mut applied).await,
            _ => Ok(()),
        }
    };
    drop(applied);
    ctx.policies.tidy(namespace);
    done
}

fn observe(ctx: &Context, namespace: &str) -> Observed {
    let settings = &ctx.settings;
    let service = ObjectRef::new(&settings.gateway_service).within(&settings.namespace);
    let policy = ObjectRef::<NetworkPolicy>::new(names::SANDBOX_POLICY).within(namespace);
    let held = ctx.stores.network_policies.get(&policy);
    Observed {
        gateway: ctx.stores.services.get(&service).as_deref().cloned(),
        held: held.and_then(|policy| policy.spec.clone()),
    }
}

async fn apply(
    ctx: &Context,
    namespace: &str,
    spec: NetworkPolicySpec,
    applied: &mut Option<NetworkPolicySpec>,
) -> Result<()> {
    *applied = None;
    let api: Api<NetworkPolicy> = Api::namespaced(ctx.client.clone(), namespace);
    let name = names::SANDBOX_POLICY;
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": name },
        "spec": spec,
    });
    let params = PatchParams::apply(names::FIELD_MANAGER).force();
    let act = format!("apply network policy {namespace}/{name}");
    within(
        WRITE_TIMEOUT,
        &act,
        api.patch(name, &params, &Patch::Apply(&policy)),
    )
    .await?;
    tracing::info!(namespace, "network policy of the sandboxes applied");
    *applied = Some(spec);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_says_nothing_is_dropped_unless_somebody_waits_for_it() {
        let made = Made::default();
        let held = made.of("a");
        let waits = made.of("a");
        *held.lock().await = Some(NetworkPolicySpec::default());
        drop(held);
        made.tidy("a");
        *waits.lock().await = None;
        made.tidy("a");
        assert_eq!(made.0.lock().unwrap().len(), 1, "somebody waits");
        *waits.lock().await = Some(NetworkPolicySpec::default());
        drop(waits);
        made.tidy("a");
        assert!(
            made.of("a").lock().await.is_some(),
            "the watch has not brought it"
        );
        for namespace in ["a", "never-there"] {
            made.changed(namespace);
        }
        assert!(made.0.lock().unwrap().is_empty());
    }
}
