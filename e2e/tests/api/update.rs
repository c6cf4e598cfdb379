//! Task: what may change once it is there.

use crate::support::{in_space, with_spec};
use crate::task;
use anyhow::{Context as _, Result, ensure};
use kube::api::{Patch, PatchParams};
use oarmaster_crds::Task;
use oarmaster_e2e::{Space, apply};
use serde_json::{Value, json};

/// A change of a Task, as a merge patch on its spec, and the refusal; none: it is taken.
struct Change {
    name: &'static str,
    from: Value,
    patch: Value,
    told: Option<&'static str>,
}

fn full() -> Value {
    with_spec(
        &task::agent(),
        json!({
            "files": [{"path": "a", "content": "x"}],
            "artifacts": [{"name": "a", "path": "a"}],
            "accept": {"check": {"command": ["true"]}},
            "budget": {"usd": "9.50", "tokens": 1000, "tasks": 5, "depth": 2},
            "ttlAfterFinished": "1h",
        }),
    )
}

fn changes() -> Vec<Change> {
    let change = |name, from: Value, patch: Value, told| Change {
        name,
        from,
        patch,
        told,
    };
    let task = |name, patch, told| change(name, full(), patch, Some(told));
    let fine = |name, patch| change(name, full(), patch, None);
    let run = with_spec(&task::run(), json!({"run": {"env": {"A": "1"}}}));
    vec![
        task(
            "another agent",
            json!({"agent": {"name": "other"}}),
            "agent cannot change after creation; create another Task",
        ),
        change(
            "another command",
            run.clone(),
            json!({"run": {"command": ["false"]}}),
            Some("run cannot change after creation; create another Task"),
        ),
        change(
            "another workflow",
            task::workflow(),
            json!({"workflow": {"name": "other"}}),
            Some("workflow cannot change after creation; create another Task"),
        ),
        change(
            "another goal",
            task::goal(),
            json!({"goal": {"text": "Make it fail."}}),
            Some("goal cannot change after creation; create another Task"),
        ),
        change(
            "a step more in the spec of its workflow",
            task::inline(),
            json!({"workflow": {"spec": {"finally": []}}}),
            Some("workflow cannot change after creation; create another Task"),
        ),
        change(
            "a variable more",
            run.clone(),
            json!({"run": {"env": {"B": "2"}}}),
            Some("run cannot change after creation; create another Task"),
        ),
        change(
            "an agent in place of a run",
            run,
            json!({"run": null, "agent": {"name": "a"}, "params": {"prompt": "x"}}),
            Some("agent cannot change after creation; create another Task"),
        ),
        task(
            "another prompt",
            json!({"params": {"prompt": "other"}}),
            "params cannot change after creation; create another Task",
        ),
        task(
            "another command of the agent",
            json!({"agent": {"command": "explain"}}),
            "agent cannot change after creation; create another Task",
        ),
        task(
            "a parameter more",
            json!({"params": {"module": "x"}}),
            "params cannot change after creation; create another Task",
        ),
        change(
            "a parameter by another name",
            with_spec(
                &task::agent(),
                json!({"agent": {"command": "explain"}, "params": {"prompt": null, "module": "x"}}),
            ),
            json!({"params": {"module": null, "modul": "x"}}),
            Some("params cannot change after creation; create another Task"),
        ),
        task(
            "another Task to go on from",
            json!({"continueFrom": {"name": "earlier"}}),
            "continueFrom cannot change after creation; create another Task",
        ),
        task(
            "another Task to replay",
            json!({"replay": {"task": {"name": "earlier"}}}),
            "replay cannot change after creation; create another Task",
        ),
        task(
            "a workspace that is kept",
            json!({"workspace": {"keep": true}}),
            "workspace cannot change after creation; create another Task",
        ),
        task(
            "a memo",
            json!({"memo": {"key": "v1", "ttl": "1h"}}),
            "memo cannot change after creation; create another Task",
        ),
        task(
            "another file",
            json!({"files": [{"path": "a", "content": "y"}]}),
            "files cannot change after creation; create another Task",
        ),
        task(
            "no files",
            json!({"files": null}),
            "files cannot change after creation; create another Task",
        ),
        task(
            "another artifact",
            json!({"artifacts": [{"name": "a", "path": "b"}]}),
            "artifacts cannot change after creation; create another Task",
        ),
        task(
            "no check",
            json!({"accept": null}),
            "accept cannot change after creation; create another Task",
        ),
        task(
            "another timeout",
            json!({"timeout": "1h"}),
            "timeout and retry cannot change after creation; create another Task",
        ),
        task(
            "more retries",
            json!({"retry": {"limit": 5}}),
            "timeout and retry cannot change after creation; create another Task",
        ),
        task(
            "a higher priority",
            json!({"priority": 1}),
            "priority and queue cannot change after creation; create another Task",
        ),
        task(
            "a queue",
            json!({"queue": "nightly"}),
            "priority and queue cannot change after creation; create another Task",
        ),
        task(
            "a longer life",
            json!({"ttlAfterFinished": "2h"}),
            "ttlAfterFinished cannot change after creation; delete the Task instead",
        ),
        task(
            "no budget",
            json!({"budget": null}),
            "budget keeps its fields after creation; raise what it has, and add or remove none",
        ),
        task(
            "no bound on tokens",
            json!({"budget": {"tokens": null}}),
            "budget keeps its fields after creation; raise what it has, and add or remove none",
        ),
        task(
            "fewer tokens",
            json!({"budget": {"tokens": 999}}),
            "budget.tokens can only be raised",
        ),
        task(
            "less money",
            json!({"budget": {"usd": "9.499999999"}}),
            "budget.usd can only be raised",
        ),
        task(
            "fewer Tasks",
            json!({"budget": {"tasks": 4}}),
            "budget.tasks can only be raised",
        ),
        task(
            "fewer levels",
            json!({"budget": {"depth": 1}}),
            "budget.depth can only be raised",
        ),
        task(
            "another requester",
            json!({"requestedBy": "mallory"}),
            "requestedBy cannot change after creation: it says who created the Task",
        ),
        task(
            "no requester",
            json!({"requestedBy": null}),
            "requestedBy cannot change after creation: it says who created the Task",
        ),
        fine(
            "more money, though smaller as a text",
            json!({"budget": {"usd": "10"}}),
        ),
        fine(
            "the same money, written otherwise",
            json!({"budget": {"usd": "9.5"}}),
        ),
        fine(
            "a billionth more",
            json!({"budget": {"usd": "9.500000001"}}),
        ),
        fine("more tokens", json!({"budget": {"tokens": 1001}})),
        fine("more Tasks", json!({"budget": {"tasks": 6, "depth": 3}})),
        change(
            "a first budget",
            task::agent(),
            json!({"budget": {"usd": "1"}}),
            None,
        ),
        fine("a cancellation", json!({"state": "Cancelled"})),
        change(
            "a run after the cancellation",
            with_spec(&full(), json!({"state": "Cancelled"})),
            json!({"state": "Running"}),
            Some("a cancelled Task can be rolled back, and cannot run again; create another Task"),
        ),
        change(
            "a rollback after the cancellation",
            with_spec(&task::workflow(), json!({"state": "Cancelled"})),
            json!({"state": "RolledBack"}),
            None,
        ),
        change(
            "a cancellation of the rollback",
            with_spec(&task::workflow(), json!({"state": "RolledBack"})),
            json!({"state": "Cancelled"}),
            None,
        ),
        change(
            "a run after the rollback",
            with_spec(&task::workflow(), json!({"state": "RolledBack"})),
            json!({"state": "Running"}),
            Some(
                "a Task that is rolled back can be cancelled, and cannot run again; create another Task",
            ),
        ),
        change(
            "another rerun",
            with_spec(&task::workflow(), json!({"rerun": {"count": 1}})),
            json!({"rerun": {"count": 2, "from": ["a"]}}),
            None,
        ),
        change(
            "fewer reruns",
            with_spec(&task::workflow(), json!({"rerun": {"count": 1}})),
            json!({"rerun": {"count": 0}}),
            Some("rerun.count can only be raised"),
        ),
    ]
}

