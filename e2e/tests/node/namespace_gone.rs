//! A namespace is deleted while Tasks run, wait and stand still in it: it is gone within a minute, whatever the operator was about to make there.

use crate::support::{agent, beside_others, create, key, mocked, object, pool, task};
use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use oarmaster_crds::kinds::task::Phase;
use oarmaster_crds::{Approval, Task};
use oarmaster_e2e::mock::{Gate, Mock, Reply};
use oarmaster_e2e::space::say;
use oarmaster_e2e::task::SOON;
use oarmaster_e2e::wait;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long it may take.
const A_MINUTE: Duration = Duration::from_secs(60);
/// Tasks whose first call is held.
const RUNNING: [&str; 3] = ["work-1", "work-2", "paused"];

fn phase(wanted: Phase) -> impl Fn(&Task) -> bool {
    move |task| task.status.as_ref().and_then(|status| status.phase) == Some(wanted)
}

/// A Task of the Agent `worker`.
fn named(name: &str) -> Value {
    let mut work = task(&json!({}));
    work["metadata"]["name"] = json!(name);
    work
}

#[tokio::test]
async fn a_namespace_goes_with_all_that_runs_and_waits_in_it() -> Result<()> {
    beside_others("gone", async |space| {
        let gate = Gate::default();
        let held = gate.clone();
        let mock = Mock::start(&space.cluster, move |_| {
            Reply::tool("Shell", &json!({"command": "true"})).after(&held)
        })
        .await?;
        let ask = json!({"name": "ask", "approval": {"ask": "Go on?", "approvers": {"groups": ["leads"]}}});
        let then = json!({"name": "then", "after": ["ask"], "agent": {"name": "worker"}, "params": {"prompt": "Work."}});
        let run = json!({"workflow": {"name": "asks"}});
        create(
            space,
            &[
                key("one"),
                mocked(&mock),
                pool(),
                agent(&["Shell"]),
                object("Workflow", "asks", json!({"steps": [ask, then]})),
                object("Task", "asked", run),
            ],
        )
        .await?;
        create(space, &RUNNING.map(named)).await?;
        mock.until("a call of each", SOON, |bill| bill.len() == RUNNING.len())
            .await?;
        let state = Patch::Merge(json!({"spec": {"state": "Paused"}}));
        let tasks = space.api::<Task>();
        tasks
            .patch("paused", &PatchParams::default(), &state)
            .await?;
        space
            .task_until("paused", "its pause", phase(Phase::Paused))
            .await?;
        space
            .task_until("asked", "its wait", phase(Phase::Waiting))
            .await?;
        let list = ListParams::default();
        let approvals = space.api::<Approval>().list(&list).await?.items;
        let pods = space.api::<Pod>().list(&list).await?.items;
        ensure!(approvals.len() == 1, "{approvals:#?}");
        ensure!(pods.len() >= RUNNING.len() - 1, "{pods:#?}");

        let namespaces: Api<Namespace> = Api::all(space.cluster.client.clone());
        let begun = Instant::now();
        namespaces
            .delete(&space.name, &DeleteParams::background())
            .await?;
        wait::until_gone(namespaces, &space.name, A_MINUTE).await?;
        say("the namespace is gone", begun);
        gate.open();
        ensure!(
            mock.bill().len() == RUNNING.len(),
            "nothing was asked for anybody there any more"
        );
        Ok(())
    })
    .await
}
