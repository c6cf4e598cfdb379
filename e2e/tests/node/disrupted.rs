//! A pod is evicted: that is no failure of the Task.

use crate::support::{agent, beside_others, create, key, mocked, pool, task};
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{EvictParams, ListParams};
use oarmaster_crds::kinds::task::Phase;
use oarmaster_e2e::mock::{Gate, Mock, Reply};
use oarmaster_e2e::task::SOON;
use oarmaster_protocol::journal::{About, Body};
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test]
async fn an_evicted_pod_is_replaced_without_counting_as_retry() -> Result<()> {
    beside_others("disrupted", async |space| {
        let gate = Gate::default();
        let (held, asked) = (gate.clone(), AtomicBool::new(false));
        let mock = Mock::start(&space.cluster, move |_| {
            let reply = Reply::text("done");
            if asked.swap(true, Ordering::SeqCst) {
                reply
            } else {
                reply.after(&held)
            }
        })
        .await?;
        // `retry.limit` is 0: a disruption must not need it.
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
        let pods = space.api::<Pod>();
        let pod = pods
            .list(&ListParams::default())
            .await?
            .items
            .pop()
            .context("no pod")?;
        pods.evict(&pod.name_any(), &EvictParams::default()).await?;

        // The call runs on, and the next attempt waits for its answer.
        space
            .task_until("work", "the next attempt", |task| {
                let status = task.status.as_ref();
                status.is_some_and(|status| {
                    status.attempt == Some(2) && status.phase == Some(Phase::Running)
                })
            })
            .await?;
        gate.open();
        let status = space.complete("work").await?.status.context("no status")?;
        assert_eq!(status.attempt, Some(2), "{status:#?}");
        assert_eq!(status.disruptions, Some(1), "{status:#?}");
        assert_eq!(status.retries.unwrap_or(0), 0, "{status:#?}");
        let journal = space.journal("work").await?;
        assert_eq!(
            journal.count(|body| matches!(body, Body::Fenced { .. })),
            1,
            "the first attempt is fenced: {journal:#?}"
        );
        assert_eq!(mock.bill().len(), 1, "no answer is paid for twice");
        Ok(())
    })
    .await
}

/// What was done stays done: the workspace is that of the last tool call, and the model knows what it was told.
#[tokio::test]
async fn an_evicted_agent_goes_on_where_it_was() -> Result<()> {
    beside_others("resumed", async |space| {
        let gate = Gate::default();
        let held = gate.clone();
        let mock = Mock::start(&space.cluster, move |call| match call.turn {
            0 => Reply::tool(
                "Shell",
                &json!({"command": "echo first > notes; ln -s notes link; mkdir empty"}),
            ),
            1 => Reply::tool("Shell", &json!({"command": "echo second >> link"})).after(&held),
            2 => Reply::tool("Shell", &json!({"command": "test -d empty && cat notes"})),
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
                task(&json!({"artifacts": [{"name": "notes", "path": "notes"}]})),
            ],
        )
        .await?;
        mock.until("the second call", SOON, |bill| bill.len() == 2)
            .await?;
        let pods = space.api::<Pod>();
        let pod = pods.list(&ListParams::default()).await?.items.pop();
        let pod = pod.context("no pod")?;
        pods.evict(&pod.name_any(), &EvictParams::default()).await?;
        gate.open();

        let status = space.complete("work").await?.status.context("no status")?;
        assert_eq!(status.attempt, Some(2), "{status:#?}");
        assert_eq!(mock.bill().len(), 4, "no answer is paid for twice");
        let journal = space.journal("work").await?;
        let shown = journal.count(|body| {
            matches!(body, Body::ToolResult { ok: true, text, .. } if text.contains("first\nsecond"))
        });
        assert_eq!(shown, 1, "{journal:#?}");
        let told = journal.count(|body| {
            matches!(body, Body::Observation { about: About::Seam, text } if text.contains("new sandbox"))
        });
        assert_eq!(told, 1, "{journal:#?}");
        Ok(())
    })
    .await
}
