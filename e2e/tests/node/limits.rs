//! What a namespace may have at once, and Tasks in a queue of Kueue's.

use crate::support::{beside_others, create, run};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use oarmaster_crds::conditions;
use oarmaster_crds::kinds::task::Phase;
use oarmaster_crds::{Task, names};
use oarmaster_e2e::Space;
use oarmaster_e2e::installed::RELEASE;
use serde_json::{Value, json};

/// Says what a namespace may have at once, beside what is said of others; `null`: whatever it wants. Other tests say it of theirs.
async fn limit(space: &Space, limit: &Value) -> Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(space.cluster.client.clone(), RELEASE);
    loop {
        let mut held = maps.get(names::LIMITS).await?;
        let data = held.data.as_mut().context("no data")?;
        let text = data.get_mut("limits").context("no limits")?;
        let mut all: Value = serde_json::from_str(text)?;
        let of = all
            .get_mut("namespaces")
            .and_then(Value::as_object_mut)
            .context("no namespaces")?;
        match limit {
            Value::Null => of.remove(&space.name),
            limit => of.insert(space.name.clone(), limit.clone()),
        };
        *text = all.to_string();
        match maps
            .replace(names::LIMITS, &kube::api::PostParams::default(), &held)
            .await
        {
            Err(kube::Error::Api(status)) if status.is_conflict() => {}
            done => return done.map(|_| ()).map_err(Into::into),
        }
    }
}

/// The reason and the message of why a Task is not Ready.
fn why(task: &Task) -> (String, String) {
    let status = task.status.as_ref();
    let ready = status.and_then(|status| conditions::find(&status.conditions, conditions::READY));
    ready.map_or_else(Default::default, |held| {
        (held.reason.clone(), held.message.clone())
    })
}

fn phase(task: &Task) -> Option<Phase> {
    task.status.as_ref().and_then(|status| status.phase)
}

fn waits(task: &Task, reason: &str) -> bool {
    phase(task) == Some(Phase::Queued) && why(task).0 == reason
}

fn job_of(task: &Task) -> Result<String> {
    let name = task.metadata.name.as_deref().context("no name")?;
    let uid = task.metadata.uid.as_deref().context("no UID")?;
    Ok(names::job_name(name, uid, 1))
}

/// A program that runs until its Task is deleted.
fn long(name: &str, priority: i64) -> Value {
    let shell = json!({"language": "shell", "code": "sleep 300"});
    run(name, shell, &json!({"priority": priority}))
}

#[tokio::test]
async fn a_namespace_runs_as_many_tasks_as_it_may_by_priority_and_changes_have_an_effect_at_once()
-> Result<()> {
    beside_others("limits", async |space| {
        limit(space, &json!({"runningTasks": 1, "maxPriority": 10})).await?;
        create(space, &[long("first", 0)]).await?;
        space
            .task_until("first", "it runs", |task| {
                phase(task) == Some(Phase::Running)
            })
            .await?;
        create(space, &[long("low", -1), long("high", 500)]).await?;
        for name in ["low", "high"] {
            space
                .task_until(name, "it waits", |task| waits(task, "NamespaceBusy"))
                .await?;
        }
        let high: Task = space.api().get("high").await?;
        let text = why(&high).1;
        ensure!(text.contains("500 counts as 10"), "{text}");
        let jobs = space.api::<Job>().list(&ListParams::default()).await?;
        ensure!(jobs.items.len() == 1, "{} Jobs", jobs.items.len());

        space
            .kubectl(&["delete", "task.oarmaster.dev", "first"])
            .await?;
        space
            .task_until("high", "it runs", |task| {
                phase(task) == Some(Phase::Running)
            })
            .await?;
        let low: Task = space.api().get("low").await?;
        ensure!(waits(&low, "NamespaceBusy"), "{:?}", why(&low));

        limit(space, &json!({"runningTasks": 2})).await?;
        space
            .task_until("low", "it runs", |task| phase(task) == Some(Phase::Running))
            .await?;
        limit(space, &Value::Null).await
    })
    .await
}

#[tokio::test]
async fn a_task_in_a_queue_runs_when_it_is_let_and_goes_on_when_it_is_suspended() -> Result<()> {
    beside_others("queue", async |space| {
        let shell = json!({"language": "shell", "code": "sleep 5; echo done"});
        create(space, &[run("work", shell, &json!({"queue": "q"}))]).await?;
        let task = space
            .task_until("work", "it waits", |task| waits(task, "InQueue"))
            .await?;
        let name = job_of(&task)?;
        let kueue = space.cluster.acting_as(
            "system:serviceaccount:kueue-system:kueue-controller-manager",
            &["system:masters"],
        )?;
        let jobs: Api<Job> = Api::namespaced(kueue, &space.name);
        let labels = jobs.get(&name).await?.metadata.labels.unwrap_or_default();
        ensure!(
            labels.get(names::QUEUE_LABEL).map(String::as_str) == Some("q"),
            "{labels:?}"
        );
        let suspend = async |name: &str, suspend: bool| {
            let patch = Patch::Merge(json!({"spec": {"suspend": suspend}}));
            jobs.patch(name, &PatchParams::default(), &patch).await
        };
        suspend(&name, false).await?;
        space
            .task_until("work", "it runs", |task| {
                phase(task) == Some(Phase::Running)
            })
            .await?;
        suspend(&name, true).await?;
        let task = space
            .task_until("work", "it waits again", |task| {
                let attempt = task.status.as_ref().and_then(|status| status.attempt);
                attempt == Some(2) && waits(task, "InQueue")
            })
            .await?;
        let disruptions = task.status.and_then(|status| status.disruptions);
        ensure!(disruptions == Some(1), "{disruptions:?}");
        let uid = task.metadata.uid.context("no UID")?;
        suspend(&names::job_name("work", &uid, 2), false).await?;
        space.complete("work").await?;
        Ok(())
    })
    .await
}
