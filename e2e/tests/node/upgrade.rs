//! The installation is upgraded from the chart before, removed and installed again while Tasks run.

use crate::support::{agent, alone, create, key, mocked, pool, task, with_class};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use oarmaster_crds::Task;
use oarmaster_e2e::command::xtask;
use oarmaster_e2e::gateway::POD;
use oarmaster_e2e::installed::{RELEASE, image};
use oarmaster_e2e::mock::{Gate, Mock, Reply};
use oarmaster_e2e::task::SOON;
use oarmaster_e2e::{Cluster, Space, release, wait};
use serde_json::json;
use std::collections::BTreeMap;
use std::ops::Range;

/// Live Tasks.
const TASKS: usize = 20;
/// Those that run when the release is removed, begun after the upgrade: a call whose answer is lost twice ends its Task.
const LAST: usize = 2;
/// Tag of the images that are upgraded to.
const TAG: &str = "e2e-next";

fn name(number: usize) -> String {
    format!("work-{number}")
}

/// The same programs under another tag, where the cluster finds them.
async fn next_images(cluster: &Cluster) -> Result<()> {
    let mut names = vec!["runner".to_owned()];
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), RELEASE);
    for pod in pods.list(&ListParams::default()).await? {
        for container in pod.spec.into_iter().flat_map(|spec| spec.containers) {
            if image(&container.name) == container.image.unwrap_or_default() {
                names.push(container.name);
            }
        }
    }
    names.sort();
    names.dedup();
    ensure!(names.len() > 2, "the release has only {names:?}");
    let (tag, only) = (
        format!("--tag={TAG}"),
        format!("--only={}", names.join(",")),
    );
    let registry = std::env::var("OARMASTER_REGISTRY").unwrap_or_default();
    let to = if registry.is_empty() {
        "--load".to_owned()
    } else {
        format!("--push={registry}")
    };
    xtask(&["images", &to, &tag, &only])
        .output()
        .await?
        .success()?;
    Ok(())
}

/// Creates these Tasks.
async fn begin(space: &Space, numbers: Range<usize>) -> Result<()> {
    for number in numbers {
        let mut work = task(&json!({"params": {"prompt": name(number)}}));
        work["metadata"]["name"] = json!(name(number));
        create(space, &[work]).await?;
    }
    Ok(())
}

/// The pods of Tasks: UID and restarts of each.
async fn pods(space: &Space) -> Result<BTreeMap<String, (String, i32)>> {
    let all = space.api::<Pod>().list(&ListParams::default()).await?;
    let restarts = |pod: &Pod| -> i32 {
        let status = pod.status.iter();
        let containers = status.flat_map(|status| status.container_statuses.iter().flatten());
        containers.map(|container| container.restart_count).sum()
    };
    Ok(all
        .iter()
        .map(|pod| {
            (
                pod.name_any(),
                (pod.uid().unwrap_or_default(), restarts(pod)),
            )
        })
        .collect())
}

/// Demands that a Task is complete at its first attempt, and that its one answer and the call that a gateway left open are booked.
async fn complete(space: &Space, number: usize) -> Result<()> {
    let name = name(number);
    let task = space.complete(&name).await?;
    let attempt = task.status.as_ref().and_then(|status| status.attempt);
    assert_eq!(attempt, Some(1), "{name}: {:#?}", task.status);
    let journal = space.journal(&name).await?;
    let booked = journal.booked();
    let estimated = booked.iter().filter(|usage| usage.estimated).count();
    assert_eq!((booked.len(), estimated), (2, 1), "{name}: {journal:#?}");
    Ok(())
}

#[tokio::test]
async fn live_tasks_outlive_an_upgrade_and_a_new_installation() -> Result<()> {
    alone("upgrade", async |space| {
        // Shared pilots are upgraded, too; here it is about pods that are not.
        let class = json!({"sharedPilots": false});
        with_class(space, class, async |_, name| live(space, name).await).await
    })
    .await
}

async fn live(space: &Space, class: &str) -> Result<()> {
    let cluster = &space.cluster;
    let (most, last) = (Gate::default(), Gate::default());
    let (held, held_longer) = (most.clone(), last.clone());
    let mock = Mock::start(cluster, move |call| {
        let number = call.last().rsplit('-').next();
        let late = number.and_then(|number| number.parse().ok()) >= Some(TASKS);
        Reply::text("done").after(if late { &held_longer } else { &held })
    })
    .await?;
    // First, since a build may take longer than a call may be held.
    next_images(cluster).await?;
    let values = release::values(cluster).await?;
    release::previous(cluster).await?;
    let mut worker = agent(&[]);
    worker["spec"]["sandbox"]["class"] = json!({"name": class});
    create(space, &[key("one"), mocked(&mock), pool(), worker]).await?;
    begin(space, 0..TASKS).await?;
    mock.until("every call", SOON, |bill| bill.len() >= TASKS)
        .await?;
    let before = pods(space).await?;
    assert_eq!(before.len(), TASKS);

    let tag = format!("images.tag={TAG}");
    release::upgrade(cluster, &[&tag, "gateway.resources.limits.memory=1000Mi"]).await?;
    let ours: Api<Pod> = Api::namespaced(cluster.client.clone(), RELEASE);
    let gateway = ours.get(POD).await?;
    let runs = gateway
        .spec
        .context("a pod without spec")?
        .containers
        .remove(0);
    ensure!(runs.image.is_some_and(|image| image.ends_with(TAG)));
    // Each call was open when its gateway went, and is asked once more.
    mock.until("every call once more", SOON, |bill| bill.len() >= 2 * TASKS)
        .await?;
    assert_eq!(pods(space).await?, before, "no pod was restarted");
    most.open();
    for number in 0..TASKS {
        complete(space, number).await?;
    }
    assert_eq!(mock.bill().len(), 2 * TASKS);

    begin(space, TASKS..TASKS + LAST).await?;
    let calls = 2 * TASKS + LAST;
    mock.until("the last calls", SOON, |bill| bill.len() >= calls)
        .await?;

    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), RELEASE);
    let ca = secrets.get("oarmaster-ca").await?.data;
    let ended = space.api::<Task>().get(&name(0)).await?;
    release::uninstall(cluster).await?;
    wait::until_gone(ours.clone(), POD, SOON).await?;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client.clone(), RELEASE);
    claims.get(&format!("data-{POD}")).await?;
    let services: Api<Service> = Api::namespaced(cluster.client.clone(), RELEASE);
    let address = services.get("oarmaster-gateway").await?.spec;
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    definitions.get("tasks.oarmaster.dev").await?;
    let alone = pods(space).await?;
    assert_eq!(alone.len(), LAST, "{alone:#?}");

    release::install(cluster, &values).await?;
    assert_eq!(
        secrets.get("oarmaster-ca").await?.data,
        ca,
        "the CA is the one before"
    );
    let now = services.get("oarmaster-gateway").await?.spec;
    assert_eq!(
        now.and_then(|spec| spec.cluster_ip),
        address.and_then(|spec| spec.cluster_ip)
    );
    mock.until("the last calls once more", SOON, |bill| {
        bill.len() >= calls + LAST
    })
    .await?;
    assert_eq!(pods(space).await?, alone, "no pod was restarted");
    last.open();
    for number in TASKS..TASKS + LAST {
        complete(space, number).await?;
    }
    let found = space.api::<Task>().get(&name(0)).await?;
    assert_eq!(found.status, ended.status);
    complete(space, 0).await?;
    assert_eq!(mock.bill().len(), calls + LAST);
    Ok(())
}
