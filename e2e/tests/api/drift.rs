//! What was applied stays as it was applied: once the operator has written what it writes, a diff is empty and another apply changes nothing, on the client's
//! side and on the server's. So a GitOps controller is at rest.

use crate::support::{OF_THE_CLUSTER, cluster, in_space};
use crate::webhook;
use anyhow::{Context as _, Result, bail, ensure};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::discovery::{Scope, oneshot};
use oarmaster_e2e::cluster::checkout;
use oarmaster_e2e::command::{Output, Run};
use oarmaster_e2e::installed::RELEASE;
use oarmaster_e2e::{Cluster, Space, apply};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// How people and GitOps controllers apply.
const WAYS: [&[&str]; 2] = [&[], &["--server-side", "--field-manager=gitops"]];

/// How a GitOps controller applies what it was told to make its own.
const FORCED: &[&str] = &[
    "--server-side",
    "--field-manager=gitops",
    "--force-conflicts",
];

/// Every object of the samples, as kubectl reads the files.
async fn samples(space: &Space) -> Result<Vec<Value>> {
    let read = [
        "create",
        "--dry-run=client",
        "--validate=false",
        "--output=json",
        "--recursive",
        "--filename",
    ];
    let folder = checkout().join("config/samples").display().to_string();
    let text = space.kubectl(&[&read[..], &[&folder]].concat()).await?;
    let mut all = Vec::new();
    for value in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
        let mut value = value?;
        match value.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => all.extend(items),
            _ => all.push(value),
        }
    }
    for object in &mut all {
        // It was filled in for this call.
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("namespace");
        }
    }
    ensure!(all.len() > 100, "only {} samples were read", all.len());
    Ok(all)
}

/// Objects in as few parts as have no name twice, since each part has a namespace of its own.
fn parts(all: Vec<Value>) -> Vec<Vec<Value>> {
    let mut parts: Vec<Vec<Value>> = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for object in all {
        let times = seen.entry(named(&object)).or_default();
        if parts.len() == *times {
            parts.push(Vec::new());
        }
        parts[*times].push(object);
        *times += 1;
    }
    parts
}

fn named(object: &Value) -> String {
    format!("{}/{}", object["kind"], object["metadata"]["name"])
}

/// What the operator writes of an object of each kind that can be used.
fn statuses() -> Result<BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(checkout().join("e2e/fixtures/phases"))? {
        let recorded: Vec<Value> = serde_json::from_str(&fs::read_to_string(entry?.path())?)?;
        let ready = recorded.iter().find(|one| one["argo"] == "Healthy");
        let object = &ready.context("nothing that is Healthy is recorded")?["object"];
        let kind = object["kind"].as_str().context("no kind")?;
        all.insert(kind.to_owned(), object["status"].clone());
    }
    ensure!(all.len() == 8, "{:?}", all.keys());
    Ok(all)
}

fn kubectl(cluster: &Cluster, args: &[&str]) -> Run {
    let run = cluster.run("kubectl").within(Duration::from_secs(300));
    run.args(args)
}

async fn applied(cluster: &Cluster, file: &str, how: &[&str]) -> Result<()> {
    let args = [&["apply", "--filename", file][..], how].concat();
    kubectl(cluster, &args).output().await?.success()?;
    Ok(())
}

/// What would change. kubectl ends with 1 where that is something.
async fn same(cluster: &Cluster, file: &str, how: &[&str]) -> Result<()> {
    let args = [&["diff", "--concurrency=8", "--filename", file][..], how].concat();
    let diff: Output = kubectl(cluster, &args).output().await?;
    ensure!(diff.code == Some(0), "{}", diff.text());
    Ok(())
}

/// The version of each of these objects.
async fn versions(
    cluster: &Cluster,
    namespace: &str,
    objects: &[Value],
) -> Result<BTreeMap<String, Option<String>>> {
    let mut all = BTreeMap::new();
    for object in objects {
        let (api, name) = place(cluster, namespace, object).await?;
        let held = api.get(&name).await.with_context(|| named(object))?;
        all.insert(named(object), held.metadata.resource_version);
    }
    Ok(all)
}

/// The API and the name of an object.
async fn place(
    cluster: &Cluster,
    namespace: &str,
    object: &Value,
) -> Result<(Api<DynamicObject>, String)> {
    let parsed: DynamicObject = serde_json::from_value(object.clone())?;
    let types = parsed.types.context("no kind")?;
    let api = apply::api_of(&cluster.client, namespace, &types).await?;
    Ok((api, parsed.metadata.name.context("no name")?))
}

