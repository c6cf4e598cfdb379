//! Without a pod of the webhook nothing of ours is created, and everything that is there goes on, ends, and can be deleted.

use crate::support::{agent, alone, create, held_at_first_call, object, run};
use crate::workflow::{output, sample};
use anyhow::{Context as _, Result, ensure};
use futures::FutureExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use oarmaster_crds::kinds::task::Phase;
use oarmaster_crds::{Agent, Approval, Task};
use oarmaster_e2e::crash::scene::me;
use oarmaster_e2e::installed::RELEASE;
use oarmaster_e2e::mock::{Gate, Reply};
use oarmaster_e2e::task::SOON;
use oarmaster_e2e::{Space, apply, wait};
use serde_json::json;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

const WEBHOOK: &str = "oarmaster-webhook";

fn is(phase: Phase) -> impl Fn(&Task) -> bool {
    move |task| {
        let status = task.status.as_ref();
        status.is_some_and(|status| status.phase == Some(phase))
    }
}

/// So many pods of the webhook, and no other.
async fn scaled(space: &Space, replicas: i32) -> Result<()> {
    let all: Api<Deployment> = Api::namespaced(space.cluster.client.clone(), RELEASE);
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    let params = PatchParams::default();
    all.patch(WEBHOOK, &params, &patch).await?;
    wait::until(all, WEBHOOK, "its pods", SOON, |found| {
        let generation = found.metadata.generation;
        let status = found.status.as_ref();
        status.is_some_and(|status| {
            status.observed_generation == generation
                && status.replicas.unwrap_or_default() == replicas
                && status.ready_replicas.unwrap_or_default() == replicas
        })
    })
    .await?;
    if replicas == 0 {
        // Those that leave answer for some seconds more.
        let pods: Api<Pod> = Api::namespaced(space.cluster.client.clone(), RELEASE);
        let ours = ListParams::default().labels("app.kubernetes.io/component=webhook");
        for pod in pods.list(&ours).await? {
            wait::until_gone(pods.clone(), &pod.name_any(), SOON).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_is_there_goes_on_without_the_webhook() -> Result<()> {
    alone("webhook-down", async |space| {
        let (gate, _mock) =
            held_at_first_call(space, "one", Reply::text("done"), "not asked").await?;
        sample(space, "approval.yaml").await?;
        let endless = || run("endless", json!({"command": ["sleep", "600"]}), &json!({}));
        let mut kept = object("Agent", "kept", json!({"instructions": "x"}));
        kept["metadata"]["finalizers"] = json!(["example.com/kept"]);
        create(space, &[endless(), kept]).await?;
        let leaving = format!("{}-leaves", space.name);
        let client = &space.cluster.client;
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let made = serde_json::from_value(json!({"metadata": {"name": leaving}}))?;
        namespaces.create(&PostParams::default(), &made).await?;
        apply::create(client, &leaving, &endless().to_string()).await?;
        let theirs: Api<Task> = Api::namespaced(client.clone(), &leaving);
        wait::until(
            theirs,
            "endless",
            "a pod that runs",
            SOON,
            is(Phase::Running),
        )
        .await?;
        space
            .task_until("endless", "a pod that runs", is(Phase::Running))
            .await?;
        space
            .task_until("ship-it", "people are waited for", is(Phase::Waiting))
            .await?;

        scaled(space, 0).await?;
        let goes_on = AssertUnwindSafe(goes_on(space, &gate, &leaving))
            .catch_unwind()
            .await;
        scaled(space, 2).await?;
        match goes_on {
            Ok(result) => result?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        // The Service has its addresses a moment after its pods are ready.
        let agent = object("Agent", "again", json!({"instructions": "x"})).to_string();
        let deadline = tokio::time::Instant::now() + SOON;
        while let Err(error) = apply::dry_run(client, &space.name, &agent).await {
            ensure!(tokio::time::Instant::now() < deadline, "{error:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    })
    .await
}

async fn goes_on(space: &Space, gate: &Gate, leaving: &str) -> Result<()> {
    let client = &space.cluster.client;
    let begun = tokio::time::Instant::now();
    refused(space).await?;

    // What runs ends, and who wants it ended is heard.
    gate.open();
    let stop = Patch::Merge(json!({"spec": {"state": "Cancelled"}}));
    let params = PatchParams::default();
    let tasks: Api<Task> = space.api();
    tasks.patch("endless", &params, &stop).await?;
    space.complete("work").await?;
    let ended = space.finished("endless").await?;
    ensure!(is(Phase::Cancelled)(&ended), "{ended:#?}");

    // People decide, and the run makes its next Task.
    let waiting = tasks.get("ship-it").await?;
    let steps = waiting.status.and_then(|status| status.steps);
    let asked = steps.and_then(|mut steps| steps.active.pop());
    let asked = asked.context("no Approval")?.object;
    let approvals: Api<Approval> = space.api();
    let user = me(space).await?;
    let decision = json!({"decision": "Approve", "values": {"environment": "staging"}});
    let decided = Patch::Merge(json!({"spec": {"decisions": {&user: decision}}}));
    // It can be decided once its own controller has seen that it was asked for.
    wait::until(approvals.clone(), &asked, "its phase", SOON, |found| {
        let status = found.status.as_ref();
        status.is_some_and(|status| status.phase.is_some())
    })
    .await?;
    approvals.patch(&asked, &params, &decided).await?;
    let shipped = space.complete("ship-it").await?;
    let said = &output(&shipped)?["ship"]["stdoutTail"];
    ensure!(
        *said == format!("shipped to staging, approved by {user}\n").as_str(),
        "{said}"
    );

    // A label, the same spec again, a deletion, and a finalizer that is taken away.
    let agents: Api<Agent> = space.api();
    let label = Patch::Merge(json!({"metadata": {"labels": {"team": "red"}}}));
    agents.patch("kept", &params, &label).await?;
    let same = Patch::Merge(json!({"spec": {"instructions": "x"}}));
    agents.patch("kept", &params, &same).await?;
    agents.delete("kept", &DeleteParams::default()).await?;
    let bare = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    agents.patch("kept", &params, &bare).await?;
    wait::until_gone(agents, "kept", SOON).await?;

    let namespaces: Api<Namespace> = Api::all(client.clone());
    let params = DeleteParams::default();
    namespaces.delete(leaving, &params).await?;
    wait::until_gone(namespaces, leaving, Duration::from_secs(60)).await?;
    oarmaster_e2e::space::say("all of it without the webhook", begun.into_std());
    // It was away for all of it.
    refused(space).await
}

/// What is new is refused, and the refusal names the webhook.
async fn refused(space: &Space) -> Result<()> {
    let client = &space.cluster.client;
    for (object, webhook) in [
        (
            run("new", json!({"command": ["true"]}), &json!({})),
            "requester.oarmaster.dev",
        ),
        (agent(&["Shell"]), "objects.oarmaster.dev"),
    ] {
        let mut object = object;
        object["metadata"]["name"] = json!("new");
        let done = apply::dry_run(client, &space.name, &object.to_string()).await;
        let error = done.err().context("was taken without the webhook")?;
        let told = format!("{error:#}");
        let named = format!("failed calling webhook \"{webhook}\"");
        ensure!(told.contains(&named), "{told}");
    }
    Ok(())
}
