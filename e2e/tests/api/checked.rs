//! What the schema of a kind cannot say is refused by the webhook, with the field; what is taken is what the check takes.

use crate::support::{Case, check, denied, in_space, object, taken, with, with_spec};
use crate::{agent, cases, documents, provider, task, workflow};
use anyhow::{Context as _, Result, ensure};
use kube::Api;
use kube::api::{Patch, PatchParams};
use oarmaster_crds::Agent;
use oarmaster_e2e::apply;
use oarmaster_webhook::objects::{Asked, Kind, Verdict, check as verdict};
use serde_json::{Value, json};

/// The name of the webhook, which a refusal has.
const BY: &str = "objects.oarmaster.dev";

/// One object of each kind that its schema takes.
fn wrong() -> Vec<Case> {
    let command = json!({"name": "explain", "prompt": "Explain ${params.module}."});
    let member =
        |namespace: Value| json!({"provider": {"name": "p", "namespace": namespace}, "model": "m"});
    let twice = json!({"members": [member(json!("models")), member(json!("models"))]});
    let file = |path: &str| json!({"path": path, "content": "x"});
    let graph = workflow::wrong_one()["spec"].clone();
    let mut other = task::inline();
    other["spec"]["workflow"]["allow"]["agents"] = json!(["critic"]);
    vec![
        denied(
            "a command whose prompt names no parameter of it",
            with_spec(&agent::agent(), json!({ "commands": [command] })),
            &[BY, "spec.commands[explain].prompt"],
        ),
        denied(
            "a pool with a member twice",
            object("ModelPool", twice),
            &[BY, "spec.members[1]"],
        ),
        denied(
            "a file that is the directory of another one",
            with_spec(&task::agent(), json!({"files": [file("a"), file("a/b")]})),
            &[
                BY,
                "spec.files: 'a' cannot be a file and the directory of 'a/b'",
            ],
        ),
        denied(
            "a Task with a graph that could not run",
            with(
                &task::inline(),
                json!({"spec": {"workflow": {"spec": graph}}}),
            ),
            &[
                BY,
                "spec.workflow.spec: spec.steps[a].params: the expression `oops`",
            ],
        ),
        denied(
            "a Task with a graph that names another agent than it may",
            other,
            &[BY, "spec.workflow.spec: spec.steps[a]"],
        ),
        taken("a Task", task::inline()),
        taken("a provider", provider::scripted()),
    ]
}

#[tokio::test]
async fn what_the_schema_cannot_say_is_refused_with_the_field() -> Result<()> {
    in_space("checked", async |space| {
        check(&space.cluster.client, &space.name, &wrong()).await?;
        // A change, too; but not one of something else.
        let fine = with(&agent::agent(), json!({"metadata": {"name": "changed"}}));
        space.create(&fine.to_string()).await?;
        let agents: Api<Agent> = space.api();
        let command = json!({"name": "explain", "prompt": "Explain ${params.module}."});
        let patch = Patch::Merge(json!({"spec": {"commands": [command]}}));
        let done = agents
            .patch("changed", &PatchParams::default(), &patch)
            .await;
        let error = done.err().context("was taken")?.to_string();
        ensure!(error.contains("spec.commands[explain].prompt"), "{error}");
        let patch = Patch::Merge(json!({"metadata": {"labels": {"team": "red"}}}));
        agents
            .patch("changed", &PatchParams::default(), &patch)
            .await?;
        Ok(())
    })
    .await
}

/// The verdict on an object of one of our kinds.
fn judged(object: &Value) -> Option<Verdict> {
    let kind = match object["kind"].as_str()? {
        "Task" => Kind::Task,
        "Workflow" => Kind::Workflow,
        "Agent" => Kind::Agent,
        "ModelPool" => Kind::ModelPool,
        "ModelProvider" => Kind::ModelProvider,
        "SandboxClass" => Kind::SandboxClass,
        "Budget" => Kind::Budget,
        _ => return None,
    };
    Some(verdict(Asked {
        kind,
        spec: &object["spec"].to_string(),
        namespace: "team",
    }))
}

/// Without an API server: it is the check that refuses them, with these words.
#[test]
fn what_is_refused_is_what_the_check_refuses() -> Result<()> {
    for Case { name, object, told } in wrong() {
        let verdict = judged(&object).context(name)?;
        let right = match &verdict {
            Verdict::Fine => told.is_empty(),
            Verdict::Wrong(words) => told.last().is_some_and(|field| words.contains(field)),
            Verdict::Unchecked(_) => false,
        };
        ensure!(right, "{name}: {verdict:?}");
    }
    Ok(())
}

/// Without an API server: what the tables of all kinds say is taken, the samples, and the blocks of the documents.
#[test]
fn what_is_taken_is_what_the_check_takes() -> Result<()> {
    let mut all = Vec::new();
    for Case { name, object, told } in cases::all() {
        all.extend(told.is_empty().then(|| (name.to_owned(), object)));
    }
    for (place, text) in documents::texts()? {
        for document in apply::documents(&text)? {
            all.push((place.clone(), serde_json::to_value(document)?));
        }
    }
    let mut seen = 0;
    let mut wrong = Vec::new();
    for (name, object) in all {
        let Some(verdict) = judged(&object) else {
            continue;
        };
        seen += 1;
        if verdict != Verdict::Fine {
            wrong.push(format!("{name}: {verdict:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(seen > 200, "{seen} objects");
    Ok(())
}