fn as_operator() -> PatchParams {
    PatchParams {
        field_manager: Some("oarmaster-operator".to_owned()),
        ..PatchParams::default()
    }
}

/// Writes what the operator would.
async fn looked_at(
    cluster: &Cluster,
    namespace: &str,
    object: &Value,
    statuses: &BTreeMap<String, Value>,
) -> Result<()> {
    let kind = object["kind"].as_str().unwrap_or_default();
    let Some(status) = statuses.get(kind) else {
        return Ok(()); // a Secret or a ConfigMap
    };
    let (api, name) = place(cluster, namespace, object).await?;
    let mut status = status.clone();
    status["observedGeneration"] = json!(1);
    let patch = Patch::Merge(json!({ "status": status }));
    api.patch_status(&name, &as_operator(), &patch)
        .await
        .with_context(|| named(object))?;
    Ok(())
}

/// Applies one part in one way, has the operator look at it, and demands that nothing is left to do.
async fn at_rest(
    space: &Space,
    folder: &Path,
    objects: &[Value],
    how: &[&str],
    statuses: &BTreeMap<String, Value>,
) -> Result<()> {
    let cluster = &space.cluster;
    let mut list = objects.to_vec();
    for object in &mut list {
        if scope(cluster, object).await? == Scope::Namespaced {
            object["metadata"]["namespace"] = json!(space.name);
        }
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": list});
    let file = folder.join(format!("{}.json", space.name));
    fs::write(&file, list.to_string())?;
    let file = file.display().to_string();
    applied(cluster, &file, how).await?;
    for object in objects {
        looked_at(cluster, &space.name, object, statuses).await?;
    }
    let before = versions(cluster, &space.name, objects).await?;
    same(cluster, &file, how).await?;
    applied(cluster, &file, how).await?;
    let after = versions(cluster, &space.name, objects).await?;
    ensure!(before == after, "{before:#?}\n{after:#?}");
    Ok(())
}

async fn scope(cluster: &Cluster, object: &Value) -> Result<Scope> {
    let types: TypeMeta = serde_json::from_value(object.clone())?;
    let kind = GroupVersionKind::try_from(&types)?;
    let (_, capabilities) = oneshot::pinned_kind(&cluster.client, &kind).await?;
    Ok(capabilities.scope)
}

/// Takes away what no namespace takes with it.
async fn removed(cluster: &Cluster, objects: &[Value]) -> Result<()> {
    for object in objects {
        if scope(cluster, object).await? == Scope::Cluster {
            let (api, name) = place(cluster, "", object).await?;
            match api.delete(&name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                other => drop(other?),
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn samples_are_at_rest_once_they_were_applied() -> Result<()> {
    in_space("drift", async |space| {
        let _alone = OF_THE_CLUSTER.lock().await;
        let (all, statuses) = (samples(space).await?, statuses()?);
        let kinds: BTreeSet<_> = all
            .iter()
            .map(|object| object["kind"].to_string())
            .collect();
        ensure!(kinds.len() > 6, "{kinds:?}");
        let folder = tempfile::tempdir()?;
        for objects in parts(all) {
            for how in WAYS {
                let done = in_space("drift-part", async |part| {
                    at_rest(part, folder.path(), &objects, how, &statuses)
                        .await
                        .with_context(|| format!("{how:?}"))
                })
                .await;
                removed(&space.cluster, &objects).await?;
                done?;
            }
        }
        Ok(())
    })
    .await
}

/// The chart as Helm renders it.
async fn rendered(cluster: &Cluster) -> Result<Vec<DynamicObject>> {
    let run = cluster.run("helm").dir(checkout());
    let args = ["template", "oarmaster", "charts/oarmaster"];
    let run = run.args(&args).args(&["--namespace", RELEASE]);
    let text = run.args(&["--kube-version=1.33.0"]).stdout().await?;
    apply::documents(&text)
}

/// The parts that the operator writes into: certificates, and by whom the API server knows the webhook.
#[tokio::test]
async fn the_chart_is_at_rest_once_the_operator_has_written_its_certificates() -> Result<()> {
    let cluster = cluster().await?;
    if webhook::runs_pods(&cluster).await? {
        // There the operator does, and whoever installed it has chosen the values.
        return Ok(());
    }
    let chosen = |object: &DynamicObject| {
        let types = object.types.as_ref();
        let kind = types.map_or("", |types| types.kind.as_str());
        matches!(
            kind,
            "Secret" | "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration"
        )
    };
    let mut objects: Vec<Value> = Vec::new();
    for object in rendered(&cluster).await?.iter().filter(|one| chosen(one)) {
        objects.push(serde_json::to_value(object)?);
    }
    ensure!(objects.len() >= 4, "{objects:#?}");
    in_space("drift-chart", async |space| {
        let folder = tempfile::tempdir()?;
        for (number, how) in WAYS.iter().enumerate() {
            // Beside those of the installation, and asked by nobody.
            let suffix = format!("drift-{number}");
            let list: Vec<Value> = objects
                .iter()
                .map(|object| aside(object.clone(), &space.name, &suffix))
                .collect();
            let file = folder.path().join(format!("{suffix}.json"));
            let text = json!({"apiVersion": "v1", "kind": "List", "items": list});
            fs::write(&file, text.to_string())?;
            let file = file.display().to_string();
            let done = chart_at_rest(space, &file, &list, how).await;
            removed(&space.cluster, &list).await?;
            done.with_context(|| format!("{how:?}"))?;
        }
        Ok(())
    })
    .await
}

/// An object of the chart under another name.
fn aside(mut object: Value, namespace: &str, suffix: &str) -> Value {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    object["metadata"]["name"] = json!(format!("{name}-{suffix}"));
    if object["kind"] == "Secret" {
        object["metadata"]["namespace"] = json!(namespace);
    }
    let webhooks = object.get_mut("webhooks").and_then(Value::as_array_mut);
    for webhook in webhooks.into_iter().flatten() {
        let nowhere = json!({"matchLabels": {"oarmaster.dev/e2e-drift": "nowhere"}});
        // What is of no namespace is asked about whatever the selector of namespaces is.
        webhook["objectSelector"] = nowhere.clone();
        webhook["namespaceSelector"] = nowhere;
    }
    object
}

async fn chart_at_rest(space: &Space, file: &str, list: &[Value], how: &[&str]) -> Result<()> {
    let cluster = &space.cluster;
    applied(cluster, file, how).await?;
    for object in list {
        let (api, name) = place(cluster, &space.name, object).await?;
        // As the operator writes: what it issues, and its authority into every webhook.
        let patch = match object["webhooks"].as_array() {
            None => Patch::Merge(json!({
                "metadata": {"annotations": {"oarmaster.dev/issued": "5"}},
                "data": {"tls.crt": "Yw==", "tls.key": "aw=="},
            })),
            Some(webhooks) => {
                let adds = (0..webhooks.len()).map(|number| {
                    json!({"op": "add", "path": format!("/webhooks/{number}/clientConfig/caBundle"), "value": authority()})
                });
                Patch::Json(serde_json::from_value(adds.collect())?)
            }
        };
        let patch: Patch<Value> = patch;
        api.patch(&name, &as_operator(), &patch)
            .await
            .with_context(|| named(object))?;
    }
    let before = versions(cluster, &space.name, list).await?;
    same(cluster, file, how).await?;
    applied(cluster, file, how).await?;
    let after = versions(cluster, &space.name, list).await?;
    if before != after {
        bail!("another apply changed something: {before:#?}\n{after:#?}");
    }
    // Nor does whoever else applies it, in whatever way, find anything to change.
    let known = authorities(cluster, &space.name, list).await?;
    ensure!(known.len() == 2, "{known:?}");
    for other in WAYS.into_iter().chain([FORCED]) {
        same(cluster, file, other).await?;
        applied(cluster, file, other).await?;
        same(cluster, file, other).await?;
        let found = authorities(cluster, &space.name, list).await?;
        ensure!(known == found, "{other:?}: {known:?}\n{found:?}");
    }
    Ok(())
}

/// By which authorities the API server knows the webhooks of each configuration.
async fn authorities(
    cluster: &Cluster,
    namespace: &str,
    list: &[Value],
) -> Result<BTreeMap<String, Vec<Value>>> {
    let mut all = BTreeMap::new();
    for object in list.iter().filter(|object| object["webhooks"].is_array()) {
        let (api, name) = place(cluster, namespace, object).await?;
        let held = api.get(&name).await?;
        let webhooks = held.data["webhooks"].as_array().into_iter().flatten();
        let known: Vec<Value> = webhooks
            .map(|webhook| webhook["clientConfig"]["caBundle"].clone())
            .collect();
        ensure!(known.iter().all(Value::is_string), "{name}: {known:?}");
        all.insert(named(object), known);
    }
    Ok(all)
}

/// A certificate, in the form of a caBundle.
fn authority() -> Value {
    // The API server takes no bundle without a certificate in it.
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let pem = made.map(|made| made.cert.pem()).unwrap_or_default();
    json!(k8s_openapi::ByteString(pem.into_bytes()))
}
