//! Takes places, and gives them back. The API server decides: whoever makes the Lease has the place.

use super::super::ask::{Refused, make};
use super::super::requests::is_ours;
use super::slot::Release;
use crate::kit::context::{Guard, readable};
use crate::kit::write::{self, WRITE_TIMEOUT, within};
use crate::kit::{Context, Result};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::ListParams;
use kube::{Api, Resource};
use oarmaster_crds::{Task, conditions};

/// How often it is tried to take a place that another one leaves.
const TRIES: usize = 3;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Took {
    /// The run has the place: UID of the Lease.
    It(String),
    /// Somebody else has: who, for people.
    Nothing(String),
    /// A quota or a policy is in the way: the API server's words.
    Refused(String),
}

/// Whose a Lease is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Whose {
    /// The run's own: an earlier pass made it.
    Own(String),
    /// That of a Task, by name and UID.
    Of(String, String),
    /// Nobody's of ours.
    Nobodys,
}

/// Takes a place. Taking it again is having it.
pub async fn take(task: &Task, ctx: &Context, lease: &Lease) -> Result<Took> {
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    let name = lease.metadata.name.as_deref().unwrap_or_default();
    let api: Api<Lease> = Api::namespaced(ctx.client.clone(), namespace);
    match make(&api, lease).await? {
        Ok(Some(uid)) => return Ok(Took::It(uid)),
        Ok(None) => {}
        Err(Refused { why, .. }) => return Ok(Took::Refused(why)),
    }
    // Who finds one that is there and who takes one away do so one after the other: what the first found would be gone.
    let _turn = ctx.slots.lock().await;
    for _ in 0..TRIES {
        let act = format!("read lease {namespace}/{name}");
        if let Some(found) = within(WRITE_TIMEOUT, &act, api.get_opt(name)).await? {
            match whose(task, &found) {
                Whose::Own(uid) => return Ok(Took::It(uid)),
                Whose::Nobodys => {
                    return Ok(Took::Nothing(format!(
                        "Lease {name}, which belongs to no Task; delete it"
                    )));
                }
                Whose::Of(owner, uid) => {
                    if goes_on(ctx, namespace, &owner, &uid).await? {
                        return Ok(Took::Nothing(owner));
                    }
                    let lease = found.metadata.uid.as_deref().unwrap_or_default();
                    write::delete(&api, name, lease).await?;
                }
            }
        }
        match make(&api, lease).await? {
            Ok(Some(uid)) => return Ok(Took::It(uid)),
            Ok(None) => {}
            Err(Refused { why, .. }) => return Ok(Took::Refused(why)),
        }
    }
    Ok(Took::Nothing("one that takes it just now".to_owned()))
}

/// Gives a place back, if it is the run's.
pub async fn release(task: &Task, ctx: &Context, release: Release) -> Result<()> {
    let Release { name, uid } = release;
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    let api: Api<Lease> = Api::namespaced(ctx.client.clone(), namespace);
    let uid = match uid {
        Some(uid) => Some(uid),
        None => {
            let act = format!("read lease {namespace}/{name}");
            let found = within(WRITE_TIMEOUT, &act, api.get_opt(&name)).await?;
            found.and_then(|found| match whose(task, &found) {
                Whose::Own(uid) => Some(uid),
                Whose::Of(..) | Whose::Nobodys => None,
            })
        }
    };
    match uid {
        Some(uid) => write::delete(&api, &name, &uid).await,
        None => Ok(()),
    }
}

fn whose(task: &Task, lease: &Lease) -> Whose {
    if is_ours(task, lease) {
        return Whose::Own(lease.metadata.uid.clone().unwrap_or_default());
    }
    let owners = lease.metadata.owner_references.iter().flatten();
    let group = format!("{}/", oarmaster_crds::GROUP);
    let mut owners = owners.filter(|owner| {
        owner.controller == Some(true)
            && owner.kind == Task::kind(&())
            && owner.api_version.starts_with(&group)
    });
    match owners.next() {
        Some(owner) => Whose::Of(owner.name.clone(), owner.uid.clone()),
        None => Whose::Nobodys,
    }
}

/// Whether a Task is there and has not ended. The cache may be behind what says that it is over: then the API server is asked.
async fn goes_on(ctx: &Context, namespace: &str, name: &str, uid: &str) -> Result<bool> {
    let live = |task: &Task| {
        let conditions = task.status.as_ref().map(|status| &status.conditions[..]);
        let ended = conditions::is_true(conditions.unwrap_or_default(), conditions::FINISHED);
        task.metadata.uid.as_deref() == Some(uid) && !ended
    };
    if readable(&ctx.stores.tasks, namespace, name).is_some_and(|task| live(&task)) {
        return Ok(true);
    }
    let api: Api<Guard<Task>> = Api::namespaced(ctx.client.clone(), namespace);
    let params = ListParams::default().fields(&format!("metadata.name={name}"));
    let act = format!("read task {namespace}/{name}");
    let found = within(WRITE_TIMEOUT, &act, api.list(&params)).await?;
    let mut found = found.items.iter().filter_map(|found| found.0.as_ref().ok());
    Ok(found.any(live))
}

#[cfg(test)]
mod tests {
    use super::{Whose, whose};
    use k8s_openapi::api::coordination::v1::Lease;
    use oarmaster_crds::Task;
    use serde_json::json;

    #[test]
    fn a_lease_is_that_of_the_task_that_owns_it() {
        let task: Task = serde_json::from_value(json!({
            "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task",
            "metadata": {"name": "fix", "namespace": "team", "uid": "uid-1"}, "spec": {},
        }))
        .unwrap();
        let of = |api_version: &str, kind: &str, uid: &str, controller: bool| {
            let owner = json!({"apiVersion": api_version, "kind": kind, "name": "other", "uid": uid, "controller": controller});
            let lease =
                json!({"metadata": {"name": "x", "uid": "lease-1", "ownerReferences": [owner]}});
            let lease: Lease = serde_json::from_value(lease).unwrap();
            whose(&task, &lease)
        };
        let ours = "oarmaster.dev/v1alpha1";
        let other = Whose::Of("other".to_owned(), "uid-2".to_owned());
        assert_eq!(
            of(ours, "Task", "uid-1", true),
            Whose::Own("lease-1".to_owned())
        );
        assert_eq!(of(ours, "Task", "uid-2", true), other);
        assert_eq!(of("oarmaster.dev/v1beta1", "Task", "uid-2", true), other);
        assert_eq!(of(ours, "Task", "uid-2", false), Whose::Nobodys);
        assert_eq!(of(ours, "Agent", "uid-2", true), Whose::Nobodys);
        assert_eq!(of("v1", "Pod", "uid-2", true), Whose::Nobodys);
        assert_eq!(whose(&task, &Lease::default()), Whose::Nobodys);
    }
}
