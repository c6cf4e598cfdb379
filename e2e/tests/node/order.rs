//! Objects may be applied in any order: what is missing is waited for, and said.

use crate::support::{agent, beside_others, create, pool, says, scripted, task};
use anyhow::Result;
use oarmaster_crds::conditions::{self, find, reason};
use serde_json::json;

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
