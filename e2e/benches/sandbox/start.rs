//! From a pod's creation to the first tool call in it, beside a pod of two containers with nothing in them.

use crate::{ms, now, objects};
use anyhow::{Context as _, Result};
use futures::{StreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;
use kube::runtime::watcher::{self, Event, watcher};
use oarmaster_e2e::bench::report::{Goal, Report, percentile, short};
use oarmaster_e2e::task::SOON;
use oarmaster_e2e::{Space, wait};
use oarmaster_protocol::journal::Body;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Pods of each kind; they take turns. The first of each does not count.
const PODS: usize = 16;

/// When pods were seen for the first time, by their names.
type Seen = Arc<Mutex<BTreeMap<String, f64>>>;

/// Runs the phase.
pub async fn run(space: &Space, report: &mut Report) -> Result<()> {
    objects::agent(space, "starter", &[objects::python("print(1)")]).await?;
    let seen = Seen::default();
    let pods: Api<Pod> = space.api();
    let following = tokio::spawn(follow(pods.clone(), seen.clone()));
    let (mut bare, mut three, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..PODS {
        eprintln!("pods, {} of {PODS}", number + 1);
        for (kind, before, times) in [("bare", false, &mut bare), ("three", true, &mut three)] {
            let name = format!("{kind}-{number}");
            space
                .create(&objects::bare(&name, before).to_string())
                .await?;
            let is_done = |pod: &Pod| phase(pod) == Some("Succeeded");
            wait::until(pods.clone(), &name, "its end", SOON, is_done).await?;
            let said = space.kubectl(&["logs", &name, "-c", "main"]).await?;
            let nanos: f64 = said.trim().parse().context("the pod did not say when")?;
            times.push(nanos / 1e6 - first(&seen, &name)?);
            pods.delete(&name, &DeleteParams::background()).await?;
        }

        let name = format!("task-{number}");
        objects::task(space, &name, "starter").await?;
        space.complete(&name).await?;
        let journal = space.journal(&name).await?;
        let pod = journal.0.iter().find_map(|record| match &record.body {
            Body::Claimed { pod, .. } => Some(pod.clone()),
            _ => None,
        });
        let created = first(&seen, &pod.context("nobody claimed the attempt")?)?;
        let called = journal
            .0
            .iter()
            .find(|record| matches!(record.body, Body::ToolIntent { .. }))
            .context("no tool was called")?;
        ours.push(ms(called.at_ms) - created);
    }
    following.abort();
    let row = |what: &str, times: &[f64]| {
        let times = times.get(1..).unwrap_or_default();
        let of = |percent| short(percentile(times, percent));
        vec![what.to_owned(), of(50), of(90), of(100)]
    };
    let head = ["pod created -> in it, ms", "p50", "p90", "max"];
    let rows = [
        row("two containers of nothing: the second one began", &bare),
        row("three containers of nothing: the third one began", &three),
        row("a Task: the first tool is called", &ours),
    ];
    report.table(&head, &rows);
    let middle = |times: &[f64]| percentile(times.get(1..).unwrap_or_default(), 50);
    let added = middle(&ours) - middle(&bare);
    report.figure("sandbox_start_added_ms_p50", added, Goal::Below(300.0));
    Ok(())
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

/// When a pod was seen first.
fn first(seen: &Seen, pod: &str) -> Result<f64> {
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let at = seen.get(pod).copied();
    at.with_context(|| format!("pod {pod} was never seen"))
}

async fn follow(pods: Api<Pod>, seen: Seen) -> Result<()> {
    let events = watcher(pods, watcher::Config::default());
    pin_mut!(events);
    while let Some(event) = events.next().await {
        if let Ok(Event::Apply(pod) | Event::InitApply(pod)) = event {
            let name = pod.metadata.name.unwrap_or_default();
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.entry(name).or_insert_with(now);
        }
    }
    Ok(())
}
