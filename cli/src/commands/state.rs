//! `oar cancel`, `oar pause` and `oar resume`: what a Task should be doing.

use super::name;
use crate::cluster::{Cluster, call};
use crate::error::Error;
use crate::follow::is_finished;
use crate::output;
use kube::api::{Patch, PatchParams};
use oarmaster_crds::kinds::task::DesiredState;
pub use oarmaster_crds::kinds::task::DesiredState as State;
use serde_json::json;

pub async fn run(cluster: &Cluster, task: &str, state: State) -> Result<(), Error> {
    let task = cluster.task(task).await?;
    let look = format!("oar get {}{}", name(&task), cluster.flags());
    let refuse = |what: &str| Err(Error::input(format!("Task {} {what}", name(&task))).next(look));
    if is_finished(&task) {
        return refuse("has already ended");
    }
    let now = task.spec.state;
    if now == DesiredState::Cancelled && state != DesiredState::Cancelled {
        return refuse("is being cancelled");
    }
    if state == DesiredState::Running && now != DesiredState::Paused {
        return refuse("is not paused");
    }
    let patch = Patch::Merge(json!({"spec": {"state": state}}));
    let (verb, done) = match state {
        DesiredState::Cancelled => ("cancel", "is being cancelled"),
        DesiredState::Paused => ("pause", "is being paused"),
        DesiredState::Running => ("resume", "goes on"),
    };
    let act = format!("failed to {verb} Task {}", name(&task));
    call(
        &act,
        cluster
            .tasks()
            .patch(name(&task), &PatchParams::default(), &patch),
    )
    .await?;
    output::line(&format!("Task {} {done}", name(&task)))
}
