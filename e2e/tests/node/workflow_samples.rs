//! The samples of workflows, on the node, as their files say.

use crate::support::beside_others;
use crate::workflow::{output, sample, steps};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use oarmaster_crds::kinds::steps::StepsStatus;
use oarmaster_crds::kinds::task::Phase;
use oarmaster_crds::{Task, conditions, names};
use oarmaster_e2e::Space;
use serde_json::{Value, json};

fn of(task: &Task) -> Result<StepsStatus> {
    let status = task.status.clone().unwrap_or_default();
    status.steps.map(|steps| *steps).context("no steps")
}

fn has_finished(task: &Task) -> bool {
    let status = task.status.as_ref();
    status.is_some_and(|status| conditions::is_true(&status.conditions, conditions::FINISHED))
}

async fn patch(space: &Space, name: &str, spec: Value) -> Result<()> {
    let patch = Patch::Merge(json!({ "spec": spec }));
    space
        .api::<Task>()
        .patch(name, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

/// How often the Task of each step was made: also of each item.
async fn made(space: &Space, run: &Task, step: &str) -> Result<usize> {
    let all = steps(space, run).await?;
    Ok(all.iter().filter(|(name, _)| name == step).count())
}

#[tokio::test]
async fn a_step_for_each_item_and_one_that_joins_them() -> Result<()> {
    beside_others("workflow-fan-out", async |space| {
        sample(space, "fan-out.yaml").await?;
        let task = space.complete("handbook").await?;
        let text = &output(&task)?["handbook"];
        let expected = "Sails take the wind. Oars push the water. Anchors hold the ground.\nIndex: sail oar anchor\n";
        ensure!(*text == expected, "{text}");
        let fans = of(&task)?.fans;
        ensure!(fans.len() == 1 && fans[0].items == 3, "{fans:?}");
        ensure!(made(space, &task, "chapter").await? == 3);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_draft_is_written_again_until_it_is_good_enough() -> Result<()> {
    beside_others("workflow-judge-loop", async |space| {
        sample(space, "judge-loop.yaml").await?;
        let task = space.complete("why-ships-float").await?;
        let said = output(&task)?;
        let text = said["text"].as_str().unwrap_or_default();
        ensure!(text.contains("because") && said["score"] == 9, "{said}");
        let repeated = of(&task)?.repeated;
        ensure!(
            repeated.get("draft").is_some_and(|turns| turns == "2"),
            "{repeated:?}"
        );
        // What the runs below it have spent is in its sum.
        let usage = task
            .status
            .and_then(|status| status.usage)
            .context("no usage")?;
        ensure!(usage.calls == 0 || usage.calls == 4, "{usage:?}");
        ensure!(usage.usd != "0", "{usage:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_workflow_is_a_step_of_another_one_for_each_item() -> Result<()> {
    beside_others("workflow-sub", async |space| {
        sample(space, "sub-workflow.yaml").await?;
        let task = space.complete("release-all").await?;
        let said = output(&task)?;
        ensure!(said["built"] == json!(["api.tar\n", "web.tar\n"]), "{said}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_was_done_is_undone_where_a_run_fails_or_somebody_asks_for_it() -> Result<()> {
    beside_others("workflow-rollback", async |space| {
        sample(space, "rollback.yaml").await?;
        let task = space.failed("deploy-1", "StepFailed").await?;
        let undo = of(&task)?.ending.and_then(|ending| ending.undo);
        let done = undo.context("nothing is undone")?.done;
        ensure!(done == ["deploy", "migrate"], "{done:?}");
        let task = space.complete("deploy-2").await?;
        ensure!(made(space, &task, "migrate").await? == 1);
        patch(space, "deploy-2", json!({"state": "RolledBack"})).await?;
        let back = |task: &Task| {
            let phase = task.status.as_ref().and_then(|status| status.phase);
            phase == Some(Phase::RolledBack) && has_finished(task)
        };
        let task = space.task_until("deploy-2", "is rolled back", back).await?;
        let undo = of(&task)?.ending.and_then(|ending| ending.undo);
        let done = undo.context("nothing is undone")?.done;
        ensure!(done == ["deploy", "migrate"], "{done:?}");
        ensure!(made(space, &task, "migrate").await? == 2);
        ensure!(
            made(space, &task, "report").await? == 1,
            "finally ran again"
        );
        let mut said: Vec<String> = Vec::new();
        for (step, task) in steps(space, &task).await? {
            if step == "migrate" {
                said.push(output(&task)?["stdoutTail"].to_string());
            }
        }
        ensure!(
            said.iter().any(|said| said.contains("away with schema-7")),
            "{said:?}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_failed_is_run_anew_in_the_same_task() -> Result<()> {
    beside_others("workflow-rerun", async |space| {
        sample(space, "rerun.yaml").await?;
        let task = space.failed("import", "StepFailed").await?;
        let failure = task.status.clone().and_then(|status| status.failure);
        let failure = failure.context("no failure")?;
        ensure!(failure.message.contains("items failed"), "{failure:?}");
        let settings = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "import-settings"}, "data": {"source": "ok"}});
        space.kubectl(&["patch", "configmap", "import-settings", "-p", &json!({"data": settings["data"]}).to_string()]).await?;
        patch(space, "import", json!({"rerun": {"count": 1}})).await?;
        // It has ended before: the end of its second attempt is meant.
        let again = |task: &Task| {
            let attempt = task.status.as_ref().and_then(|status| status.attempt);
            attempt == Some(2) && has_finished(task)
        };
        let task = space.task_until("import", "ends again", again).await?;
        let said = output(&task)?;
        ensure!(
            said["loaded"] == json!(["people loaded\n", "ships loaded\n", "ports loaded\n"]),
            "{said}"
        );
        ensure!(made(space, &task, "prepare").await? == 1, "what has succeeded ran again");
        let status = task.status.clone().unwrap_or_default();
        ensure!(status.attempt == Some(2) && status.failure.is_none(), "{status:?}");
        ensure!(of(&task)?.reruns == 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn files_go_from_step_to_step() -> Result<()> {
    beside_others("workflow-files", async |space| {
        sample(space, "files.yaml").await?;
        let task = space.complete("edited").await?;
        let said = output(&task)?;
        ensure!(said["tested"] == "tested\n", "{said}");
        let seen = said["seen"].as_str().unwrap_or_default();
        ensure!(seen.starts_with("made by write\n"), "{said}");
        ensure!(
            seen.contains("src") || seen.contains("numbers2.py"),
            "{said}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn agents_beside_each_other_talk() -> Result<()> {
    beside_others("workflow-signals", async |space| {
        sample(space, "signals.yaml").await?;
        let task = space.complete("talked").await?;
        let said = output(&task)?;
        let text = said["text"].as_str().unwrap_or_default();
        ensure!(text.contains("because"), "{said}");
        ensure!(said["verdict"] == "The draft lacked the reason.", "{said}");
        let heard = said["heard"].as_str().unwrap_or_default();
        for part in [
            r#""from":"writer""#,
            r#""to":"all","topic":"done""#,
            r#""text":"The explanation is written.""#,
        ] {
            ensure!(heard.contains(part), "{heard}");
        }
        ensure!(!heard.contains("Is that enough"), "{heard}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn architect_coder_and_debugger_repair_a_program() -> Result<()> {
    beside_others("workflow-crew", async |space| {
        sample(space, "crew.yaml").await?;
        let task = space.complete("repair").await?;
        let said = output(&task)?;
        ensure!(
            said["said"] == "minutes() counts the minutes now.",
            "{said}"
        );
        let done = of(&task)?;
        ensure!(done.succeeded == ["plan", "code", "debug"], "{done:?}");
        let failed: Vec<&str> = done.failed.iter().map(|step| step.name.as_str()).collect();
        ensure!(failed == ["test"], "{done:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn runs_of_a_key_go_on_one_after_the_other() -> Result<()> {
    beside_others("workflow-one-at-a-time", async |space| {
        sample(space, "one-at-a-time.yaml").await?;
        let mut times = Vec::new();
        for name in ["publish-1", "publish-2", "publish-3"] {
            let status = space.complete(name).await?.status.unwrap_or_default();
            let start = status.started_at.context("it has not begun")?;
            times.push((start.0, status.finished_at.context("it has not ended")?.0));
            let slot = status
                .steps
                .and_then(|steps| steps.slot)
                .context("no place")?;
            ensure!(slot.key == "prod" && slot.lease.is_none(), "{slot:?}");
        }
        times.sort_unstable();
        // Times are in whole seconds.
        let apart = times.windows(2).all(|pair| pair[0].1 <= pair[1].0);
        ensure!(apart, "two at a time: {times:?}");
        let leases: Api<Lease> = Api::namespaced(space.cluster.client.clone(), &space.name);
        let left = leases.list(&ListParams::default()).await?.items;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_was_done_already_is_not_done_again() -> Result<()> {
    beside_others("workflow-memo", async |space| {
        sample(space, "memo.yaml").await?;
        let mut said = Vec::new();
        let mut did = 0;
        for name in ["tests-1", "tests-2"] {
            let task = space.complete(name).await?;
            said.push(output(&task)?.clone());
            let test = steps(space, &task).await?.into_iter();
            for (_, step) in test.filter(|(name, _)| name == "test") {
                let status = step.status.unwrap_or_default();
                let memo = status.memo.context("no memo")?;
                did += usize::from(memo.from.is_none());
                ensure!(status.attempt.is_some() == memo.from.is_none(), "{memo:?}");
            }
        }
        ensure!(said[0] == said[1] && did == 1, "{said:?}, done {did} times");
        // Whoever begins with what it kept has it, whoever kept it.
        ensure!(
            said[0]["report"]
                .as_str()
                .is_some_and(|text| text.contains("v1 ")),
            "{said:?}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_goal_is_planned_and_planned_anew_where_its_tests_fail() -> Result<()> {
    beside_others("workflow-goal", async |space| {
        sample(space, "goal.yaml").await?;
        let task = space.complete("hours").await?;
        let said = output(&task)?;
        ensure!(
            *said == json!({"said": "minutes() counts the minutes now.", "exit": 0}),
            "{said}"
        );
        let status = task.status.clone().unwrap_or_default();
        let plan = status.plan.clone().context("no plan")?;
        ensure!((plan.number, plan.plans.len()) == (2, 2), "{plan:?}");
        ensure!(plan.plans[1].kept == ["code"], "{plan:?}");
        let failed = plan.plans[0].failed.clone().unwrap_or_default();
        ensure!(failed.starts_with("StepFailed"), "{failed}");
        ensure!(plan.estimate.is_some(), "{plan:?}");
        // What was done before is done once; each plan is kept, and each was asked for once.
        ensure!(made(space, &task, "code").await? == 1);
        ensure!(made(space, &task, "test").await? == 2);
        let plans = space.api::<ControllerRevision>();
        for held in &plan.plans {
            let kept = plans.get(&held.name).await?;
            ensure!(kept.revision == held.number, "{:?}", kept.metadata);
        }
        let planners = ListParams::default().labels(names::PLAN_LABEL);
        let planners = space.api::<Task>().list(&planners).await?;
        ensure!(planners.items.len() == 2, "{:?}", planners.items.len());
        // The planner's calls are in the sum.
        let usage = status.usage.context("no usage")?;
        ensure!(usage.usd != "0" && usage.calls >= 2, "{usage:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_graph_that_a_step_made_runs_and_is_mended_where_it_names_what_it_may_not() -> Result<()>
{
    beside_others("workflow-planned", async |space| {
        sample(space, "planned.yaml").await?;
        let task = space.complete("poem").await?;
        let said = output(&task)?;
        ensure!(said["poem"] == "Waves: They come and go.", "{said}");
        let done = of(&task)?;
        ensure!(done.succeeded == ["plan", "mended", "rewrite"], "{done:?}");
        let failed = done.failed.first().context("nothing failed")?;
        ensure!(failed.class == "ModelOutputInvalid", "{failed:?}");
        ensure!(
            failed.message.contains("name one of poem-writer"),
            "{failed:?}"
        );
        // Nothing of the first graph was made.
        ensure!(made(space, &task, "write").await? == 0);
        Ok(())
    })
    .await
}
