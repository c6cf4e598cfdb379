//! The budget of a run, on the node: how many Tasks it may have, and what is kept of it.

use crate::support::beside_others;
use crate::workflow::{output, program, steps, workflow};
use anyhow::{Result, ensure};
use kube::Api;
use kube::api::{Patch, PatchParams};
use oarmaster_crds::Task;
use oarmaster_e2e::task::failure;
use serde_json::json;

#[tokio::test]
async fn a_run_without_room_for_a_task_ends_and_goes_on_when_there_is() -> Result<()> {
    beside_others("workflow-tree", async |space| {
        let mut spec = json!({
            "steps": [program("one", "echo one"), program("two", "echo two")],
            "finally": [program("last", "echo last")],
            "budget": {"usd": "1", "tasks": 1},
            "output": "${steps.two.output.stdoutTail}",
        });
        spec["steps"][1]["after"] = json!(["one"]);
        workflow(space, "tree", spec).await?;
        let tasks: Api<Task> = space.api();
        let task = space.failed("tree", "BudgetExceeded").await?;
        let (_, message) = failure(&task);
        ensure!(
            message.contains("Task tree may have 1 Task below it")
                && message.contains("spec.budget.tasks"),
            "{message}"
        );
        let made = steps(space, &task).await?;
        ensure!(
            made.iter().any(|(step, _)| step == "last"),
            "finally did not run"
        );
        let more = Patch::Merge(
            json!({"spec": {"budget": {"usd": "1", "tasks": 5}, "rerun": {"count": 1}}}),
        );
        tasks.patch("tree", &PatchParams::default(), &more).await?;
        let again = |task: &Task| {
            task.status
                .as_ref()
                .is_some_and(|status| status.attempt == Some(2))
        };
        space.task_until("tree", "goes on", again).await?;
        let task = space.complete("tree").await?;
        ensure!(*output(&task)? == "two\n", "{:?}", task.status);
        Ok(())
    })
    .await
}
