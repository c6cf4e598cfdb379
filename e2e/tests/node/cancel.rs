//! A person stops a Task.

use crate::support::{beside_others, held_at_first_call};
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::ListParams;
use oarmaster_crds::conditions;
use oarmaster_crds::kinds::task::Phase;
use oarmaster_e2e::mock::Reply;
use oarmaster_e2e::task::{SOON, holds};
use oarmaster_e2e::wait;
use oarmaster_protocol::journal::Body;

#[tokio::test]
async fn a_cancelled_task_stops_and_stays_stopped() -> Result<()> {
    beside_others("cancel", async |space| {
        let first = Reply::python("print(1)");
        let (gate, mock) = held_at_first_call(space, "one", first, "must not be asked").await?;
        let pods = space.api::<Pod>().list(&ListParams::default()).await?;
        let pod = pods.items.first().context("no pod")?.name_any();

        space
            .kubectl(&[
                "patch",
                "otask",
                "work",
                "--type=merge",
                "-p",
                r#"{"spec":{"state":"Cancelled"}}"#,
            ])
            .await?;
        let task = space.finished("work").await?;
        gate.open();

        assert_eq!(
            task.status.as_ref().and_then(|status| status.phase),
            Some(Phase::Cancelled),
            "{task:#?}"
        );
        assert!(
            holds(&task, conditions::STALLED) && !holds(&task, conditions::FAILED),
            "{task:#?}"
        );
        wait::until_gone(space.api::<Pod>(), &pod, SOON).await?;
        assert_eq!(
            mock.bill().len(),
            1,
            "the answer must not lead to another call"
        );
        let journal = space.journal("work").await?;
        assert_eq!(
            journal.count(|body| matches!(body, Body::Fenced { .. })),
            1,
            "{journal:#?}"
        );
        assert!(
            journal.results().is_empty(),
            "no tool may run after the fence: {journal:#?}"
        );
        let again = space
            .kubectl(&[
                "patch",
                "otask",
                "work",
                "--type=merge",
                "-p",
                r#"{"spec":{"state":"Running"}}"#,
            ])
            .await;
        let refused = again.unwrap_or_else(|error| error.to_string());
        assert!(refused.contains("create another Task"), "{refused}");
        Ok(())
    })
    .await
}
