//! `oar cancel`.

use super::name;
use crate::args::Cancel;
use crate::cluster::{Cluster, call};
use crate::error::Error;
use crate::follow::is_finished;
use crate::output;
use kube::api::{Patch, PatchParams};
use serde_json::json;

pub async fn run(cluster: &Cluster, args: Cancel) -> Result<(), Error> {
    let Cancel { task } = args;
    let task = cluster.task(&task).await?;
    if is_finished(&task) {
        return Err(
            Error::input(format!("Task {} has already ended", name(&task))).next(format!(
                "oar get {}{}",
                name(&task),
                cluster.flags()
            )),
        );
    }
    let patch = Patch::Merge(json!({"spec": {"state": "Cancelled"}}));
    let act = format!("failed to cancel Task {}", name(&task));
    call(
        &act,
        cluster
            .tasks()
            .patch(name(&task), &PatchParams::default(), &patch),
    )
    .await?;
    output::line(&format!("Task {} is being cancelled", name(&task)))
}
