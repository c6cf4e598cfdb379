//! Failures that may pass are tried again, after a back-off.

use crate::support::{agent, beside_others, create, key, mocked, pool, task};
use anyhow::{Context as _, Result};
use oarmaster_crds::kinds::task::Phase;
use oarmaster_e2e::mock::{Mock, Reply};
use oarmaster_e2e::task::failure;
use oarmaster_protocol::journal::Body;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[tokio::test]
async fn an_upstream_that_recovers() -> Result<()> {
    beside_others("retry", async |space| {
        let broken = Arc::new(AtomicBool::new(true));
        let seen = Arc::clone(&broken);
        let mock = Mock::start(&space.cluster, move |_| {
            if seen.load(Ordering::SeqCst) {
                Reply::fault(503)
            } else {
                Reply::text("done").usage(70, 7)
            }
        })
        .await?;
        let retry = json!({"retry": {"limit": 2, "backoff": {"base": "3s"}}});
        create(
            space,
            &[
                key("one"),
                mocked(&mock),
                pool(),
                agent(&["RunCode"]),
                task(&retry),
            ],
        )
        .await?;

        let waiting = space
            .task_until("work", "its back-off", |task| {
                task.status.as_ref().and_then(|status| status.phase) == Some(Phase::Waiting)
            })
            .await?;
        assert_eq!(failure(&waiting).0, "ModelUnavailable", "{waiting:#?}");
        broken.store(false, Ordering::SeqCst);

        let status = space.complete("work").await?.status.context("no status")?;
        assert_eq!(
            (status.attempt, status.retries),
            (Some(2), Some(1)),
            "{status:#?}"
        );
        assert_eq!(
            status.usage.map(|usage| usage.total_tokens),
            Some(77),
            "a refused call costs nothing"
        );
        assert_eq!(mock.billed(), (70, 7));
        let journal = space.journal("work").await?;
        let opened: Vec<i64> = journal
            .0
            .iter()
            .filter(|record| matches!(record.body, Body::Opened { .. }))
            .map(|record| record.at_ms)
            .collect();
        assert_eq!(opened.len(), 2, "{journal:#?}");
        let ended = journal
            .0
            .iter()
            .find(|record| matches!(record.body, Body::Result { .. }))
            .context("no result")?
            .at_ms;
        assert!(
            opened.last().is_some_and(|second| second - ended >= 3000),
            "the back-off was kept: {journal:#?}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_upstream_that_does_not_recover() -> Result<()> {
    beside_others("retry-ends", async |space| {
        let mock = Mock::start(&space.cluster, |_| Reply::fault(503)).await?;
        let retry = json!({"retry": {"limit": 1, "backoff": {"base": "1s"}}});
        create(
            space,
            &[key("one"), mocked(&mock), pool(), agent(&[]), task(&retry)],
        )
        .await?;

        let task = space.failed("work", "ModelUnavailable").await?;
        let status = task.status.context("no status")?;
        assert_eq!(
            (status.attempt, status.retries),
            (Some(2), Some(1)),
            "{status:#?}"
        );
        let journal = space.journal("work").await?;
        assert!(
            journal.count(|body| matches!(body, Body::CallFailed { .. })) >= 2,
            "{journal:#?}"
        );
        assert_eq!(
            status.usage.unwrap_or_default().total_tokens,
            0,
            "a 503 is known to be unbilled"
        );
        let started = mock.bill().len();
        assert!((2..=20).contains(&started), "bounded: {started} calls");
        tokio::time::timeout(
            Duration::from_secs(5),
            mock.until("another call", Duration::from_secs(3), |bill| {
                bill.len() > started
            }),
        )
        .await?
        .map_or(Ok(()), |()| {
            anyhow::bail!("the upstream is called after the Task's end")
        })
    })
    .await
}
