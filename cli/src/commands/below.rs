//! What is known of a run beside its status: the Workflow that it runs, and the objects of its steps.

use super::name;
use crate::cluster::{Cluster, call};
use crate::error::Error;
use crate::steps::Below;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use oarmaster_crds::{Approval, Task, WorkflowSpec, names};

/// Looks. What cannot be read is left out with a warning: the status alone says how the steps stand.
pub async fn look(cluster: &Cluster, task: &Task) -> Below {
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    let steps = ListParams::default().labels(&format!("{}={uid}", names::PARENT_UID_LABEL));
    let (tasks, approvals, spec) = tokio::join!(
        cluster.list::<Task>(false, &steps),
        cluster.list::<Approval>(false, &steps),
        kept(cluster, task),
    );
    Below {
        spec: or_warn(spec).flatten(),
        tasks: or_warn(tasks).unwrap_or_default(),
        approvals: or_warn(approvals).unwrap_or_default(),
    }
}

fn or_warn<T>(found: Result<T, Error>) -> Option<T> {
    found
        .inspect_err(|error| eprintln!("warning: {}", error.line()))
        .ok()
}

/// The Workflow as it was when the Task began; what may have its name and is not the Task's says nothing.
async fn kept(cluster: &Cluster, task: &Task) -> Result<Option<WorkflowSpec>, Error> {
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    let plan = task.status.as_ref().and_then(|status| status.plan.as_ref());
    let plan = plan.and_then(|plan| plan.plans.last());
    let name = match plan {
        Some(plan) => plan.name.clone(),
        None => names::revision_name(name(task), uid),
    };
    let api: Api<ControllerRevision> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let act = format!("failed to read the Workflow that runs, in ControllerRevision {name}");
    let Some(held) = call(&act, api.get_opt(&name)).await? else {
        return Ok(None);
    };
    let mut owners = held.owner_references().iter();
    if !owners.any(|owner| owner.uid == uid && owner.controller == Some(true)) {
        return Ok(None);
    }
    Ok(held
        .data
        .and_then(|data| serde_json::from_value(data.0).ok()))
}
