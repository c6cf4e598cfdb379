//! From a Task's creation to its first call of the model, without a pod; and how many in a second.

use crate::{Arrivals, lock};
use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event, watcher};
use oarmaster_crds::{Task, conditions};
use oarmaster_e2e::Space;
use oarmaster_e2e::bench::report::{Goal, Report, percentile, short};
use oarmaster_e2e::crash::scene::{Scene, me};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Tasks one after the other. The first does not count.
const ALONE: usize = 41;
/// Tasks as fast as they can be made.
const MANY: usize = 400;
/// So many are made at once.
const MAKERS: usize = 8;
/// For all of them.
const PATIENCE: Duration = Duration::from_secs(180);

/// Tasks that are created and finished in a bare loop, without anybody who works on them: so many a second.
pub async fn bare(space: &Space) -> Result<f64> {
    let (tasks, user) = (space.api::<Task>(), me(space).await?);
    let begun = Instant::now();
    let made = futures::stream::iter(0..MANY).map(|number| {
        let (tasks, user) = (&tasks, &user);
        async move {
            let name = format!("bare-{number}");
            let task: Task = serde_json::from_value(json!({
                "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task", "metadata": {"name": name},
                "spec": {"agent": {"name": "plain"}, "params": {"prompt": name}, "requestedBy": user},
            }))?;
            tasks.create(&PostParams::default(), &task).await?;
            let done = json!({"status": {"phase": "Succeeded"}});
            let (params, patch) = (PatchParams::default(), Patch::Merge(done));
            tasks.patch_status(&name, &params, &patch).await?;
            anyhow::Ok(())
        }
    });
    made.buffer_unordered(MAKERS).try_collect::<()>().await?;
    Ok(per_second(MANY, begun.elapsed()))
}

/// Runs the phase.
pub async fn run(
    scene: &Scene<'_>,
    arrivals: &Arrivals,
    bare: f64,
    report: &mut Report,
) -> Result<()> {
    eprintln!("one Task after the other");
    let mut alone = Vec::new();
    for number in 0..ALONE {
        let name = format!("alone-{number}");
        let begun = Instant::now();
        scene.task(&name, "plain", &json!({})).await?;
        let asked = tokio::time::timeout(PATIENCE, arrivals.of(&name));
        let asked = asked.await.context("the model was not asked")??;
        alone.push(asked.duration_since(begun).as_secs_f64() * 1e3);
    }
    alone.remove(0);
    eprintln!("{MANY} Tasks");
    let ended = Ended::follow(scene.space.api(), "many-");
    let begun = Instant::now();
    let made = futures::stream::iter(0..MANY).map(|number| async move {
        scene
            .task(&format!("many-{number}"), "plain", &json!({}))
            .await
    });
    made.buffer_unordered(MAKERS)
        .try_collect::<Vec<_>>()
        .await?;
    let all = tokio::time::timeout(PATIENCE, ended.many(MANY)).await;
    all.context("not all Tasks have ended")?;
    let ours = per_second(MANY, begun.elapsed());
    let of = |percent| short(percentile(&alone, percent));
    report.table(
        &[
            "Task created -> first model call, no pod, ms",
            "p50",
            "p90",
            "max",
        ],
        &[vec![
            "one after the other".to_owned(),
            of(50),
            of(90),
            of(100),
        ]],
    );
    report.table(
        &["Tasks a second, 8 makers", ""],
        &[
            vec![
                "created and patched once, nobody works on them".to_owned(),
                short(bare),
            ],
            vec![
                "created, worked on by one process of pilots, ended".to_owned(),
                short(ours),
            ],
        ],
    );
    report.figure(
        "pilot_first_call_ms_p50",
        percentile(&alone, 50),
        Goal::Below(100.0),
    );
    report.figure("pilot_rate_of_bare", ours / bare, Goal::AtLeast(0.5));
    Ok(())
}

fn per_second(count: usize, time: Duration) -> f64 {
    u32::try_from(count).map_or(f64::NAN, f64::from) / time.as_secs_f64()
}

/// Tasks that have ended.
struct Ended {
    names: Arc<Mutex<BTreeSet<String>>>,
    more: Arc<Notify>,
    following: tokio::task::JoinHandle<()>,
}

impl Ended {
    /// Those whose names begin so.
    fn follow(tasks: Api<Task>, prefix: &'static str) -> Self {
        let (names, more) = (
            Arc::<Mutex<BTreeSet<String>>>::default(),
            Arc::<Notify>::default(),
        );
        let (noted, told) = (Arc::clone(&names), Arc::clone(&more));
        let following = tokio::spawn(async move {
            let mut events = watcher(tasks, watcher::Config::default()).boxed();
            while let Some(event) = events.next().await {
                // Errors: the watcher starts again by itself.
                if let Ok(Event::Apply(task) | Event::InitApply(task)) = event {
                    let name = task.metadata.name.unwrap_or_default();
                    let status = task.status.unwrap_or_default();
                    let over = conditions::is_true(&status.conditions, conditions::FINISHED);
                    if over && name.starts_with(prefix) {
                        lock(&noted).insert(name);
                        told.notify_one();
                    }
                }
            }
        });
        Self {
            names,
            more,
            following,
        }
    }

    async fn many(&self, count: usize) {
        while lock(&self.names).len() < count {
            self.more.notified().await;
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.following.abort();
    }
}
