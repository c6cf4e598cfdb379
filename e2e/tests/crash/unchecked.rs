//! Objects that no webhook was asked about, since it is not asked here: a condition names the field, and nothing of them runs.

use crate::support::{in_space, on_a_rig};
use anyhow::{Result, ensure};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use kube::Resource;
use kube::api::ListParams;
use oarmaster_crds::{Agent, ModelPool, Task, Workflow};
use oarmaster_e2e::crash::scene::me;
use oarmaster_e2e::{Space, wait};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::time::Duration;

/// On a machine that is busy with builds.
const PATIENCE: Duration = Duration::from_secs(90);

/// Stores an object, and waits until a condition of it names this field.
async fn told<K>(space: &Space, name: &str, spec: Value, field: &str) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + 'static,
{
    let object = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {"name": name}, "spec": spec,
    });
    space.create(&object.to_string()).await?;
    let names_it = |found: &K| {
        let found = serde_json::to_value(found).unwrap_or_default();
        let conditions = found["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|held| {
            held["message"]
                .as_str()
                .is_some_and(|text| text.contains(field))
        })
    };
    let what = format!("a condition with {field}");
    wait::until(space.api::<K>(), name, &what, PATIENCE, names_it).await?;
    Ok(())
}

#[tokio::test]
async fn what_nobody_checked_becomes_a_condition_and_no_pod() -> Result<()> {
    on_a_rig(async |rig| {
        in_space(rig, "unchecked", async |space| {
            let me = me(space).await?;
            let command = json!({"name": "explain", "prompt": "Explain ${params.module}."});
            let agent = json!({"instructions": "x", "commands": [command]});
            let field = "spec.commands[explain].prompt";
            told::<Agent>(space, "agent", agent, field).await?;
            let member = json!({"provider": {"name": "p"}, "model": "m"});
            let pool = json!({"members": [member, member]});
            told::<ModelPool>(space, "pool", pool, "spec.members[1]").await?;
            let step =
                json!({"name": "a", "agent": {"name": "coder"}, "params": {"prompt": "${oops}"}});
            let graph = json!({"steps": [step]});
            let field = "spec.steps[a].params";
            told::<Workflow>(space, "workflow", graph.clone(), field).await?;
            let task = json!({"requestedBy": me, "workflow": {"spec": graph}});
            told::<Task>(
                space,
                "graph",
                task,
                "spec.workflow.spec: spec.steps[a].params",
            )
            .await?;
            let file = |path: &str| json!({"path": path, "content": "x"});
            let task = json!({
                "requestedBy": me, "run": {"command": ["true"]}, "files": [file("a"), file("a/b")],
            });
            told::<Task>(space, "files", task, "spec.files").await?;
            let jobs = space.api::<Job>().list(&ListParams::default()).await?;
            ensure!(jobs.items.is_empty(), "{jobs:#?}");
            Ok(())
        })
        .await
    })
    .await
}
