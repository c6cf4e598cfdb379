//! `oar rerun`: what failed of a run, or steps that are named, anew in the same Task.

use super::{is_run, name};
use crate::args::Rerun;
use crate::cluster::{Cluster, call};
use crate::error::Error;
use crate::follow::is_finished;
use crate::output;
use kube::api::{Patch, PatchParams};
use oarmaster_crds::Task;
use oarmaster_crds::kinds::task::DesiredState;
use serde_json::json;

pub async fn run(cluster: &Cluster, args: &Rerun) -> Result<(), Error> {
    let task = cluster.task(&args.task).await?;
    if let Some(why) = refused(&task, &args.from) {
        let look = format!("oar get {}{}", name(&task), cluster.flags());
        return Err(Error::input(format!("Task {} {why}", name(&task))).next(look));
    }
    let before = task.spec.rerun.as_ref().map_or(0, |rerun| rerun.count);
    // With the version that was looked at: two people who ask at once are not one.
    let patch = Patch::Merge(json!({
        "metadata": {"resourceVersion": task.metadata.resource_version},
        "spec": {"rerun": {"count": before + 1, "from": args.from}},
    }));
    let act = format!("failed to run Task {} anew", name(&task));
    let tasks = cluster.tasks();
    call(
        &act,
        tasks.patch(name(&task), &PatchParams::default(), &patch),
    )
    .await?;
    let what = match args.from.as_slice() {
        [] => "what failed".to_owned(),
        from => from.join(", "),
    };
    output::line(&format!("Task {} runs {what} anew", name(&task)))
}

/// Why it cannot be, as far as it is seen from here.
fn refused(task: &Task, from: &[String]) -> Option<String> {
    if !is_run(task) {
        return Some("runs no workflow; create another Task".to_owned());
    }
    if !is_finished(task) {
        return Some("has not ended".to_owned());
    }
    if !matches!(
        task.spec.state,
        DesiredState::Running | DesiredState::Paused
    ) {
        return Some("was stopped; create another Task".to_owned());
    }
    let steps = task
        .status
        .as_ref()
        .and_then(|status| status.steps.as_ref())?;
    let fans = steps.fans.iter().any(|fan| !fan.failed.is_empty());
    (from.is_empty() && steps.failed.is_empty() && !fans)
        .then(|| "has no step that failed; name one with --from".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(spec: &serde_json::Value, status: &serde_json::Value) -> Task {
        serde_json::from_value(json!({
            "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task", "metadata": {"name": "t"}, "spec": spec, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn what_cannot_be_run_anew_is_said_before_it_is_asked_for() {
        let run = json!({"workflow": {"name": "w"}});
        let finished = json!([{"type": "Finished", "status": "True", "reason": "Failed", "message": "", "lastTransitionTime": "2026-11-30T00:00:00Z"}]);
        let steps =
            |failed| json!({"revision": "w@x", "progress": "1/1", "total": 1, "failed": failed});
        let bad = json!([{"name": "a", "class": "ToolFailed", "message": ""}]);
        for (spec, status, from, why) in [
            (
                json!({"run": {"sandbox": {"image": "x"}, "command": ["x"]}}),
                json!({}),
                vec![],
                Some("runs no workflow"),
            ),
            (run.clone(), json!({}), vec![], Some("has not ended")),
            (
                json!({"workflow": {"name": "w"}, "state": "Cancelled"}),
                json!({"conditions": finished}),
                vec![],
                Some("was stopped"),
            ),
            (
                run.clone(),
                json!({"conditions": finished, "steps": steps(json!([]))}),
                vec![],
                Some("has no step that failed"),
            ),
            (
                run.clone(),
                json!({"conditions": finished, "steps": steps(json!([]))}),
                vec!["a".to_owned()],
                None,
            ),
            (
                run,
                json!({"conditions": finished, "steps": steps(bad)}),
                vec![],
                None,
            ),
        ] {
            let said = refused(&task(&spec, &status), &from);
            match why {
                Some(why) => assert!(
                    said.as_ref().is_some_and(|said| said.starts_with(why)),
                    "{said:?}"
                ),
                None => assert_eq!(said, None),
            }
        }
    }
}
