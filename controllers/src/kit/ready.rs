//! What the kinds with a `Ready` condition share: their plan is a status and the events of a change of `Ready`.

use super::context::{Context, Guard};
use super::events::{Note, Reason};
use super::{Error, Result, chain, write};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::controller::Action;
use kube::{Api, Resource, ResourceExt as _};
use oarmaster_crds::conditions::{self, reason};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::Arc;

/// Everything one pass over such an object will do.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<S> {
    /// Write this status.
    pub status: Option<S>,
    /// Say this to people.
    pub notes: Vec<Note>,
}

/// The plan that turns `old` into `new`: nothing if they are equal.
pub fn plan<S: PartialEq>(
    old: Option<&S>,
    new: S,
    conditions_of: impl Fn(&S) -> &Vec<Condition>,
) -> Plan<S> {
    if old.is_some_and(|old| *old == new) {
        return Plan {
            status: None,
            notes: Vec::new(),
        };
    }
    let ready = |status: &S| conditions::find(conditions_of(status), conditions::READY).cloned();
    let before = old.and_then(ready).map(|held| held.status);
    let mut notes = Vec::new();
    if let Some(after) = ready(&new)
        && before.as_deref() != Some(&after.status)
    {
        match after.status.as_str() {
            "True" => notes.push(note(Reason::Ready, String::new(), false)),
            "False" => notes.push(note(Reason::NotReady, after.message, true)),
            _ => {}
        }
    }
    Plan {
        status: Some(new),
        notes,
    }
}

fn note(reason: Reason, message: String, warning: bool) -> Note {
    Note {
        reason,
        action: "Reconcile".to_owned(),
        message,
        warning,
    }
}

/// Carries such a plan out.
///
/// # Errors
/// When the status cannot be written.
pub async fn act<K, S>(api: &Api<K>, object: &K, ctx: &Context, todo: Plan<S>) -> Result<Action>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    S: Serialize,
{
    let Plan { status, notes } = todo;
    if let Some(status) = status {
        let version = object.meta().resource_version.as_deref();
        match write::status(api, &object.name_any(), version, &status).await {
            Ok(_) => {}
            Err(error) if error.is_conflict() || error.is_not_found() => {
                return Ok(Action::await_change()); // the newer version, or the deletion, is on its way here
            }
            Err(error) => return Err(error),
        }
    }
    for note in notes {
        tell(ctx, object, &note).await;
    }
    Ok(Action::await_change())
}

/// Sends an event; one that cannot be sent is logged, and nothing else.
pub async fn tell<K: Resource<DynamicType = ()>>(ctx: &Context, about: &K, note: &Note) {
    let Err(error) = ctx.events.send(note, &about.object_ref(&())).await else {
        return;
    };
    let meta = about.meta();
    let reason = note.reason.as_str();
    // The namespace is being deleted, or the event was: nobody misses it.
    let gone = error.status().is_some_and(|status| {
        let causes = status.details.iter().flat_map(|details| &details.causes);
        status.is_not_found()
            || causes
                .into_iter()
                .any(|cause| cause.reason == "NamespaceTerminating")
    });
    if gone {
        tracing::debug!(
            namespace = meta.namespace,
            name = meta.name,
            reason,
            "event not sent"
        );
    } else {
        tracing::warn!(
            namespace = meta.namespace,
            name = meta.name,
            reason,
            error = chain(&error),
            "event not sent"
        );
    }
}

/// Says of an object that cannot be read what is wrong with it. Its conditions are written once per version of the object.
///
/// # Errors
/// When they cannot be written.
pub async fn unreadable<K>(api: Api<K>, object: Arc<Guard<K>>, ctx: Arc<Context>) -> Result<Action>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let Err(invalid) = &object.0 else {
        return Ok(Action::await_change());
    };
    let meta = &invalid.metadata;
    let uid = meta.uid.clone().unwrap_or_default();
    let key = format!("{uid}/{}", meta.generation.unwrap_or_default());
    if ctx.written(&key).is_some() {
        return Ok(Action::await_change());
    }
    let now = Timestamp::now();
    let text = format!(
        "the stored object cannot be read: {}; mend or delete it",
        invalid.error
    );
    let mut list = Vec::new();
    for kind in [conditions::READY, conditions::ACCEPTED] {
        let task = K::kind(&()) == "Task";
        if kind == conditions::READY || task {
            conditions::set(
                &mut list,
                kind,
                Some(false),
                reason::INVALID_SPEC,
                &text,
                meta.generation,
                now,
            );
        }
    }
    let name = meta.name.clone().unwrap_or_default();
    let note = note(Reason::InvalidSpec, text.chars().take(1000).collect(), true);
    ctx.remember(&key, Some(now));
    tell(&ctx, object.as_ref(), &note).await;
    let version = meta.resource_version.as_deref();
    match write::conditions(&api, &name, version, &list).await {
        Ok(()) => Ok(Action::await_change()),
        // What comes back cannot be read either: it was written.
        Err(Error::Kubernetes { source, .. }) if matches!(*source, kube::Error::SerdeError(_)) => {
            Ok(Action::await_change())
        }
        // A newer version is on its way here.
        Err(error) if error.is_conflict() => {
            ctx.remember(&key, None);
            Ok(Action::await_change())
        }
        // The API server checks the whole object, and may refuse any status of one like this. The event tells.
        Err(error) if error.status().is_some_and(|status| status.code < 500) => {
            tracing::warn!(name, error = chain(&error), "conditions not written");
            Ok(Action::await_change())
        }
        Err(error) => Err(error),
    }
}
