//! Carries out what a pass does for a run. Every step of it may be made again: what is there under its name stays.

use super::super::ask::{Refused, make};
use super::lease::{self, Took};
use super::{Made, Todo};
use crate::kit::write::{WRITE_TIMEOUT, within};
use crate::kit::{Context, Result, chain};
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::Api;
use kube::api::{Patch, PatchParams};
use oarmaster_crds::kinds::steps::StepsStatus;
use oarmaster_crds::kinds::task::DesiredState;
use oarmaster_crds::{Approval, Task, WorkflowSpec, names};
use oarmaster_protocol::FailureClass;
use serde_json::json;
use std::collections::BTreeMap;

/// What came of it.
pub enum Carried {
    /// All of it is done.
    Done,
    /// There is something that the pass has not seen: it is made again.
    Otherwise,
    /// The API server will never take these objects of steps, by name: its words.
    Refused(BTreeMap<String, String>),
    /// Somebody else has this place, by the name of its Lease: who. Nothing of the pass counts.
    Taken(String, String),
    /// A quota or a policy is in the way. Nothing of the pass counts.
    Later(String),
    /// The same, of objects of steps: the rest is done, and they are made by a later pass.
    InPart(String),
    /// The gateway, or the API server, will never take the run: why.
    Never(FailureClass, String),
}

/// Carries it out; notes the UIDs of what was made in `steps`.
pub async fn carry_out(
    task: &Task,
    ctx: &Context,
    todo: Todo,
    mut steps: Option<&mut StepsStatus>,
) -> Result<Carried> {
    let Todo {
        pin,
        slot,
        open,
        make: made,
        tell,
        read,
        fold,
        lists,
    } = todo;
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    if let Some(pin) = pin {
        let key = match task.spec.goal {
            Some(_) => super::key_of_plan(uid, pin.revision),
            None => uid.to_owned(),
        };
        let spec = pin.data.as_ref();
        let spec =
            spec.and_then(|data| serde_json::from_value::<WorkflowSpec>(data.0.clone()).ok());
        let api: Api<ControllerRevision> = Api::namespaced(ctx.client.clone(), namespace);
        match make(&api, pin.as_ref()).await? {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(Carried::Otherwise), // an earlier pass kept one, maybe another
            Err(Refused { why, for_now }) if for_now => return Ok(Carried::Later(why)),
            Err(Refused { why, .. }) => {
                return Ok(Carried::Never(FailureClass::InvalidInput, why));
            }
        }
        if let Some(spec) = spec
            && let Ok(graph) = ctx.compile(namespace, spec).await?
        {
            ctx.graphs().keep(&key, &graph);
        }
    }
    if let Some(lease) = slot {
        match lease::take(task, ctx, &lease).await? {
            Took::It(uid) => {
                let slot = steps.as_mut().and_then(|steps| steps.slot.as_mut());
                if let Some(slot) = slot {
                    slot.uid = Some(uid);
                }
            }
            Took::Nothing(by) => {
                let name = lease.metadata.name.unwrap_or_default();
                return Ok(Carried::Taken(name, by));
            }
            Took::Refused(why) => return Ok(Carried::Later(why)),
        }
    }
    if let Some((attempt, open)) = open
        && let Err(error) = ctx.gateway.open(uid, attempt, &open).await
    {
        match error.gateway_code() {
            Some("too_large" | "invalid_request") => {
                return Ok(Carried::Never(FailureClass::InvalidInput, chain(&error)));
            }
            // There may be no further Task below one above it.
            Some("budget_exceeded") => {
                return Ok(Carried::Never(FailureClass::BudgetExceeded, chain(&error)));
            }
            // The cluster was restored to a point before it, or before a later attempt.
            Some("fenced") => {
                return Ok(Carried::Never(FailureClass::StateRegressed, chain(&error)));
            }
            // An operator of another version has opened it, in other words.
            Some("diverged") => {}
            _ => return Err(error),
        }
    }
    if !read.is_empty() {
        super::fold::read(ctx, uid, &read).await?;
        return Ok(Carried::Otherwise);
    }
    ctx.memories().passed(uid, lists);
    if !super::fold::fold(ctx, namespace, uid, &fold).await? {
        return Ok(Carried::Otherwise);
    }
    let tasks: Api<Task> = Api::namespaced(ctx.client.clone(), namespace);
    let approvals: Api<Approval> = Api::namespaced(ctx.client.clone(), namespace);
    let (mut refused, mut later) = (BTreeMap::new(), None);
    for made in made {
        let (name, answer) = match &made {
            Made::Task(child) => (
                child.metadata.name.clone(),
                make(&tasks, child.as_ref()).await?,
            ),
            Made::Approval(approval) => (
                approval.metadata.name.clone(),
                make(&approvals, approval.as_ref()).await?,
            ),
        };
        match answer {
            // Tasks come in the same stream as their run. An Approval may be seen later than the status that names its UID, and would be taken for
            // deleted: of it the UID counts that was seen.
            Ok(_) if matches!(made, Made::Approval(_)) => {}
            Ok(uid) => {
                let active = steps.as_mut().map(|steps| steps.active.iter_mut());
                let own = active
                    .into_iter()
                    .flatten()
                    .find(|active| Some(&active.object) == name.as_ref());
                if let (Some(active), Some(uid)) = (own, uid) {
                    active.uid = Some(uid);
                }
            }
            // What stands in the way of one is in the way of the others.
            Err(Refused { why, for_now }) if for_now => {
                later = Some(why);
                break;
            }
            Err(Refused { why, .. }) => {
                refused.insert(name.unwrap_or_default(), why);
            }
        }
    }
    if !refused.is_empty() {
        return Ok(Carried::Refused(refused));
    }
    for (name, state) in tell {
        self::tell(&tasks, &name, state).await?;
    }
    Ok(later.map_or(Carried::Done, Carried::InPart))
}

/// Tells a Task what to do; one that is gone needs nothing.
async fn tell(tasks: &Api<Task>, name: &str, state: DesiredState) -> Result<()> {
    let params = PatchParams {
        field_manager: Some(names::FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({"spec": {"state": state}}));
    let act = format!("set state of task {name}");
    match within(WRITE_TIMEOUT, &act, tasks.patch(name, &params, &patch)).await {
        Ok(_) => Ok(()),
        // A Task that somebody cancelled meanwhile takes no other state.
        Err(error) if error.is_not_found() || error.status().is_some_and(|s| s.code == 422) => {
            Ok(())
        }
        Err(error) => Err(error),
    }
}
