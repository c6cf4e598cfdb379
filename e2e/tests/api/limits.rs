//! Texts that are too long, and objects that are too large.

use crate::support::{Case, check, denied, in_space, object, taken, with_spec};
use crate::{agent, task};
use anyhow::{Context as _, Result, ensure};
use oarmaster_e2e::apply;
use serde_json::{Value, json};

fn text(length: usize) -> Value {
    json!("x".repeat(length))
}

fn cases() -> Vec<Case> {
    let prompt = |length| with_spec(&task::agent(), json!({"params": {"prompt": text(length)}}));
    let content = |length| {
        with_spec(
            &task::agent(),
            json!({"files": [{"path": "a", "content": text(length)}]}),
        )
    };
    let instructions = |length| with_spec(&agent::agent(), json!({"instructions": text(length)}));
    let run = |run: Value| object("Task", json!({ "run": run }));
    let files: Vec<Value> = (0..129)
        .map(|n| json!({"path": format!("f{n}"), "content": ""}))
        .collect();
    vec![
        taken("the longest prompt", prompt(131_072)),
        denied(
            "a longer prompt",
            prompt(131_073),
            &["spec.params.prompt: Too long", "131072"],
        ),
        denied(
            "a prompt of 2 MB",
            prompt(2_000_000),
            &["spec.params.prompt: Too long", "131072"],
        ),
        taken("the longest file", content(131_072)),
        denied(
            "a longer file",
            content(131_073),
            &["spec.files[0].content: Too long"],
        ),
        denied(
            "129 files",
            with_spec(&task::agent(), json!({ "files": files })),
            &["spec.files", "at most 128"],
        ),
        taken("the longest instructions", instructions(65_536)),
        denied(
            "longer instructions",
            instructions(65_537),
            &["spec.instructions: Too long"],
        ),
        denied(
            "a long word",
            run(json!({"command": [text(4097)]})),
            &["spec.run.command[0]: Too long"],
        ),
        denied(
            "many words",
            run(json!({"command": vec!["x"; 65]})),
            &["spec.run.command", "at most 64"],
        ),
        denied(
            "long code",
            run(json!({"language": "python", "code": text(131_073)})),
            &["spec.run.code: Too long"],
        ),
        denied(
            "a long value of env",
            run(json!({"command": ["x"], "env": {"A": text(4097)}})),
            &["spec.run.env.A: Too long"],
        ),
        denied(
            "a long name of env",
            run(json!({"command": ["x"], "env": {"A".repeat(129): "x"}})),
            &["names of env are letters"],
        ),
        denied(
            "a long name",
            with_spec(&task::agent(), json!({"agent": {"name": text(254)}})),
            &["spec.agent.name: Too long"],
        ),
    ]
}

#[tokio::test]
async fn texts_have_bounds() -> Result<()> {
    in_space("limits", async |space| {
        check(&space.cluster.client, &space.name, &cases()).await
    })
    .await
}

#[tokio::test]
async fn a_prompt_of_10_mb_is_refused() -> Result<()> {
    in_space("large", async |space| {
        let task = with_spec(
            &task::agent(),
            json!({"params": {"prompt": text(10_000_000)}}),
        );
        let error = apply::dry_run(&space.cluster.client, &space.name, &task.to_string())
            .await
            .err()
            .context("it was taken")?;
        ensure!(format!("{error:#}").contains("too large"), "{error:#}");
        Ok(())
    })
    .await
}
