//! Tasks with a workflow, on the node: the samples, an operator that is killed between steps, and a Workflow that changes meanwhile.

use crate::support::{alone, beside_others};
use anyhow::{Context as _, Result, ensure};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use oarmaster_crds::kinds::task::Phase;
use oarmaster_crds::{Approval, Task, Workflow, names};
use oarmaster_e2e::Space;
use oarmaster_e2e::cluster::checkout;
use oarmaster_e2e::crash::scene::me;
use oarmaster_e2e::installed::image;
use oarmaster_e2e::task::{SOON, failure};
use serde_json::{Value, json};

/// Applies a sample, with an image that is there, and ourselves for whoever decides.
pub async fn sample(space: &Space, file: &str) -> Result<()> {
    let path = checkout().join("config/samples/workflow").join(file);
    let yaml = std::fs::read_to_string(path)?;
    let yaml = yaml.replace("python:3.12-slim", &image("python"));
    let yaml = yaml.replace("kubernetes-admin", &me(space).await?);
    space.create(&yaml).await?;
    Ok(())
}

pub fn output(task: &Task) -> Result<&Value> {
    let status = task.status.as_ref();
    status
        .and_then(|status| status.output.as_ref())
        .context("no output")
}

/// The Tasks of the steps of a run, by step.
pub async fn steps(space: &Space, run: &Task) -> Result<Vec<(String, Task)>> {
    let uid = run.metadata.uid.as_deref().unwrap_or_default();
    let of = ListParams::default().labels(&format!("{}={uid}", names::PARENT_UID_LABEL));
    let found = space.api::<Task>().list(&of).await?.items;
    let named = found.into_iter().filter_map(|task| {
        let step = task
            .metadata
            .labels
            .as_ref()?
            .get(names::STEP_LABEL)?
            .clone();
        Some((step, task))
    });
    Ok(named.collect())
}

