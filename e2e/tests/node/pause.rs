//! A Task that is paused has no pod, and goes on where it stopped.

use crate::support::{agent, beside_others, create, key, mocked, pool, task};
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use oarmaster_crds::Task;
use oarmaster_crds::kinds::task::Phase;
use oarmaster_e2e::mock::{Gate, Mock, Reply};
use oarmaster_e2e::task::SOON;
use oarmaster_e2e::wait;
use serde_json::json;

#[tokio::test]
async fn a_paused_task_gives_its_pod_back_and_goes_on() -> Result<()> {
    beside_others("pause", async |space| {
        let gate = Gate::default();
        let held = gate.clone();
        let mock = Mock::start(&space.cluster, move |call| match call.turn {
            0 => Reply::tool("Shell", &json!({"command": "echo kept > notes"})),
            1 => Reply::tool("Shell", &json!({"command": "cat notes"})).after(&held),
            _ => Reply::text("done"),
        })
        .await?;
        create(
            space,
            &[
                key("one"),
                mocked(&mock),
                pool(),
                agent(&["Shell"]),
                task(&json!({"retry": {"limit": 0}, "artifacts": [{"name": "notes", "path": "notes"}]})),
            ],
        )
        .await?;
        mock.until("the second call", SOON, |bill| bill.len() == 2)
            .await?;
        let tasks = space.api::<Task>();
        let state = |state: &str| Patch::Merge(json!({"spec": {"state": state}}));
        let patch = PatchParams::default();
        tasks.patch("work", &patch, &state("Paused")).await?;
        let phase = |wanted: Phase| {
            move |task: &Task| {
                task.status.as_ref().and_then(|status| status.phase) == Some(wanted)
            }
        };
        space
            .task_until("work", "its pause", phase(Phase::Paused))
            .await?;
        let pods = space.api::<Pod>();
        let pod = pods.list(&Default::default()).await?.items.pop();
        if let Some(pod) = pod {
            let name = pod.metadata.name.context("a pod without a name")?;
            wait::until_gone(pods, &name, SOON).await?;
        }
        // What was asked before runs on, and is there when it is resumed.
        gate.open();
        tasks.patch("work", &patch, &state("Running")).await?;
        let status = space.complete("work").await?.status.context("no status")?;
        assert_eq!(status.attempt, Some(2), "{status:#?}");
        assert_eq!(status.retries.unwrap_or(0), 0, "{status:#?}");
        assert_eq!(status.artifacts.len(), 1, "{status:#?}");
        assert_eq!(mock.bill().len(), 3, "no answer is paid for twice");
        Ok(())
    })
    .await
}
