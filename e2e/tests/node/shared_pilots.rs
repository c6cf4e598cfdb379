//! Tasks without a pod of their own: shared pilots run them, and hand them on when they go.

use crate::support::{agent, alone, beside_others, create, key, mocked, pool, task, with_class};
use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams};
use oarmaster_crds::Task;
use oarmaster_crds::kinds::task::Phase;
use oarmaster_e2e::installed::RELEASE;
use oarmaster_e2e::mock::{Gate, Mock, Reply};
use oarmaster_e2e::task::SOON;
use oarmaster_e2e::{Space, wait};
use oarmaster_protocol::journal::Body;
use serde_json::json;
use std::time::Duration;

/// A claim that is not renewed is over after 30 s.
const LAPSED: Duration = Duration::from_secs(90);

/// A planner's Task whose model calls are all held until the gate opens.
async fn held(space: &Space) -> Result<(Gate, Mock)> {
    let gate = Gate::default();
    let until = gate.clone();
    let mock = Mock::start(&space.cluster, move |_| {
        Reply::text("the plan").after(&until)
    })
    .await?;
    let objects = [
        key("one"),
        mocked(&mock),
        pool(),
        agent(&[]),
        task(&json!({})),
    ];
    create(space, &objects).await?;
    mock.until("the first call", SOON, |bill| bill.len() == 1)
        .await?;
    Ok((gate, mock))
}

/// The pods that have claimed the Task, in order.
async fn claimers(space: &Space) -> Result<Vec<String>> {
    let journal = space.journal("work").await?;
    let claims = journal.0.iter().filter_map(|record| match &record.body {
        Body::Claimed { pod, .. } => Some(pod.clone()),
        _ => None,
    });
    Ok(claims.collect())
}

async fn nothing_was_made(space: &Space) -> Result<()> {
    let all = ListParams::default();
    let pods = space.api::<Pod>().list(&all).await?.items;
    let jobs = space.api::<Job>().list(&all).await?.items;
    ensure!(pods.is_empty() && jobs.is_empty(), "{pods:#?} {jobs:#?}");
    Ok(())
}

#[tokio::test]
async fn a_planner_runs_without_a_pod_and_two_replicas_stand_ready() -> Result<()> {
    beside_others("shared", async |space| {
        let deployments: Api<Deployment> = Api::namespaced(space.cluster.client.clone(), RELEASE);
        let found = deployments.get("oarmaster-pilots").await?.status;
        assert_eq!(found.and_then(|status| status.ready_replicas), Some(2));
        let (gate, _mock) = held(space).await?;
        let running = |task: &Task| {
            let status = task.status.as_ref();
            status.and_then(|status| status.phase) == Some(Phase::Running)
        };
        let task = space.task_until("work", "it runs", running).await?;
        assert_eq!(task.status.and_then(|status| status.job), None);
        nothing_was_made(space).await?;
        gate.open();
        space.complete("work").await?;
        let claims = claimers(space).await?;
        let [pod] = claims.as_slice() else {
            bail!("claimed by {claims:?}");
        };
        ensure!(pod.starts_with("oarmaster-pilots-"), "{pod}");
        nothing_was_made(space).await
    })
    .await
}

#[tokio::test]
async fn a_class_may_give_each_task_a_pod() -> Result<()> {
    beside_others("own-pod", async |space| {
        with_class(space, json!({"sharedPilots": false}), async |_, name| {
            let mock = Mock::start(&space.cluster, |_| Reply::text("the plan")).await?;
            let mut planner = agent(&[]);
            planner["spec"]["sandbox"]["class"] = json!({"name": name});
            let objects = [key("one"), mocked(&mock), pool(), planner, task(&json!({}))];
            create(space, &objects).await?;
            let task = space.complete("work").await?;
            let job = task.status.and_then(|status| status.job);
            job.context("no Job").map(drop)
        })
        .await
    })
    .await
}

/// Other tests' Tasks run in the same pods: so these run alone.
async fn a_pod_goes(name: &str, how: DeleteParams, within: Duration) -> Result<()> {
    alone(name, async |space| {
        let (gate, mock) = held(space).await?;
        let before = claimers(space).await?;
        let [pod] = before.as_slice() else {
            bail!("claimed by {before:?}");
        };
        let pods: Api<Pod> = Api::namespaced(space.cluster.client.clone(), RELEASE);
        pods.delete(pod, &how).await?;
        let work = space.api::<Task>();
        let uid = work.get("work").await?.uid().context("no UID")?;
        tokio::time::timeout(within, async {
            while claimers(space).await?.len() < 2 {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            anyhow::Ok(())
        })
        .await
        .context("nobody else has claimed it")??;
        gate.open();
        let task = space.complete("work").await?;
        assert_eq!(task.uid(), Some(uid));
        let status = task.status.context("no status")?;
        assert_eq!(status.attempt, Some(1), "{status:#?}");
        assert_eq!(status.disruptions.unwrap_or(0), 0, "{status:#?}");
        let journal = space.journal("work").await?;
        let results = journal.count(|body| matches!(body, Body::Result { .. }));
        assert_eq!(results, 1, "{journal:#?}");
        assert!(mock.bill().len() <= 2);
        nothing_was_made(space).await?;
        // The next test finds two of them.
        let deployments: Api<Deployment> = Api::namespaced(space.cluster.client.clone(), RELEASE);
        let both = |found: &Deployment| {
            let status = found.status.as_ref();
            status.and_then(|status| status.ready_replicas) == Some(2)
        };
        wait::until(deployments, "oarmaster-pilots", "both are back", SOON, both)
            .await
            .map(drop)
    })
    .await
}

#[tokio::test]
async fn a_pod_that_is_deleted_hands_its_tasks_on_at_once() -> Result<()> {
    let kindly = DeleteParams::default();
    a_pod_goes("handed-on", kindly, Duration::from_secs(20)).await
}

#[tokio::test]
async fn the_tasks_of_a_pod_that_is_killed_are_taken_when_its_claims_are_over() -> Result<()> {
    let killed = DeleteParams {
        grace_period_seconds: Some(0),
        ..DeleteParams::default()
    };
    a_pod_goes("killed", killed, LAPSED).await
}
