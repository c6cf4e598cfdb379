//! What every phase works with.

use crate::objects;
use crate::seen::Tasks;
use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::api::PostParams;
use oarmaster_crds::{Agent, Task, Workflow, conditions};
use oarmaster_e2e::bench::cpu::Cpu;
use oarmaster_e2e::crash::Rig;
use oarmaster_e2e::crash::scene::me;
use oarmaster_e2e::{Space, wait};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long anything may take before it counts as stuck.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Creations at once of a burst.
const AT_ONCE: usize = 32;

/// What every phase works with.
pub struct World<'a> {
    /// The processes.
    pub rig: &'a Rig,
    /// The namespace.
    pub space: &'a Space,
    /// All Tasks of it.
    pub tasks: Tasks,
    user: String,
    pids: &'a BTreeMap<String, u32>,
}

impl<'a> World<'a> {
    /// Makes what the Tasks need, and waits until it can be used.
    pub async fn make(
        rig: &'a Rig,
        space: &'a Space,
        pids: &'a BTreeMap<String, u32>,
    ) -> Result<Self> {
        for object in objects::needed() {
            space.create(&object.to_string()).await?;
        }
        let ready = |agent: &Agent| is_ready(agent.status.as_ref().map(|held| &*held.conditions));
        wait::until(space.api(), objects::BENCH, "it is ready", PATIENCE, ready).await?;
        let list = format!(
            "/apis/oarmaster.dev/v1alpha1/namespaces/{}/tasks",
            space.name
        );
        Ok(Self {
            rig,
            space,
            tasks: Tasks::follow(space.cluster.client.clone(), list),
            user: me(space).await?,
            pids,
        })
    }

    /// Makes a Workflow, and waits until it can be run.
    pub async fn workflow(&self, name: &str, spec: &Value) -> Result<()> {
        let workflow = objects::workflow(name, spec).to_string();
        self.space.create(&workflow).await?;
        let ready = |held: &Workflow| is_ready(held.status.as_ref().map(|held| &*held.conditions));
        wait::until(self.space.api(), name, "it is ready", PATIENCE, ready).await?;
        Ok(())
    }

    /// Creates a Task.
    pub async fn task(&self, name: &str, spec: &Value) -> Result<()> {
        let mut spec = spec.clone();
        if let Some(fields) = spec.as_object_mut() {
            fields.insert("requestedBy".to_owned(), json!(self.user));
        }
        let task: Task = serde_json::from_value(json!({
            "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task", "metadata": {"name": name}, "spec": spec,
        }))?;
        let tasks: Api<Task> = self.space.api();
        let made = tasks.create(&PostParams::default(), &task).await;
        made.with_context(|| format!("failed to create task {name}"))?;
        Ok(())
    }

    /// Creates Tasks that say the same, as fast as the API server takes them.
    pub async fn burst(&self, names: &[String], spec: &Value) -> Result<()> {
        let made = stream::iter(names).map(|name| self.task(name, spec));
        made.buffer_unordered(AT_ONCE).try_collect().await
    }

    /// What each process has used.
    pub fn look(&self) -> Result<Cpu> {
        let mut pids = self.pids.clone();
        pids.insert("operator".to_owned(), self.operator()?);
        let gateway = self.rig.gateway.pid().context("the gateway has ended")?;
        pids.insert("gateway".to_owned(), gateway);
        Cpu::look(&pids)
    }

    /// The operator's process.
    pub fn operator(&self) -> Result<u32> {
        self.rig.operator.pid().context("the operator has ended")
    }
}

/// Names of a group's Tasks.
pub fn names(group: &str, count: usize) -> Vec<String> {
    let name = |number| format!("{group}-{number:05}");
    (0..count).map(name).collect()
}

fn is_ready(held: Option<&[Condition]>) -> bool {
    held.is_some_and(|held| conditions::is_true(held, conditions::READY))
}
