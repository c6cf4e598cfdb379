//! What the kinds with a `Ready` condition share: their plan is a status and the events of a change of `Ready`.

use super::context::{Context, Guard};
use super::events::{Note, Reason};
use super::{Action, Error, Result, chain, write};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::object::HasStatus;
use kube::{Api, Resource};
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
            // Its message may hold what a provider said.
            "False" => {
                let text = format!("{}: see the message of condition Ready", after.reason);
                notes.push(note(Reason::NotReady, text, true));
            }
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
    K: Resource<DynamicType = ()> + HasStatus<Status = S> + Clone + DeserializeOwned + Debug,
    S: Serialize,
{
    let Plan { status, notes } = todo;
    if let Some(status) = status {
        match write::status(api, object, &status).await {
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
    if error.is_gone() {
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
    let problem = without_values(&invalid.error);
    let note = note(
        Reason::InvalidSpec,
        format!("the stored object cannot be read: {problem}; mend or delete it"),
        true,
    );
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

/// What is wrong with an object, without the text that stands in it: serde quotes that, and puts fields and what it expected in backticks.
fn without_values(problem: &str) -> String {
    let variant = problem
        .split_once("unknown variant `")
        .and_then(|(before, rest)| Some((before, rest.rsplit_once("`, expected ")?.1)));
    if let Some((before, expected)) = variant {
        return format!("{before}unknown variant, expected {expected}");
    }
    match (problem.find('"'), problem.rfind('"')) {
        (Some(first), Some(last)) if first < last => {
            let (before, after) = (problem.get(..first), problem.get(last + 1..));
            format!(
                "{}\"…\"{}",
                before.unwrap_or_default(),
                after.unwrap_or_default()
            )
        }
        _ => problem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oarmaster_crds::{Agent, ModelProvider, SandboxClass, Task};
    use serde_json::{Value, json};

    fn problem<K: DeserializeOwned>(spec: Value) -> String {
        let object = json!({"metadata": {"name": "x"}, "spec": spec});
        serde_json::from_value::<K>(object)
            .err()
            .unwrap()
            .to_string()
    }

    #[test]
    fn what_is_wrong_is_said_without_the_text_that_stands_there() {
        const MARK: &str = "sk-\"mark` , expected `\u{7f}";
        for problem in [
            problem::<Task>(json!({"agent": MARK})),
            problem::<Task>(json!({"agent": {"name": "a"}, "state": MARK})),
            problem::<Agent>(json!({"tools": MARK})),
            problem::<ModelProvider>(json!({"type": MARK, "keys": []})),
            problem::<ModelProvider>(json!({"type": "OpenAI", "keys": MARK})),
            problem::<SandboxClass>(json!({"minimumIsolation": MARK})),
        ] {
            assert!(problem.contains("sk-"), "nothing to hide: {problem}");
            let said = without_values(&problem);
            assert!(!said.contains("sk-") && !said.contains("mark"), "{said}");
            assert!(said.contains("expected"), "{said}");
        }
        let kept = "missing field `spec`";
        assert_eq!(without_values(kept), kept);
    }

    #[test]
    fn an_event_says_the_reason_and_not_the_message() {
        let ready = |value: bool| {
            let mut list = Vec::new();
            let kind = conditions::READY;
            let now = Timestamp::UNIX_EPOCH;
            conditions::set(
                &mut list,
                kind,
                Some(value),
                "KeyRefused",
                "mark",
                Some(1),
                now,
            );
            list
        };
        let plan = plan(Some(&ready(true)), ready(false), |list| list);
        let told: Vec<_> = plan.notes.iter().map(|note| &*note.message).collect();
        assert_eq!(told, ["KeyRefused: see the message of condition Ready"]);
    }
}
