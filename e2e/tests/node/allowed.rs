//! A pool of another namespace: named while its owner allows it, by the labels that the namespace has.

use crate::support::{agent, beside_others, create, pool, says, scripted, task};
use anyhow::Result;
use oarmaster_crds::Agent;
use oarmaster_crds::conditions::{self, find};
use oarmaster_e2e::task::SOON;
use oarmaster_e2e::{Space, wait};
use serde_json::json;

/// Waits until the Agent's references are resolved, or are not since they are not allowed.
async fn resolved(space: &Space, wanted: bool) -> Result<()> {
    let (status, text) = if wanted {
        ("True", "")
    } else {
        ("False", "does not allow namespace")
    };
    let what = format!("ResolvedRefs={status}");
    wait::until(
        space.api::<Agent>(),
        "worker",
        &what,
        SOON,
        move |agent: &Agent| {
            let held = agent.status.clone().unwrap_or_default().conditions;
            find(&held, conditions::RESOLVED_REFS)
                .is_some_and(|held| held.status == status && held.message.contains(text))
        },
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_pool_of_another_namespace_serves_while_it_is_allowed() -> Result<()> {
    beside_others("allowed", async |space| {
        Space::with(space.cluster.clone(), "models", async |owner| {
            create(owner, &[scripted(&[says("here")]), pool()]).await?;
            let mut worker = agent(&[]);
            worker["spec"]["model"]["pool"] = json!({"name": "default", "namespace": owner.name});
            create(space, &[worker, task(&json!({}))]).await?;
            resolved(space, false).await?;

            let selector =
                json!({"from": "Selector", "selector": {"matchLabels": {"models": "shared"}}});
            let patch = json!({"spec": {"allowedNamespaces": selector}}).to_string();
            owner
                .kubectl(&["patch", "opool", "default", "--type=merge", "-p", &patch])
                .await?;
            let label = async |label: &str| {
                let args = ["label", "namespace", &space.name, label];
                space.cluster.kubectl(&args).await?.success()
            };
            label("models=shared").await?;
            space.complete("work").await?;
            resolved(space, true).await?;

            label("models-").await?;
            resolved(space, false).await?;
            label("models=shared").await?;
            resolved(space, true).await
        })
        .await
    })
    .await
}
