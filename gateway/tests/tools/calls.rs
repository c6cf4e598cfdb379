//! Who may call what, and how often a call is made.

use super::{post, with_tools};
use crate::common::{PILOT, World};
use oarmaster_protocol::admin::TaskBudget;
use oarmaster_protocol::tool::{MAX_TOOL_ARGUMENTS, OUTCOME_UNKNOWN, ToolAnswer};
use serde_json::json;

#[tokio::test]
async fn only_the_pilot_of_the_attempt_calls_and_only_tools_of_its_agent() {
    let world = World::start().await;
    let claim = world
        .task_with(TaskBudget::default(), with_tools(&["Recall", "Shell"]))
        .await;
    let call = json!({"number": 1, "arguments": {}});
    let own = (PILOT, claim.session.as_str());
    assert_eq!(post(&world, own, "Recall", &call).await.0, 200);
    for name in ["Remember", "Shell", "hub__open", "x"] {
        let (status, body) = post(&world, own, name, &call).await;
        assert_eq!((status, &body["error"]["code"]), (403, &json!("forbidden")));
    }
    let user = world.user();
    for (caller, status) in [
        ((PILOT, "other"), 409),
        ((user, own.1), 403),
        (("x", own.1), 401),
    ] {
        assert_eq!(post(&world, caller, "Recall", &call).await.0, status);
    }
    let long = "x".repeat(MAX_TOOL_ARGUMENTS);
    let long = json!({"number": 1, "arguments": {"query": long}});
    assert_eq!(post(&world, own, "Recall", &long).await.0, 413);
    let broken = json!({"arguments": {}});
    assert_eq!(post(&world, own, "Recall", &broken).await.0, 400);
}

#[tokio::test]
async fn a_call_that_must_not_be_made_twice_is_answered_or_unknown() {
    let world = World::start().await;
    let claim = world
        .task_with(TaskBudget::default(), with_tools(&["Recall"]))
        .await;
    let own = (PILOT, claim.session.as_str());
    let call =
        |number: u32, again: bool| json!({"number": number, "arguments": {}, "again": again});
    let unknown = serde_json::to_value(ToolAnswer::failed(OUTCOME_UNKNOWN)).unwrap();
    assert_eq!(
        post(&world, own, "Recall", &call(1, true)).await,
        (200, unknown)
    );
    let (_, first) = post(&world, own, "Recall", &call(1, false)).await;
    assert_eq!(
        post(&world, own, "Recall", &call(1, true)).await,
        (200, first)
    );
}
