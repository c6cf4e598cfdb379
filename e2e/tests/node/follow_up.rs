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
