//! Objects that no schema ever let in, as a restored backup or an older CRD leaves them: each is by itself, the rest goes on.

use crate::support::{agent, alone, create, pool, says, scripted, task};
use anyhow::{Context as _, Result, bail};
use futures::FutureExt as _;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{Patch, PatchParams};
use oarmaster_e2e::Space;
use serde_json::{Value, json};
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

const KINDS: [(&str, &str); 4] = [
    ("tasks", "Task"),
    ("agents", "Agent"),
    ("modelpools", "ModelPool"),
    ("modelproviders", "ModelProvider"),
];

#[tokio::test]
async fn one_malformed_object_stops_nothing() -> Result<()> {
    alone("malformed", async |space| {
        let crds: Api<CustomResourceDefinition> = Api::all(space.cluster.client.clone());
        let mut schemas = Vec::new();
        for (plural, _) in KINDS {
            let name = format!("{plural}.oarmaster.dev");
            let crd = crds.get(&name).await?;
            let version = crd.spec.versions.into_iter().next().context("no version")?;
            schemas.push((name, serde_json::to_value(version.schema)?));
        }
        let stored = AssertUnwindSafe(store(space, &crds, &schemas))
            .catch_unwind()
            .await;
        for (name, schema) in &schemas {
            replace(&crds, name, schema).await?;
        }
        match stored {
            Ok(result) => result?,
            Err(panic) => std::panic::resume_unwind(panic),
        }

        let told = space
            .kubectl(&["get", "otask", "garbage", "-o", "jsonpath={.spec.run}"])
            .await?;
        assert_eq!(told, "7", "the garbage is stored");
        // A changed CRD ends every watch of its kind; who has not listed anew yet does not know these objects for a moment.
        create(
            space,
            &[
                scripted(&[says("fine")]),
                pool(),
                agent(&[]),
                task(&json!({})),
            ],
        )
        .await?;
        space.complete("work").await?;
        Ok(())
    })
    .await
}

async fn replace(crds: &Api<CustomResourceDefinition>, name: &str, schema: &Value) -> Result<()> {
    let patch: json_patch::Patch = serde_json::from_value(
        json!([{"op": "replace", "path": "/spec/versions/0/schema", "value": schema}]),
    )?;
    crds.patch(name, &PatchParams::default(), &Patch::Json::<()>(patch))
        .await?;
    Ok(())
}

/// Loosens every schema and stores an object of each kind that fits none of our types.
async fn store(
    space: &Space,
    crds: &Api<CustomResourceDefinition>,
    schemas: &[(String, Value)],
) -> Result<()> {
    let open = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    for (name, _) in schemas {
        replace(crds, name, &open).await?;
    }
    for (plural, kind) in KINDS {
        let garbage = json!({
            "apiVersion": "oarmaster.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": "garbage"},
            "spec": {"run": 7, "agent": "coder", "members": {"provider": []}, "models": "gpt", "instructions": [1]},
        });
        // The API server takes a changed schema up after a moment, and tells nobody when.
        let started = Instant::now();
        while let Err(error) = create(space, std::slice::from_ref(&garbage)).await {
            if started.elapsed() > Duration::from_secs(30) {
                bail!("{plural} still has its schema: {error:#}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    Ok(())
}
