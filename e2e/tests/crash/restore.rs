//! Objects that are what they were at an earlier time, below a gateway that knows more, as after a restore of etcd: no model is asked again. Statuses are set back through the API server, under
//! the UIDs that the gateway knows; what a status cannot say (a Task that was cancelled or deleted, and is not any more) is for the tests of the plans.

use crate::support::{in_space, on_a_rig};
use anyhow::{Context as _, Result, ensure};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use oarmaster_crds::Task;
use oarmaster_crds::kinds::task::Phase;
use oarmaster_e2e::Space;
use oarmaster_e2e::crash::Rig;
use oarmaster_e2e::crash::books::Ending;
use oarmaster_e2e::crash::run::Stage;
use oarmaster_e2e::crash::scene::Scene;
use oarmaster_e2e::mock::{Call, Gate, Reply};
use oarmaster_e2e::task::SOON;
use oarmaster_e2e::wait;
use serde_json::{Value, json};

/// Sets the status of a Task back.
async fn set_back(space: &Space, name: &str, status: &Value) -> Result<()> {
    let patch = json!([{"op": "add", "path": "/status", "value": status}]);
    let patch = Patch::Json::<()>(serde_json::from_value(patch)?);
    let tasks = space.api::<Task>();
    tasks
        .patch_status(name, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

/// What of an end a restored Task has in common with it: an attempt that is not run again has no Job and no image to name.
fn of_end(ending: &Ending) -> Value {
    let of = |field: &str| ending.status.get(field).cloned().unwrap_or_default();
    json!({
        "status": [of("phase"), of("output"), of("usage"), of("failure"), of("attempt")],
        "jobs": ending.jobs, "calls": ending.calls, "estimated": ending.estimated, "journal": ending.journal,
    })
}

async fn task(rig: &Rig, space: &Space) -> Result<()> {
    let gate = Gate::default();
    let held = gate.clone();
    let answer = move |_: &Call| Reply::text("done").usage(100, 10).after(&held);
    let scene = Scene::set(rig, space, answer).await?;
    let uid = scene.task("work", "plain", &json!({})).await?;
    let runs =
        |task: &Task| task.status.as_ref().and_then(|status| status.phase) == Some(Phase::Running);
    let tasks = space.api::<Task>();
    let running = wait::until(tasks, "work", "it runs", SOON, runs).await?;
    let running = serde_json::to_value(running.status)?;
    gate.open();
    let whole = of_end(&scene.ending("work", &uid).await?);
    ensure!(
        whole.pointer("/status/0") == Some(&json!("Succeeded")) && whole["calls"] == json!(1),
        "the undisturbed run went another way: {whole:#?}"
    );
    for (number, status) in [json!({}), running].iter().enumerate() {
        set_back(space, "work", status).await?;
        rig.operator.kill().await?;
        scene.ending("work", &uid).await?;
        scene.canary(&format!("canary-{number}")).await?;
        let ending = of_end(&scene.ending("work", &uid).await?);
        ensure!(
            ending == whole,
            "set back to {status:#}: {ending:#?}\ninstead of {whole:#?}"
        );
    }
    Ok(())
}

async fn run(rig: &Rig, space: &Space) -> Result<()> {
    Stage::with(rig, space, async |stage| {
        stage.items("fan", 3).await?;
        space.finished("fan").await?;
        let calls = stage.calls_of("fan");
        ensure!(calls.values().sum::<usize>() == 3, "{calls:?}");
        // To before its first step: the Tasks of its items were not there.
        let tasks = space.api::<Task>();
        for child in tasks.list(&ListParams::default()).await? {
            let name = child.name_any();
            if name.starts_with("fan-") {
                tasks.delete(&name, &DeleteParams::background()).await?;
                wait::until_gone(tasks.clone(), &name, SOON).await?;
            }
        }
        set_back(space, "fan", &json!({})).await?;
        rig.operator.kill().await?;
        space.finished("fan").await?;
        stage.looked_at("fan").await?;
        let status = tasks.get("fan").await?.status.context("no status")?;
        let failure = status.failure.context("it did not fail")?;
        ensure!(failure.class == "StateRegressed", "{failure:?}");
        let now = stage.calls_of("fan");
        ensure!(now == calls, "a model was asked again: {now:?}, {calls:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_set_back_to_before_its_end_ends_as_it_had_ended() -> Result<()> {
    on_a_rig(async |rig| in_space(rig, "crash", async |space| task(rig, space).await).await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_set_back_to_before_its_first_step_begins_none() -> Result<()> {
    on_a_rig(async |rig| in_space(rig, "crash", async |space| run(rig, space).await).await).await
}
