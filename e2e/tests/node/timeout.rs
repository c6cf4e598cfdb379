//! A Task's time is over.

use crate::support::{agent, beside_others, create, key, mocked, pool, run, task};
use anyhow::Result;
use k8s_openapi::api::batch::v1::Job;
use kube::api::ListParams;
use oarmaster_e2e::mock::{Gate, Mock, Reply};
use oarmaster_protocol::journal::Body;
use serde_json::json;

#[tokio::test]
async fn code_and_model_calls_are_ended() -> Result<()> {
    beside_others("timeout", async |space| {
        let gate = Gate::default();
        let held = gate.clone();
        let mock = Mock::start(&space.cluster, move |_| {
            Reply::text("too late").after(&held)
        })
        .await?;
        create(
            space,
            &[
                key("one"),
                mocked(&mock),
                pool(),
                agent(&["RunCode"]),
                task(&json!({"timeout": "15s"})),
                run(
                    "code",
                    json!({"command": ["sleep", "600"]}),
                    &json!({"timeout": "5s"}),
                ),
            ],
        )
        .await?;

        space.failed("code", "Timeout").await?;
        space.failed("work", "Timeout").await?;
        let journal = space.journal("work").await?;
        assert_eq!(
            journal.count(|body| matches!(body, Body::Fenced { .. })),
            1,
            "{journal:#?}"
        );
        assert_eq!(mock.bill().len(), 1, "a time-out is no reason to ask again");
        let jobs = space.api::<Job>().list(&ListParams::default()).await?;
        let live: Vec<_> = jobs
            .items
            .iter()
            .filter(|job| job.metadata.deletion_timestamp.is_none())
            .collect();
        assert!(live.is_empty(), "Jobs are left: {live:#?}");
        gate.open();
        Ok(())
    })
    .await
}
