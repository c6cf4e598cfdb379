//! Files that go from Task to Task: a workspace that is kept, the Tasks that begin with it, and artifacts that are placed.

use crate::support::{agent, beside_others, create, pool, run, scripted, task};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

fn shell(name: &str, code: &str, more: &Value) -> Value {
    run(name, json!({"command": ["sh", "-ec", code]}), more)
}

/// One writes, the second edits what the first left, the third tests what the second left. All are created at once.
#[tokio::test]
async fn a_third_task_tests_what_the_second_made_of_the_first() -> Result<()> {
    beside_others("handover", async |space| {
        let artifact = |path: &str, task: &str, name: &str| {
            json!({"path": path, "artifact": {"task": {"name": task}, "name": name}})
        };
        let build = shell(
            "build",
            "mkdir -p src/deep; echo 'print(40)' > src/main.py; echo old > src/gone; echo x > src/deep/x; chmod 755 src/deep/x",
            &json!({
                "workspace": {"keep": true},
                "artifacts": [{"name": "one", "path": "src/main.py"}, {"name": "src", "path": "src/**"}],
            }),
        );
        let edit = shell(
            "edit",
            "test -x src/deep/x; rm src/gone; sed -i 's/40/40 + 2/' src/main.py; cat given >> src/deep/x",
            &json!({
                "workspace": {"from": {"name": "build"}, "keep": true},
                "files": [{"path": "given", "content": "y\n"}],
            }),
        );
        let tested = shell(
            "tested",
            "test \"$(python3 src/main.py)\" = 42; test ! -e src/gone; printf 'x\\ny\\n' | cmp - src/deep/x; test -e given
             test \"$(python3 first.py)\" = 40; test \"$(cat first/src/gone)\" = old; test -x first/src/deep/x; echo all is well",
            &json!({
                "workspace": {"from": {"name": "edit"}},
                "files": [artifact("first.py", "build", "one"), artifact("first", "build", "src")],
            }),
        );
        let nothing = shell("nothing", "true", &json!({"workspace": {"from": {"name": "tested"}}}));
        let absent = shell("absent", "true", &json!({"files": [artifact("a", "build", "two")]}));
        create(space, &[nothing, absent, tested, edit, build]).await?;

        let status = space.complete("tested").await?.status.context("no status")?;
        let output = status.output.context("no output")?;
        ensure!(output["stdoutTail"] == "all is well\n", "{output}");
        let size = async |name: &str| -> Result<i64> {
            let status = space.complete(name).await?.status.context("no status")?;
            Ok(status.workspace.context("no workspace")?.size)
        };
        let (first, second) = (size("build").await?, size("edit").await?);
        ensure!(first > 0 && second > first, "{first}, then {second}");
        ensure!(status.workspace.is_none());

        for (name, wanted) in [
            ("nothing", "workspace.from: Task tested kept no workspace"),
            ("absent", "Task build has no artifact two: it kept one, src"),
        ] {
            let status = space.failed(name, "InvalidInput").await?.status;
            let failure = status.and_then(|status| status.failure);
            let message = failure.context("no failure")?.message;
            ensure!(message.contains(wanted), "{message}");
        }
        Ok(())
    })
    .await
}

/// An agent begins with what a program left, and a program with what the agent left, also where that has failed.
#[tokio::test]
async fn an_agent_and_programs_share_a_workspace() -> Result<()> {
    beside_others("handover-agent", async |space| {
        let write = json!({"toolCalls": [{"name": "Shell", "arguments": {"command": "cat plan > done; echo more >> done"}}]});
        let provider = scripted(&[write, json!({"text": "done"})]);
        let plan = shell("plan", "echo one > plan; exit 3", &json!({"workspace": {"keep": true}}));
        let work = task(&json!({
            "workspace": {"from": {"name": "plan"}, "keep": true},
            "accept": {"check": {"command": ["grep", "-q", "more", "done"]}, "rounds": 1},
        }));
        let check = shell("check", "cat plan done", &json!({"workspace": {"from": {"name": "work"}}}));
        create(space, &[provider, pool(), agent(&["Shell"]), plan, work, check]).await?;
        space.failed("plan", "ToolFailed").await?;
        let status = space.complete("check").await?.status.context("no status")?;
        let output = status.output.context("no output")?;
        ensure!(output["stdoutTail"] == "one\none\nmore\n", "{output}");
        Ok(())
    })
    .await
}
