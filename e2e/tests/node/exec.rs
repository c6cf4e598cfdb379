//! A sandbox that does not work, or is killed: what ran is never made up.

use crate::support::{agent, beside_others, calls, create, pool, python, says, scripted, task};
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use oarmaster_crds::kinds::task::Phase;
use oarmaster_crds::names::EXEC_CONTAINER;
use oarmaster_e2e::installed::image;
use oarmaster_e2e::kill;
use oarmaster_e2e::task::failure;
use oarmaster_protocol::journal::Body;
use serde_json::json;

#[tokio::test]
async fn an_image_without_a_shell() -> Result<()> {
    beside_others("no-shell", async |space| {
        let mut worker = agent(&["Shell"]);
        worker["spec"]["sandbox"]["image"] = json!(image("runner"));
        create(
            space,
            &[scripted(&[says("done")]), pool(), worker, task(&json!({}))],
        )
        .await?;
        let task = space.failed("work", "StartFailed").await?;
        let told = failure(&task).1;
        assert!(
            told.contains("no sh, which the Agent's tool Shell needs"),
            "{told}"
        );
        let journal = space.journal("work").await?;
        let asked = journal
            .0
            .iter()
            .any(|record| matches!(record.body, Body::Open { .. } | Body::ToolIntent { .. }));
        assert!(!asked, "nothing was paid: {journal:#?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_image_without_the_checks_program() -> Result<()> {
    beside_others("no-check", async |space| {
        let mut worker = agent(&["ListFiles"]);
        worker["spec"]["sandbox"]["image"] = json!(image("runner"));
        let replies = [calls("ListFiles", json!({})), says("All tests pass.")];
        let accept =
            json!({"accept": {"check": {"command": ["python3", "-m", "unittest"]}, "rounds": 1}});
        create(space, &[scripted(&replies), pool(), worker, task(&accept)]).await?;
        space.failed("work", "NotAccepted").await?;
        let journal = space.journal("work").await?;
        assert!(journal.result(0)?.1, "{journal:#?}");
        let checks = journal.checks();
        assert!(matches!(checks[..], [(false, None, _)]), "{journal:#?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_image_that_does_not_exist() -> Result<()> {
    beside_others("no-image", async |space| {
        let mut worker = agent(&["Shell"]);
        worker["spec"]["sandbox"]["image"] = json!(image("no-such-image"));
        create(
            space,
            &[scripted(&[says("done")]), pool(), worker, task(&json!({}))],
        )
        .await?;
        let task = space.failed("work", "StartFailed").await?;
        assert!(
            failure(&task).1.contains("no-such-image"),
            "names the image: {task:#?}"
        );
        Ok(())
    })
    .await
}

/// Writes a file, then does not end.
const ENDLESS: &str = "
import time
open('kept', 'w').write('from before')
time.sleep(600)
";

#[tokio::test]
async fn an_executor_that_is_killed_in_a_call() -> Result<()> {
    beside_others("exec-dies", async |space| {
        let replies = [
            python(ENDLESS),
            python("print(open('kept').read(), 6 * 7)"),
            says("done"),
        ];
        let accept = json!({"accept": {"check": {"command": ["grep", "-q", "before", "kept"]}, "rounds": 1}});
        create(space, &[scripted(&replies), pool(), agent(&["RunCode"]), task(&accept)]).await?;
        space
            .task_until("work", "an attempt", |task| {
                task.status.as_ref().is_some_and(|status| status.phase == Some(Phase::Running))
            })
            .await?;
        let reader = space.reader().await?;
        reader.until("work", "the endless call", |body| matches!(body, Body::ToolIntent { .. })).await?;
        let pod = space.api::<Pod>().list(&ListParams::default()).await?.items.pop().context("no pod")?;
        kill::container(&pod, EXEC_CONTAINER)?;

        // It comes back, proves its isolation anew, and the model is told; the workspace is as it was.
        space.complete("work").await?;
        let journal = space.journal("work").await?;
        let (_, ok, text) = journal.result(0)?;
        assert!(!ok && text.contains("restarted"), "{journal:#?}");
        let (_, ok, text) = journal.result(1)?;
        assert!(ok && text.contains("from before 42"), "{journal:#?}");
        let anew = journal.0.windows(2).any(|pair| {
            matches!(pair[0].body, Body::Isolation { proven: true, .. }) && matches!(pair[1].body, Body::ToolResult { ok: false, .. })
        });
        assert!(anew, "{journal:#?}");
        assert!(matches!(journal.checks()[..], [(true, Some(0), _)]), "{journal:#?}");
        Ok(())
    })
    .await
}
