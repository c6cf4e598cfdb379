//! The operator dies in the middle of a run.

use crate::support::{alone, held_at_first_call};
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use oarmaster_e2e::Space;
use oarmaster_e2e::installed::RELEASE;
use oarmaster_e2e::kill;
use oarmaster_e2e::mock::Reply;
use oarmaster_protocol::journal::Body;

/// Kills the operator's process in each of its pods.
pub async fn kill_operators(space: &Space) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(space.cluster.client.clone(), RELEASE);
    let operators = ListParams::default().labels("app.kubernetes.io/component=operator");
    let operators = pods.list(&operators).await?;
    assert!(operators.items.len() > 1, "the operator has replicas");
    for pod in &operators {
        kill::container(pod, "operator")?;
    }
    Ok(())
}

#[tokio::test]
async fn one_job_one_result_no_second_call() -> Result<()> {
    alone("operator-killed", async |space| {
        let first = Reply::python("print('worked')");
        let (gate, mock) = held_at_first_call(space, "one", first, "done").await?;
        let job = |task: oarmaster_crds::Task| task.status.and_then(|status| status.job);
        let before = job(space
            .task_until("work", "its Job", |task| job(task.clone()).is_some())
            .await?);

        kill_operators(space).await?;
        gate.open();

        let task = space.complete("work").await?;
        let status = task.status.clone().context("no status")?;
        assert_eq!(status.attempt, Some(1), "{status:#?}");
        assert_eq!(status.job, before, "the Job is the one from before");
        assert_eq!(mock.bill().len(), 2, "every answer is asked for once");
        let journal = space.journal("work").await?;
        for (what, count) in [
            (
                "opened",
                journal.count(|body| matches!(body, Body::Opened { .. })),
            ),
            (
                "claimed",
                journal.count(|body| matches!(body, Body::Claimed { .. })),
            ),
            (
                "result",
                journal.count(|body| matches!(body, Body::Result { .. })),
            ),
        ] {
            assert_eq!(count, 1, "{what}: {journal:#?}");
        }
        assert!(journal.result(0)?.2.contains("worked"), "{journal:#?}");
        Ok(())
    })
    .await
}