/// The refusals, for the test that every rule has a case.
pub fn told() -> Vec<&'static str> {
    changes()
        .into_iter()
        .filter_map(|change| change.told)
        .collect()
}

async fn make(space: &Space, mut object: Value, name: &str) -> Result<()> {
    object["metadata"]["name"] = json!(name);
    space.create(&object.to_string()).await?;
    Ok(())
}

#[tokio::test]
async fn a_task_changes_only_where_it_may() -> Result<()> {
    in_space("update", async |space| {
        let tasks = space.api::<Task>();
        let mut wrong = Vec::new();
        for (
            index,
            Change {
                name,
                from,
                patch,
                told,
            },
        ) in changes().into_iter().enumerate()
        {
            let object = format!("case-{index}");
            make(space, from, &object).await.context(name)?;
            let patch = Patch::Merge(json!({ "spec": patch }));
            let answer = tasks.patch(&object, &PatchParams::default(), &patch).await;
            match (answer, told) {
                (Ok(_), None) => {}
                (Err(kube::Error::Api(status)), Some(told)) if status.message.contains(told) => {}
                (answer, told) => wrong.push(format!("{name}: should be {told:?}, is {answer:?}")),
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn status_is_a_subresource() -> Result<()> {
    in_space("status", async |space| {
        let tasks = space.api::<Task>();
        make(space, with_spec(&task::agent(), json!({})), "t").await?;
        let both = json!({
            "metadata": {"annotations": {"a": "b"}},
            "spec": {"state": "Cancelled"},
            "status": {"phase": "Running", "usage": {"usd": "0.01"}},
        });
        let held = tasks
            .patch(
                "t",
                &PatchParams::default(),
                &Patch::Merge(json!({"status": both["status"]})),
            )
            .await?;
        ensure!(
            serde_json::to_value(&held.status)?["phase"].is_null(),
            "the object's own endpoint wrote status"
        );
        ensure!(
            held.status.and_then(|status| status.observed_generation) == Some(-1),
            "an object that nobody has looked at does not say so"
        );
        let held = tasks
            .patch_status("t", &PatchParams::default(), &Patch::Merge(both))
            .await?;
        let status = serde_json::to_value(&held.status)?;
        ensure!(
            status["phase"] == "Running",
            "status was not written: {status}"
        );
        ensure!(
            held.metadata.generation == Some(1),
            "writing status changed the generation"
        );
        ensure!(
            serde_json::to_value(&held.spec)?["state"] == "Running",
            "the status endpoint changed the spec"
        );
        let wrong = json!({"status": {"phase": "Dreaming"}});
        let error = tasks
            .patch_status("t", &PatchParams::default(), &Patch::Merge(wrong))
            .await;
        let error = anyhow::Error::from(error.err().context("an unknown phase was taken")?);
        let message = apply::refusal(&error).context("not refused by the API server")?;
        ensure!(message.contains("status.phase"), "{message}");
        Ok(())
    })
    .await
}
