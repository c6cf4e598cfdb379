//! A follow-up turn: another Task goes on from the conversation and the workspace of one that has ended.

use crate::support::{agent, beside_others, create, key, mocked, pool, task};
use anyhow::{Context as _, Result};
use oarmaster_e2e::mock::{Mock, Reply};
use oarmaster_protocol::journal::Body;
use serde_json::json;

#[tokio::test]
async fn a_follow_up_knows_what_was_said_and_has_the_files() -> Result<()> {
    beside_others("follow-up", async |space| {
        let mock = Mock::start(&space.cluster, |call| match (call.turn, call.prompt()) {
            (0, _) => Reply::tool("Shell", &json!({"command": "echo first > notes"})),
            (1, _) => Reply::text("written"),
            // The turns of the first Task stand in its conversation.
            (2, _) => Reply::tool("Shell", &json!({"command": "cat notes more"})),
            _ => Reply::text("read"),
        })
        .await?;
        let mut follow = task(&json!({
            "continueFrom": {"name": "work"}, "params": {"prompt": "and now?"},
            "files": [{"path": "more", "content": "second"}],
        }));
        follow["metadata"]["name"] = json!("follow");
        // Created at once: it waits for the other to end.
        create(
            space,
            &[
                key("one"),
                mocked(&mock),
                pool(),
                agent(&["Shell"]),
                task(&json!({})),
                follow,
            ],
        )
        .await?;
        space.complete("work").await?;
        let status = space.complete("follow").await?.status;
        let output = status.and_then(|status| status.output);
        assert_eq!(output.context("no output")?["text"], "read");
        let journal = space.journal("follow").await?;
        let shown = journal.count(|body| {
            matches!(body, Body::ToolResult { ok: true, text, .. } if text.contains("first\nsecond"))
        });
        assert_eq!(shown, 1, "{journal:#?}");
        Ok(())
    })
    .await
}

/// A recorded replay asks nobody and has no sandbox; one that goes on asks for what is left, in the workspace as it was.
#[tokio::test]
async fn a_replay_asks_for_what_is_not_recorded() -> Result<()> {
    beside_others("replay", async |space| {
        let mock = Mock::start(&space.cluster, |call| match call.turn {
            0 => Reply::tool("Shell", &json!({"command": "echo first > notes"})),
            1 => Reply::tool("Shell", &json!({"command": "cat notes"})),
            _ => Reply::text("read"),
        })
        .await?;
        let replay = |name: &str, mode: serde_json::Value, prompt: &str| {
            let mut task = task(&json!({"params": {"prompt": prompt}}));
            task["metadata"]["name"] = json!(name);
            task["spec"]["replay"] = mode;
            task
        };
        let prompt = "do it";
        let of = json!({"task": {"name": "work"}});
        let part = json!({"task": {"name": "work"}, "mode": "RecordedThenLive", "until": 1});
        create(
            space,
            &[
                key("one"),
                mocked(&mock),
                pool(),
                agent(&["Shell"]),
                task(&json!({"params": {"prompt": prompt}})),
            ],
        )
        .await?;
        space.complete("work").await?;
        let asked = mock.bill().len();
        create(space, &[replay("same", of.clone(), prompt), replay("other", of, "do that")]).await?;
        let status = space.complete("same").await?.status.context("no status")?;
        assert_eq!(status.output.context("no output")?["text"], "read");
        let failed = space.failed("other", "NotAccepted").await?.status.context("no status")?;
        let failure = failed.failure.context("no failure")?;
        assert_eq!(
            failure.message,
            "the replay differs from Task work at model call 1: another prompt"
        );
        assert_eq!(mock.bill().len(), asked);
        create(space, &[replay("part", part, prompt)]).await?;
        space.complete("part").await?;
        assert_eq!(mock.bill().len(), asked + 2);
        let journal = space.journal("part").await?;
        let shown = journal.count(
            |body| matches!(body, Body::ToolResult { ok: true, text, .. } if text.contains("first")),
        );
        assert_eq!(shown, 1, "{journal:#?}");
        Ok(())
    })
    .await
}
