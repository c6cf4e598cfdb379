//! The operator is killed before and after each of its writes.

use crate::support::{full, in_space, kill, on_a_rig, points, struck};
use anyhow::{Context as _, Result, ensure};
use futures::FutureExt as _;
use kube::api::{DeleteParams, Patch, PatchParams};
use oarmaster_crds::Task;
use oarmaster_crds::kinds::task::Phase;
use oarmaster_e2e::crash::Rig;
use oarmaster_e2e::crash::books::Ending;
use oarmaster_e2e::crash::process::Daemon;
use oarmaster_e2e::crash::scene::{Scene, calls, writes};
use oarmaster_e2e::mock::{Call, Gate, Reply};
use oarmaster_e2e::proxy::{Point, Rule, Side, Strike};
use oarmaster_e2e::space::say;
use oarmaster_e2e::task::SOON;
use oarmaster_e2e::wait;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What happens to the Task while its first model call is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It is answered, and the attempt completes.
    Complete,
    /// It is answered, and the pilot dies: another attempt completes.
    Retry,
    /// The Task is cancelled.
    Cancel,
    /// The Task is deleted.
    Delete,
}

/// One run: the Task's end, and the operator's writes since the act; when it completes, and in the full matrix, since its creation.
pub async fn play(
    rig: &Rig,
    act: Act,
    point: Option<&Point>,
    victim: &Arc<Daemon>,
) -> Result<(Ending, Vec<String>)> {
    let starts = victim.starts();
    let run = in_space(rig, "crash", async |space| {
        let gate = Gate::default();
        let held = gate.clone();
        let answer = move |_: &Call| Reply::text("done").usage(100, 10).after(&held);
        let scene = Scene::set(rig, space, answer).await?;
        let armed = point.map(|point| (point.clone(), kill(victim)));
        let rule = Rule::new(writes(&space.name, "work"), armed);
        let whole = act == Act::Complete || full();
        if whole {
            rig.asked.set(&rule);
        }
        let pilot = Rule::new(calls, Some(pilot_dies(rig, &space.name)));
        if act == Act::Retry {
            rig.kubelet
                .rule((space.name.clone(), "work".to_owned(), 1), &pilot);
        }
        let uid = scene.task("work", "plain", &json!({})).await?;
        let running = |task: &Task| {
            task.status.as_ref().and_then(|status| status.phase) == Some(Phase::Running)
        };
        space.task_until("work", "it runs", running).await?;
        scene
            .mock
            .until("the first call", SOON, |bill| bill.len() == 1)
            .await?;
        if !whole {
            rig.asked.set(&rule);
        }
        happen(&scene, act, &uid, &gate).await?;
        struck(&rule, point).await?;
        // After a deletion not before: an answer that a dying gateway still got would be billed, and booked at its reservation.
        gate.open();
        scene.ending("work", &uid).await?;
        // Whoever was started again has now looked at everything; nothing may have changed.
        scene.canary("canary").await?;
        let ending = scene.ending("work", &uid).await?;
        rig.asked.set(&Rule::idle());
        Ok((ending, rule.record()))
    })
    .await?;
    let expected = starts + usize::from(point.is_some());
    ensure!(victim.starts() == expected, "it died by itself");
    Ok(run)
}

fn pilot_dies(rig: &Rig, namespace: &str) -> (Point, Strike) {
    let (kubelet, attempt) = (
        Arc::clone(&rig.kubelet),
        (namespace.to_owned(), "work".to_owned(), 1),
    );
    let dies = async move { kubelet.sandbox(&attempt).await?.pilot.kill().await };
    let point = Point {
        request: "ask model #1".to_owned(),
        side: Side::After,
    };
    (point, Box::new(move || dies.boxed()))
}

async fn happen(scene: &Scene<'_>, act: Act, uid: &str, gate: &Gate) -> Result<()> {
    match act {
        Act::Complete | Act::Retry => gate.open(),
        Act::Cancel => {
            let patch = Patch::Merge(json!({"spec": {"state": "Cancelled"}}));
            let tasks = scene.space.api::<Task>();
            tasks.patch("work", &PatchParams::default(), &patch).await?;
            scene.space.finished("work").await?;
            gate.open(); // what the call still costs is written after the end
        }
        Act::Delete => {
            let tasks = scene.space.api::<Task>();
            tasks.delete("work", &DeleteParams::background()).await?;
            wait::until_gone(tasks, "work", SOON).await?;
            fenced(scene, uid).await?;
        }
    }
    Ok(())
}

/// Waits until the first attempt of a deleted Task is stopped.
pub async fn fenced(scene: &Scene<'_>, uid: &str) -> Result<()> {
    let fenced = async {
        // A gateway that was killed is away for a moment.
        while !scene
            .rig
            .report(uid, 1)
            .await
            .is_ok_and(|report| report.fenced)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(SOON, fenced).await;
    waited.context("the attempt of the deleted Task is not fenced")
}

/// The writes that every run of the tests looks at. Nothing reads an event, and a new attempt goes on as the first one does.
fn bounded(act: Act, mut requests: Vec<String>) -> Vec<String> {
    if full() {
        return requests;
    }
    if act == Act::Retry
        && let Some(job) = requests
            .iter()
            .position(|name| name.starts_with("create job"))
    {
        requests.truncate(job + 1);
    }
    requests.retain(|request| !request.starts_with("send event"));
    requests
}

async fn matrix(rig: &Rig, act: Act) -> Result<()> {
    let begun = Instant::now();
    let (undisturbed, requests) = play(rig, act, None, &rig.operator).await?;
    let (phase, attempts) = match act {
        Act::Complete => (json!("Succeeded"), 1),
        Act::Retry => (json!("Succeeded"), 2),
        Act::Cancel => (json!("Cancelled"), 1),
        Act::Delete => (json!(null), 1),
    };
    let went = undisturbed.status.get("phase").cloned().unwrap_or_default();
    ensure!(
        went == phase && undisturbed.jobs.len() == attempts && !requests.is_empty(),
        "the undisturbed run went another way: {undisturbed:#?}, {requests:#?}"
    );
    say(&format!("{act:?}: {requests:?} {undisturbed:#?}"), begun);
    for point in points(&bounded(act, requests)) {
        let what = format!("{act:?}, killed {point}");
        let (ending, _) = play(rig, act, Some(&point), &rig.operator)
            .await
            .with_context(|| what.clone())?;
        ensure!(
            ending == undisturbed,
            "{what}: {ending:#?}\ninstead of {undisturbed:#?}"
        );
        say(&what, begun);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_each_write_of_a_task_that_completes() -> Result<()> {
    on_a_rig(async |rig| matrix(rig, Act::Complete).await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_each_write_of_a_retry() -> Result<()> {
    on_a_rig(async |rig| matrix(rig, Act::Retry).await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_each_write_of_a_cancel() -> Result<()> {
    on_a_rig(async |rig| matrix(rig, Act::Cancel).await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_each_write_of_a_deletion() -> Result<()> {
    on_a_rig(async |rig| matrix(rig, Act::Delete).await).await
}
