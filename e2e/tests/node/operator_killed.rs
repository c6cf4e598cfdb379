//! The operator dies in the middle of a run.

use crate::support::{agent, alone, create, key, mocked, pool, task};
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use oarmaster_e2e::installed::RELEASE;
use oarmaster_e2e::kill;
use oarmaster_e2e::mock::{Gate, Mock, Reply};
use oarmaster_e2e::task::SOON;
use oarmaster_protocol::journal::Body;
use serde_json::json;

#[tokio::test]
async fn one_job_one_result_no_second_call() -> Result<()> {
    alone("operator-killed", async |space| {
        let gate = Gate::default();
        let held = gate.clone();
        let mock = Mock::start(&space.cluster, move |call| match call.turn {
            0 => Reply::python("print('worked')").after(&held),
            _ => Reply::text("done"),
        })
        .await?;
        create(
            space,
            &[
                key("one"),
                mocked(&mock),
                pool(),
                agent(&["RunCode"]),
                task(&json!({})),
            ],
        )
        .await?;
        mock.until("the first call", SOON, |bill| bill.len() == 1)
            .await?;
        let job = |task: oarmaster_crds::Task| task.status.and_then(|status| status.job);
        let before = job(space
            .task_until("work", "its Job", |task| job(task.clone()).is_some())
            .await?);

        let pods: Api<Pod> = Api::namespaced(space.cluster.client.clone(), RELEASE);
        let operators = ListParams::default().labels("app.kubernetes.io/component=operator");
        let operators = pods.list(&operators).await?;
        assert!(operators.items.len() > 1, "the operator has replicas");
        for pod in &operators {
            kill::container(pod, "operator")?;
        }
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
