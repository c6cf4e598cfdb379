//! In which version objects are stored: a version can only be dropped once nothing is stored in it, and nobody notices before then.

use crate::support::{cluster, in_space};
use crate::task;
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DynamicObject, ListParams, TypeMeta};
use oarmaster_e2e::apply;

/// Every version in which an installation may have stored objects, the one of today last. One leaves only with a migration of what is stored in it.
const STORED: [&str; 1] = ["v1alpha1"];

#[tokio::test]
async fn objects_are_stored_in_one_version_which_is_served() -> Result<()> {
    let cluster = cluster().await?;
    let all: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let ours = all.list(&ListParams::default()).await?.items;
    let ours = ours
        .into_iter()
        .filter(|definition| definition.spec.group == "oarmaster.dev");
    let mut kinds = 0;
    for definition in ours {
        kinds += 1;
        let kind = definition.spec.names.kind;
        let versions = definition.spec.versions;
        let storage: Vec<&str> = versions
            .iter()
            .filter(|version| version.storage)
            .map(|version| version.name.as_str())
            .collect();
        ensure!(storage == STORED[STORED.len() - 1..], "{kind}: {storage:?}");
        let status = definition.status.context("no status")?;
        let stored = status.stored_versions.unwrap_or_default();
        for version in &stored {
            ensure!(STORED.contains(&version.as_str()), "{kind}: {stored:?}");
            // An object in a version that is not served can neither be read nor written anew.
            let served = versions
                .iter()
                .any(|held| held.name == *version && held.served);
            ensure!(served, "{kind}: {version} is stored and not served");
        }
        ensure!(!stored.is_empty(), "{kind}: nothing says what is stored");
    }
    ensure!(kinds == 8, "{kinds} definitions");
    Ok(())
}

#[tokio::test]
async fn what_is_stored_is_read_in_every_version_that_was() -> Result<()> {
    in_space("versions", async |space| {
        space.create(&task::run().to_string()).await?;
        for version in STORED {
            let types = TypeMeta {
                api_version: format!("oarmaster.dev/{version}"),
                kind: "Task".to_owned(),
            };
            let api: Api<DynamicObject> =
                apply::api_of(&space.cluster.client, &space.name, &types).await?;
            let held = api.get("case").await?;
            ensure!(held.data["spec"]["run"].is_object(), "{held:?}");
        }
        Ok(())
    })
    .await
}
