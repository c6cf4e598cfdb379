//! A sandbox that does not work: the Task fails, since nothing else can say that it is complete.

use crate::support::{
    agent, beside_others, calls, create, key, mocked, pool, says, scripted, task,
};
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use oarmaster_crds::names::EXEC_CONTAINER;
use oarmaster_e2e::installed::image;
use oarmaster_e2e::kill;
use oarmaster_e2e::mock::{Gate, Mock, Reply};
use oarmaster_e2e::task::{SOON, failure};
use serde_json::json;

#[tokio::test]
async fn an_image_without_a_shell() -> Result<()> {
    beside_others("no-shell", async |space| {
        let mut worker = agent(&["Shell"]);
        worker["spec"]["sandbox"]["image"] = json!(image("runner"));
        let replies = [
            calls("Shell", json!({"command": "python3 -m unittest"})),
            says("All tests pass."),
        ];
        let accept =
            json!({"accept": {"check": {"command": ["python3", "-m", "unittest"]}, "rounds": 1}});
        create(space, &[scripted(&replies), pool(), worker, task(&accept)]).await?;
        space.failed("work", "NotAccepted").await?;
        let journal = space.journal("work").await?;
        assert!(!journal.result(0)?.1, "{journal:#?}");
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
        worker["spec"]["sandbox"]["image"] = json!("docker.io/library/no-such-image:1");
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

#[tokio::test]
async fn an_executor_that_dies() -> Result<()> {
    beside_others("exec-dies", async |space| {
        let gate = Gate::default();
        let held = gate.clone();
        let mock = Mock::start(&space.cluster, move |call| match call.turn {
            0 => Reply::python("open('evidence', 'w').write('here')").after(&held),
            _ => Reply::text("All is well."),
        })
        .await?;
        let accept = json!({"accept": {"check": {"command": ["cat", "evidence"]}, "rounds": 1}});
        create(
            space,
            &[
                key("one"),
                mocked(&mock),
                pool(),
                agent(&["RunCode"]),
                task(&accept),
            ],
        )
        .await?;
        mock.until("the first call", SOON, |bill| bill.len() == 1)
            .await?;
        let pod = space
            .api::<Pod>()
            .list(&ListParams::default())
            .await?
            .items
            .pop()
            .context("no pod")?;
        kill::container(&pod, EXEC_CONTAINER)?;
        gate.open();

        let task = space.finished("work").await?;
        let (class, message) = failure(&task);
        assert!(
            ["Internal", "Disrupted"].contains(&class),
            "{class}: {message}"
        );
        let journal = space.journal("work").await?;
        assert!(
            journal.results().iter().all(|(_, ok, _)| !ok),
            "{journal:#?}"
        );
        assert!(
            journal.checks().iter().all(|(accepted, _, _)| !accepted),
            "{journal:#?}"
        );
        Ok(())
    })
    .await
}
