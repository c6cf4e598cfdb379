//! A Task goes, and nothing of it stays.

use crate::support::{beside_others, create, held_at_first_call, run, task};
use anyhow::Result;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::ListParams;
use oarmaster_crds::Task;
use oarmaster_e2e::mock::Reply;
use oarmaster_e2e::task::SOON;
use oarmaster_e2e::wait;
use serde_json::json;

#[tokio::test]
async fn a_deleted_task_takes_its_pod_with_it() -> Result<()> {
    beside_others("deletion", async |space| {
        let first = Reply::python("print(1)");
        let (gate, mock) = held_at_first_call(space, "one", first, "must not be asked").await?;
        let jobs = space.api::<Job>().list(&ListParams::default()).await?;
        let pods = space.api::<Pod>().list(&ListParams::default()).await?;
        assert_eq!((jobs.items.len(), pods.items.len()), (1, 1));

        space
            .kubectl(&["delete", "otask", "work", "--timeout=60s"])
            .await?;
        gate.open();
        for job in &jobs {
            wait::until_gone(space.api::<Job>(), &job.name_any(), SOON).await?;
        }
        for pod in &pods {
            wait::until_gone(space.api::<Pod>(), &pod.name_any(), SOON).await?;
        }
        let left = space
            .kubectl(&[
                "get",
                "otask,jobs,pods,configmaps,secrets,controllerrevisions,leases",
                "-o",
                "name",
            ])
            .await?;
        let left: Vec<&str> = left
            .lines()
            .filter(|name| !["configmap/kube-root-ca.crt", "secret/model"].contains(name))
            .collect();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(mock.bill().len(), 1, "the answer leads to nothing");

        // The name is free again, for a Task of its own.
        create(space, &[task(&json!({}))]).await?;
        mock.until("the new Task's call", SOON, |bill| bill.len() == 2)
            .await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_finished_task_leaves_no_job_and_goes_after_its_time() -> Result<()> {
    beside_others("ttl", async |space| {
        let command = json!({"command": ["true"]});
        create(
            space,
            &[
                run("kept", command.clone(), &json!({})),
                run("gone", command, &json!({"ttlAfterFinished": "2s"})),
            ],
        )
        .await?;
        let kept = space.complete("kept").await?;
        wait::until_gone(space.api::<Task>(), "gone", SOON).await?;
        assert!(kept.finalizers().is_empty(), "{kept:#?}");
        assert!(space.api::<Task>().get_opt("kept").await?.is_some());
        let jobs = space.api::<Job>().list(&ListParams::default()).await?;
        for job in &jobs {
            wait::until_gone(space.api::<Job>(), &job.name_any(), SOON).await?;
        }
        Ok(())
    })
    .await
}
