//! A run of twenty steps with people, a loop and an undoing, while operator and gateway are killed for a minute.

use crate::operator_killed::kill_operators;
use crate::support::{agent, alone, create, key, mocked, pool};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use oarmaster_crds::kinds::approval::ApprovalPhase;
use oarmaster_crds::{Approval, Task};
use oarmaster_e2e::crash::scene::me;
use oarmaster_e2e::gateway::POD;
use oarmaster_e2e::installed::RELEASE;
use oarmaster_e2e::mock::{Mock, Reply};
use oarmaster_e2e::{Space, kill};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// For how long is killed.
const KILLING: Duration = Duration::from_secs(60);
/// Model calls of a run that nobody disturbs.
const CALLS: usize = 22;

fn step(name: &str, prompt: &str, after: &[&str]) -> Value {
    json!({"name": name, "agent": {"name": "worker"}, "params": {"prompt": prompt}, "after": after})
}

fn with(mut step: Value, more: Value) -> Value {
    if let (Value::Object(step), Value::Object(more)) = (&mut step, more) {
        step.extend(more);
    }
    step
}

fn ask(name: &str, user: &str, after: &[&str]) -> Value {
    json!({"name": name, "after": after, "approval": {"ask": "Go on?", "approvers": {"users": [user], "allowRequester": true}}})
}

fn undo(step: Value, what: &str) -> Value {
    let prompt = format!("undo {what} ${{self.output.text}}");
    with(
        step,
        json!({"undo": {"agent": {"name": "worker"}, "params": {"prompt": prompt}}}),
    )
}

fn twenty(user: &str) -> Value {
    json!({
        "onFailure": "Undo",
        "steps": [
            step("plan", "plan", &[]),
            ask("first", user, &["plan"]),
            step("a", "a ${steps.plan.output.text}", &["first"]),
            step("b", "b ${steps.a.output.text}", &[]),
            step("c", "c ${steps.b.output.text}", &[]),
            step("d", "d", &["first"]),
            step("e", "e", &["first"]),
            step("f", "f", &["first"]),
            step("join", "join ${steps.c.output.text}", &["d", "e", "f"]),
            {"name": "soak", "wait": {"for": "15s"}, "after": ["join"]},
            with(
                step("draft", "draft ${self.?output.?text.orValue('none')}", &["soak"]),
                json!({"repeat": {"until": "self.output.text == 'good'", "limit": 4}}),
            ),
            with(step("each", "each ${item}", &["soak"]), json!({"forEach": [1, 2, 3, 4], "parallel": 2})),
            ask("second", user, &["draft", "each"]),
            undo(step("one", "one", &["second"]), "one"),
            undo(step("two", "two", &["one"]), "two"),
            {"name": "rest", "wait": {"for": "10s"}, "after": ["two"]},
            step("p", "p", &["rest"]),
            step("q", "q", &["rest"]),
            step("r", "r", &["p", "q"]),
            // Fails, since it is no time.
            {"name": "bad", "wait": {"until": "when ${steps.r.output.text}"}},
        ],
        "finally": [step("report", "report ${run.phase}", &[])],
    })
}

/// Says yes to whatever is asked; who cannot be asked now is asked again.
async fn approve(space: &Space, user: &str) {
    let approvals: Api<Approval> = space.api();
    let Ok(found) = approvals.list(&ListParams::default()).await else {
        return;
    };
    for approval in found {
        let status = approval.status.as_ref().and_then(|status| status.phase);
        let open = status == Some(ApprovalPhase::Waiting) && approval.spec.decisions.is_empty();
        let name = approval.metadata.name.unwrap_or_default();
        let decision =
            Patch::Merge(json!({"spec": {"decisions": {user: {"decision": "Approve"}}}}));
        if open {
            let params = PatchParams::default();
            let _ = approvals.patch(&name, &params, &decision).await;
        }
    }
}

#[tokio::test]
async fn a_minute_of_kills_changes_nothing() -> Result<()> {
    alone("workflow-minute", async |space| {
        let mock = Mock::start(&space.cluster, |call| match call.prompt() {
            "draft none" => Reply::text("poor"),
            "draft poor" => Reply::text("good"),
            prompt => Reply::text(&format!("did {}", prompt.split(' ').next().unwrap_or_default())),
        })
        .await?;
        let user = me(space).await?;
        create(space, &[key("one"), mocked(&mock), pool(), agent(&[])]).await?;
        let object = |kind: &str, spec: Value| {
            json!({"apiVersion": "oarmaster.dev/v1alpha1", "kind": kind, "metadata": {"name": "twenty"}, "spec": spec})
        };
        space.create(&object("Workflow", twenty(&user)).to_string()).await?;
        space.create(&object("Task", json!({"workflow": {"name": "twenty"}})).to_string()).await?;

        let pods: Api<Pod> = Api::namespaced(space.cluster.client.clone(), RELEASE);
        let (begun, mut kills) = (Instant::now(), BTreeMap::new());
        // Not a time to wait for something: so far the kills are from each other, a little more each time.
        for nth in 0u64.. {
            if begun.elapsed() > KILLING {
                break;
            }
            approve(space, &user).await;
            let killed = match nth % 3 {
                0 => ("gateway", kill::container(&pods.get(POD).await?, "gateway").is_ok()),
                _ => ("operator", kill_operators(space).await.is_ok()),
            };
            if killed.1 {
                *kills.entry(killed.0).or_insert(0usize) += 1;
            }
            tokio::time::sleep(Duration::from_millis(2500 + 700 * (nth % 5))).await;
        }
        ensure!(kills.len() == 2, "{kills:?}");
        let deciding = async {
            loop {
                approve(space, &user).await;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        let task = tokio::select! {
            task = space.failed("twenty", "StepFailed") => task?,
            () = deciding => anyhow::bail!("nobody ends it"),
        };
        check(space, &task, &mock.bill().iter().map(|call| call.prompt().to_owned()).collect::<Vec<_>>(), kills["gateway"]).await
    })
    .await
}

async fn check(space: &Space, task: &Task, calls: &[String], gateway: usize) -> Result<()> {
    let steps = task.status.clone().and_then(|status| status.steps);
    let steps = steps.context("no steps")?;
    let undone = steps
        .ending
        .and_then(|ending| ending.undo)
        .context("nothing is undone")?;
    ensure!(
        undone.done == ["two", "one"] && undone.failed.is_none(),
        "{undone:?}"
    );
    ensure!(
        steps.succeeded.len() == 20,
        "19 steps and the report: {:?}",
        steps.succeeded
    );
    let failed: Vec<&str> = steps.failed.iter().map(|step| step.name.as_str()).collect();
    ensure!(failed == ["bad"], "{failed:?}");
    ensure!(
        steps
            .repeated
            .get("draft")
            .is_some_and(|turns| turns == "2"),
        "{:?}",
        steps.repeated
    );
    // Every call once, but for those that were open when a gateway died.
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for prompt in calls {
        *times.entry(prompt).or_default() += 1;
    }
    ensure!(times.len() == CALLS, "{} prompts: {times:#?}", times.len());
    let again = calls.len() - CALLS;
    let open = 4 * gateway;
    ensure!(
        again <= open,
        "{again} calls were made again in {gateway} kills of the gateway: {times:#?}"
    );
    // Each Task was made once.
    let all = crate::workflow::steps(space, task).await?;
    ensure!(all.len() == CALLS, "{} Tasks", all.len());
    Ok(())
}
