//! Objects may be applied in any order: what is missing is waited for, and said.

use crate::support::{agent, beside_others, create, pool, says, scripted, task};
use anyhow::{Context as _, Result, ensure};
use oarmaster_crds::conditions::{self, find, reason};
use oarmaster_e2e::cluster::checkout;
use oarmaster_e2e::installed::image;
use oarmaster_e2e::space::say;
use oarmaster_e2e::{Space, apply};
use serde_json::json;
use std::time::Instant;

/// Samples that answer by script, which lie in one commit here; each has a Task.
const COMMIT: [&str; 5] = [
    "delegation/delegation.yaml",
    "judge/judge.yaml",
    "workflow/fan-out.yaml",
    "workflow/judge-loop.yaml",
    "workflow/sub-workflow.yaml",
];
/// So many orders of it are tried.
const ORDERS: u64 = 2;

#[tokio::test]
async fn agent_and_provider_may_come_after_the_task() -> Result<()> {
    beside_others("order", async |space| {
        let waits_for = async |what: &str| {
            space
                .task_until("work", &format!("waiting for {what}"), |task| {
                    let status = task.status.clone().unwrap_or_default();
                    find(&status.conditions, conditions::ACCEPTED).is_some_and(|held| {
                        held.status == "False"
                            && held.reason == reason::REFS_NOT_RESOLVED
                            && held.message.contains(what)
                    })
                })
                .await
        };
        create(space, &[task(&json!({}))]).await?;
        waits_for("worker").await?;
        let described = space.kubectl(&["describe", "otask", "work"]).await?;
        assert!(
            described.contains("RefsNotResolved") && described.contains("worker"),
            "{described}"
        );

        create(space, &[agent(&[])]).await?;
        waits_for("default").await?;
        create(space, &[pool(), scripted(&[says("here")])]).await?;
        let task = space.complete("work").await?;
        assert_eq!(
            task.status.and_then(|status| status.output),
            Some(json!({"text": "here"}))
        );
        Ok(())
    })
    .await
}

/// The seed is in the output; `OARMASTER_ORDER` repeats its orders.
#[tokio::test]
async fn a_commit_comes_to_the_same_in_whatever_order_it_is_applied() -> Result<()> {
    let seed = match std::env::var("OARMASTER_ORDER") {
        Ok(seed) => seed.parse().context("OARMASTER_ORDER is no number")?,
        Err(_) => fastrand::u64(..u64::MAX - ORDERS),
    };
    for seed in seed..seed + ORDERS {
        beside_others("any-order", async |space| {
            let begun = Instant::now();
            let done = converges(space, seed).await;
            say(&format!("OARMASTER_ORDER={seed}"), begun);
            done.with_context(|| format!("OARMASTER_ORDER={seed}"))
        })
        .await?;
    }
    Ok(())
}

async fn converges(space: &Space, seed: u64) -> Result<()> {
    let mut objects = Vec::new();
    for file in COMMIT {
        let path = checkout().join("config/samples").join(file);
        let yaml = std::fs::read_to_string(path).context(file)?;
        let yaml = yaml.replace("python:3.12-slim", &image("python"));
        objects.extend(apply::documents(&yaml)?);
    }
    fastrand::Rng::with_seed(seed).shuffle(&mut objects);
    let mut tasks = Vec::new();
    for object in &objects {
        let kind = object.types.as_ref().map(|types| types.kind.as_str());
        if kind == Some("Task") {
            tasks.extend(object.metadata.name.clone());
        }
        space.create(&serde_json::to_string(object)?).await?;
    }
    ensure!(tasks.len() == COMMIT.len(), "{tasks:?}");
    for task in &tasks {
        space.complete(task).await?;
    }
    // What is not a Task can be used by then.
    let wait = [
        "wait",
        "oagent,opool,oprov,owf",
        "--all",
        "--for=condition=Ready",
        "--timeout=10s",
    ];
    space.kubectl(&wait).await?;
    Ok(())
}