#[tokio::test]
async fn a_chain_mends_what_its_check_finds() -> Result<()> {
    beside_others("workflow-chain", async |space| {
        sample(space, "release-notes.yaml").await?;
        let task = space.complete("release-1-4").await?;
        let notes = output(&task)?["notes"].as_str().unwrap_or_default();
        ensure!(notes.contains("#12") && notes.contains("#15"), "{notes}");
        let status = task.status.clone().unwrap_or_default();
        let done = status.steps.context("no steps")?;
        ensure!(
            done.succeeded == ["changes", "notes", "mended", "report"],
            "{done:?}"
        );
        let failed: Vec<&str> = done.failed.iter().map(|step| step.name.as_str()).collect();
        ensure!(failed == ["check"], "{done:?}");
        // What its steps have spent is in the run's sum.
        let usage = status.usage.context("no usage")?;
        ensure!(usage.calls == 2 && usage.usd != "0", "{usage:?}");
        let report = steps(space, &task).await?;
        let report = report.iter().find(|(step, _)| step == "report");
        let said = output(&report.context("no report")?.1)?;
        ensure!(said["stdoutTail"] == "the run has Succeeded\n", "{said}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_run_waits_for_people_and_goes_on_with_what_they_said() -> Result<()> {
    beside_others("workflow-approval", async |space| {
        sample(space, "approval.yaml").await?;
        let waits = |task: &Task| {
            let status = task.status.as_ref();
            status.is_some_and(|status| status.phase == Some(Phase::Waiting))
        };
        let task = space.task_until("ship-it", "waits", waits).await?;
        let active = task.status.clone().and_then(|status| status.steps);
        let active = active.context("no steps")?.active;
        let [step] = active.as_slice() else {
            anyhow::bail!("{active:?}");
        };
        let user = me(space).await?;
        let approvals: Api<Approval> = space.api();
        let decision = json!({"decision": "Approve", "values": {"environment": "staging"}});
        let decided = Patch::Merge(json!({"spec": {"decisions": {&user: decision}}}));
        // It waits once its own controller has seen that it was asked for.
        oarmaster_e2e::wait::until(
            approvals.clone(),
            &step.object,
            "its phase",
            SOON,
            |approval: &Approval| {
                approval
                    .status
                    .as_ref()
                    .is_some_and(|status| status.phase.is_some())
            },
        )
        .await?;
        approvals
            .patch(&step.object, &PatchParams::default(), &decided)
            .await?;
        let task = space.complete("ship-it").await?;
        let said = &output(&task)?["ship"]["stdoutTail"];
        let expected = format!("shipped to staging, approved by {user}\n");
        ensure!(*said == expected.as_str(), "{said}");
        Ok(())
    })
    .await
}

pub fn program(name: &str, command: &str) -> Value {
    json!({"name": name, "run": {"sandbox": {"image": image("python")}, "command": ["sh", "-c", command]}})
}

pub async fn workflow(space: &Space, name: &str, spec: Value) -> Result<()> {
    let workflow = json!({"apiVersion": "oarmaster.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": name}, "spec": spec});
    let task = json!({"apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task", "metadata": {"name": name}, "spec": {"workflow": {"name": name}}});
    space.create(&workflow.to_string()).await?;
    space.create(&task.to_string()).await?;
    Ok(())
}

#[tokio::test]
async fn a_workflow_that_changes_or_goes_does_not_touch_a_run() -> Result<()> {
    beside_others("workflow-edited", async |space| {
        let mut spec = json!({"steps": [program("one", "sleep 3; echo one"), program("two", "echo two")], "output": "${steps.two.output.stdoutTail}"});
        spec["steps"][1]["after"] = json!(["one"]);
        workflow(space, "kept", spec).await?;
        let begun = |task: &Task| {
            let status = task.status.as_ref();
            status.is_some_and(|status| status.attempt == Some(1))
        };
        space.task_until("kept", "begins", begun).await?;
        let workflows: Api<Workflow> = space.api();
        let other = Patch::Merge(json!({"spec": {"output": "other", "steps": [program("one", "false")]}}));
        workflows.patch("kept", &PatchParams::default(), &other).await?;
        workflows.delete("kept", &DeleteParams::default()).await?;
        let task = space.complete("kept").await?;
        ensure!(*output(&task)? == "two\n", "{:?}", task.status);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_run_survives_an_operator_that_is_killed_between_steps() -> Result<()> {
    alone("workflow-killed", async |space| {
        let mut spec = json!({"steps": [program("one", "echo one"), program("two", "sleep 2; echo two"), program("three", "echo three")]});
        spec["steps"][1]["after"] = json!(["one"]);
        spec["steps"][2]["after"] = json!(["two"]);
        workflow(space, "killed", spec).await?;
        let second = |task: &Task| {
            let steps = task.status.as_ref().and_then(|status| status.steps.as_ref());
            steps.is_some_and(|steps| steps.succeeded == ["one"])
        };
        space.task_until("killed", "its second step", second).await?;
        crate::operator_killed::kill_operators(space).await?;
        let task = space.complete("killed").await?;
        let made = steps(space, &task).await?;
        ensure!(made.len() == 3, "{} Tasks for three steps", made.len());
        ensure!(output(&task)?["three"]["stdoutTail"] == "three\n", "{:?}", task.status);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_step_that_fails_stops_the_others_and_says_why() -> Result<()> {
    beside_others("workflow-fails", async |space| {
        let spec = json!({"steps": [program("long", "sleep 600"), program("bad", "sleep 1; echo no >&2; exit 3")]});
        workflow(space, "fails", spec).await?;
        let task = space.failed("fails", "StepFailed").await?;
        let (_, message) = failure(&task);
        ensure!(
            message.starts_with("step bad (fails-bad-") && message.contains("): ToolFailed: "),
            "{message}"
        );
        let made = steps(space, &task).await?;
        let long = made.iter().find(|(step, _)| step == "long");
        let status = long.and_then(|(_, task)| task.status.clone());
        ensure!(status.is_some_and(|status| status.phase == Some(Phase::Cancelled)));
        Ok(())
    })
    .await
}
