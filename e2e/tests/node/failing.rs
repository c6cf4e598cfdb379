//! Agents that do not succeed: each ends with the class that says why, or goes on where the model can mend it.

use crate::support::{agent, beside_others, calls, create, pool, python, says, scripted, task};
use anyhow::{Context as _, Result};
use oarmaster_crds::conditions;
use oarmaster_e2e::Space;
use oarmaster_e2e::task::{failure, holds};
use oarmaster_protocol::journal::Body;
use serde_json::{Value, json};

/// Starts a Task with these replies in a world of its own.
async fn start(space: &Space, replies: &[Value], tools: &[&str], more: Value) -> Result<()> {
    let mut worker = agent(tools);
    worker["spec"]["limits"] = json!({"turns": 5, "toolCalls": 6});
    create(space, &[scripted(replies), pool(), worker, task(&more)]).await
}

/// One test per class: the Task fails with it, says so in every condition, and the transcript ends with it.
async fn fails(name: &str, class: &str, replies: &[Value], more: Value) -> Result<()> {
    beside_others(name, async |space| {
        start(space, replies, &["RunCode"], more).await?;
        let task = space.failed("work", class).await?;
        assert!(
            !failure(&task).1.is_empty(),
            "a message for a person: {task:#?}"
        );
        assert!(!holds(&task, conditions::READY), "{task:#?}");
        let described = space.kubectl(&["describe", "otask", "work"]).await?;
        assert!(described.contains(class), "{described}");
        let journal = space.journal("work").await?;
        let told = journal
            .0
            .iter()
            .rev()
            .find_map(|record| match &record.body {
                Body::Result { outcome } => outcome.failure.clone(),
                _ => None,
            });
        let told = told.with_context(|| format!("the transcript does not say it: {journal:#?}"))?;
        assert_eq!(told.class.as_str(), class, "{journal:#?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_model_that_refuses() -> Result<()> {
    let refuses = json!({"text": "", "finishReason": "content_filter"});
    fails("refusal", "ModelRefusal", &[refuses], json!({})).await
}

#[tokio::test]
async fn a_model_that_answers_nothing() -> Result<()> {
    fails("nothing", "ModelOutputInvalid", &[says("")], json!({})).await
}

#[tokio::test]
async fn a_model_that_never_stops() -> Result<()> {
    fails(
        "never-stops",
        "LimitReached",
        // Something new each time: the same result again and again ends a Task before its limits do.
        &[python("import time\nprint(time.time_ns())")],
        json!({}),
    )
    .await
}

#[tokio::test]
async fn a_budget_that_does_not_cover_the_first_call() -> Result<()> {
    let budget = json!({"budget": {"usd": "0.000001"}});
    fails("budget", "BudgetExceeded", &[says("too dear")], budget).await
}

#[tokio::test]
async fn an_upstream_that_is_down() -> Result<()> {
    let down = json!({"fault": {"status": 500, "message": "down"}});
    fails("down", "ModelUnavailable", &[down], json!({})).await
}

#[tokio::test]
async fn a_check_that_stays_red() -> Result<()> {
    let accept = json!({"accept": {"check": {"command": ["/bin/sh", "-c", "echo red; exit 4"]}, "rounds": 2}});
    beside_others("red", async |space| {
        start(space, &[says("I think it is done")], &["RunCode"], accept).await?;
        space.failed("work", "NotAccepted").await?;
        let journal = space.journal("work").await?;
        let checks = journal.checks();
        assert_eq!(checks.len(), 2, "{journal:#?}");
        for (accepted, code, text) in checks {
            assert!(
                !accepted && code == Some(4) && text.contains("red"),
                "{journal:#?}"
            );
        }
        let shown = journal
            .count(|body| matches!(body, Body::Observation { text, .. } if text.contains("red")));
        assert_eq!(shown, 1, "the agent saw the red check once: {journal:#?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn mistakes_of_the_model_are_told_to_it() -> Result<()> {
    beside_others("mistakes", async |space| {
        let broken = json!({"toolCalls": [{"name": "RunCode", "rawArguments": "{\"language\": \"python\", \"code\": "}]});
        let replies = [
            calls("LaunchRocket", json!({})),
            broken,
            python("print('well done')"),
            calls("RunCode", json!({"language": "python"})),
            says("I give up"),
        ];
        start(space, &replies, &["RunCode"], json!({})).await?;
        space.complete("work").await?;
        let journal = space.journal("work").await?;
        let results = journal.results();
        assert_eq!(results.len(), 4, "{journal:#?}");
        let good: Vec<bool> = results.iter().map(|held| held.1).collect();
        assert_eq!(good, [false, false, true, false], "{journal:#?}");
        assert!(journal.result(0)?.2.contains("LaunchRocket"), "names the tool: {journal:#?}");
        assert!(journal.result(0)?.2.contains("RunCode"), "names what there is: {journal:#?}");
        assert!(journal.result(1)?.2.contains("JSON"), "{journal:#?}");
        assert!(journal.result(3)?.2.contains("code"), "names the argument: {journal:#?}");
        Ok(())
    })
    .await
}
