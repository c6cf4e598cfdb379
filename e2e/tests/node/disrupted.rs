//! A pod is evicted: that is no failure of the Task.

use crate::support::{agent, beside_others, create, key, mocked, pool, task};
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{EvictParams, ListParams};
use oarmaster_e2e::mock::{Gate, Mock, Reply};
use oarmaster_e2e::task::SOON;
use oarmaster_protocol::journal::Body;
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

        let status = space.complete("work").await?.status.context("no status")?;
        gate.open();
        assert_eq!(status.attempt, Some(2), "{status:#?}");
        assert_eq!(status.disruptions, Some(1), "{status:#?}");
        assert_eq!(status.retries.unwrap_or(0), 0, "{status:#?}");
        let journal = space.journal("work").await?;
        assert_eq!(
            journal.count(|body| matches!(body, Body::Fenced { .. })),
            1,
            "the first attempt is fenced: {journal:#?}"
        );
        assert_eq!(mock.bill().len(), 2);
        Ok(())
    })
    .await
}
