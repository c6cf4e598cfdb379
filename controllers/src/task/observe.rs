//! What is known of a Task: from the caches, from the gateway where its word counts, and from the API server where a cache may lag
//! behind our own write.

use super::assignment::task_ref;
use super::hire;
use super::memo;
use super::plan::{LATE_USAGE, Observed};
use super::pod::{JobFacts, Pilot, PodFacts};
use super::refs::{self, Looked, Refs, Resolved};
use super::requests::{self, Made};
use crate::agent::pool::{of_agent, of_run};
use crate::kit::context::{Guard, readable};
use crate::kit::write::{WRITE_TIMEOUT, within};
use crate::kit::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Resource};
use oarmaster_crds::kinds::task::DesiredState;
use oarmaster_crds::{Task, TaskStatus, conditions, names};
use oarmaster_protocol::admin::{AttemptReport, Blocked, RoomQuery, RunsIn};
use oarmaster_protocol::assignment::{AgentTarget, Assignment, Target};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Looks.
pub async fn observe(task: &Task, ctx: &Context) -> Result<Observed> {
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    let status = task.status.clone().unwrap_or_default();
    let now = Timestamp::now();
    let finished = conditions::is_true(&status.conditions, conditions::FINISHED);
    let attempt = status.attempt.and_then(|number| u32::try_from(number).ok());
    let waiting = status.next_attempt_at.is_some();
    let stopped = task.spec.state != DesiredState::Running;

    let mut jobs: Vec<JobFacts> = ctx.stores.jobs.of(uid);
    jobs.retain(|job| job.owner_uid == uid);
    let mut foreign_job = false;
    let current = attempt
        .filter(|_| !finished && !waiting)
        .map(|number| job_name(task, number));
    let of_current = |jobs: &[JobFacts]| {
        let name = current.as_ref()?;
        jobs.iter().find(|job| job.name == *name).cloned()
    };
    let mut job = of_current(&jobs);
    let mut shared = None;
    if let Some((number, name)) = attempt.zip(current.as_ref())
        && job.is_none()
    {
        // An attempt that shared pilots run has no Job to look for.
        let report = ctx.gateway.report(uid, number).await?;
        shared = report.filter(|report| report.runs_in == RunsIn::Shared);
        if shared.is_none() {
            // Not there, or not yet in the cache: only the API server knows.
            match live_job(ctx, namespace, name).await? {
                Some(found) if found.owner_uid == uid => jobs.push(found),
                Some(_) => foreign_job = true,
                None => {}
            }
            job = of_current(&jobs);
        }
    }
    let is_shared = shared.is_some();
    let pods = job.as_ref().map(|job| (ctx.stores.pods.of(uid), &job.uid));
    let pod = pods.and_then(|(pods, job)| PodFacts::pick(&pods, job));
    let report = match attempt {
        _ if is_shared => shared,
        // After the Job was looked at: a result is handed in before its pod ends.
        Some(number) if asks(&status, finished, now, stopped, job.as_ref(), pod.as_ref()) => {
            ctx.gateway.report(uid, number).await?
        }
        _ => None,
    };
    let due = status.next_attempt_at.as_ref().is_none_or(|at| at.0 <= now);
    let begins = !finished && !stopped && task.metadata.deletion_timestamp.is_none();
    let begins = begins && due && job.is_none() && !is_shared;
    // What is opened at the gateway is what was pinned: the Agent of today does not count any more.
    let first = refs::first(task) && report.is_none();
    let looked = look(task, ctx, begins && first).await?;
    let refs = if !begins {
        Refs::NotLooked
    } else if first {
        refs::resolve_first(task, &looked)
    } else {
        refs::resolve_again(task, &looked)
    };
    let memo = memo::look(task, ctx, memo::of_refs(task, &refs));
    let stands_in = memo.as_ref().is_some_and(|memo| !memo.leads());
    let blocked = match &refs {
        Refs::Found(resolved) if !stands_in => room(task, ctx, resolved).await?,
        _ => None,
    };
    Ok(Observed {
        made: made(task, ctx, report.as_ref()),
        run: None,
        now,
        startup_timeout: looked
            .class
            .as_ref()
            .and_then(|class| class.spec.startup_timeout.get().ok()),
        busy: hire::place(task, ctx, &refs, blocked.is_some() || stands_in),
        memo,
        refs,
        blocked,
        jobs,
        foreign_job,
        pod,
        report,
        service_account: has_service_account(ctx, namespace),
        gateway_ip: gateway_ip(ctx),
        written: ctx.written(uid),
    })
}

/// The objects that were made for the Task's requests.
fn made(task: &Task, ctx: &Context, report: Option<&AttemptReport>) -> Made {
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    let (tasks, approvals) = requests::names_of(task, report);
    let stores = &ctx.stores;
    Made {
        tasks: held(&stores.tasks, namespace, tasks),
        approvals: held(&stores.approvals, namespace, approvals),
    }
}

fn held<K>(
    store: &Store<Guard<K>>,
    namespace: &str,
    names: BTreeSet<String>,
) -> BTreeMap<String, Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let names = names.into_iter();
    let held =
        names.filter_map(|name| readable(store, namespace, &name).map(|found| (name, found)));
    held.collect()
}

/// The Budget that leaves no room for the next call of an attempt that would begin. Where there is no Budget, nobody is asked.
async fn room(task: &Task, ctx: &Context, resolved: &Resolved) -> Result<Option<Blocked>> {
    if ctx.stores.budgets.is_empty() {
        return Ok(None);
    }
    let (pool, agent) = match &resolved.assignment {
        Some(assignment) => match calls(assignment) {
            (None, _) => return Ok(None), // none
            (pool, agent) => (pool.cloned(), agent),
        },
        None => (None, None),
    };
    let query = RoomQuery {
        task: task_ref(task),
        pool,
        agent: agent.and_then(|agent| agent.pinned.split('@').next().map(str::to_owned)),
        requested_by: task.spec.requested_by.clone(),
    };
    Ok(ctx.gateway.room(&query).await?.blocked)
}

/// Where the model calls of an assignment go, and the agent whose they are, if they are one's.
fn calls(assignment: &Assignment) -> (Option<&String>, Option<&AgentTarget>) {
    match &assignment.target {
        Target::Agent(agent) => (Some(&agent.model), Some(agent)),
        Target::Run(_) => {
            let sandbox = assignment.sandbox.as_ref();
            (sandbox.and_then(|sandbox| sandbox.pool.as_ref()), None)
        }
        Target::Workflow(_) => (None, None),
    }
}

/// Whether the gateway's word can matter to this pass. While a pod is being started it cannot, and after the end only for a while.
fn asks(
    status: &TaskStatus,
    finished: bool,
    now: Timestamp,
    stopped: bool,
    job: Option<&JobFacts>,
    pod: Option<&PodFacts>,
) -> bool {
    if finished {
        return status
            .finished_at
            .as_ref()
            .is_some_and(|end| now.duration_since(end.0).unsigned_abs() < LATE_USAGE);
    }
    let Some(job) = job else {
        return true;
    };
    stopped
        || job.deleting
        || job.ended.is_some()
        || status.attempt_started_at.is_some()
        || pod.is_some_and(|pod| pod.disrupted.is_some() || pod.pilot != Pilot::NotStarted)
}

fn job_name(task: &Task, number: u32) -> String {
    names::job_name(
        task.metadata.name.as_deref().unwrap_or_default(),
        task.metadata.uid.as_deref().unwrap_or_default(),
        number,
    )
}

/// A Job as the API server has it now.
pub(crate) async fn live_job(
    ctx: &Context,
    namespace: &str,
    name: &str,
) -> Result<Option<JobFacts>> {
    let api: Api<Job> = Api::namespaced(ctx.client.clone(), namespace);
    let act = format!("read job {namespace}/{name}");
    let found = within(WRITE_TIMEOUT, &act, api.get_opt(name)).await?;
    Ok(found.as_ref().map(JobFacts::of))
}

/// Looks up what an attempt begins with: for the first all of it, later the class alone.
async fn look(task: &Task, ctx: &Context, first: bool) -> Result<Looked> {
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    let mut looked = Looked {
        uid_range: ctx.uid_range(namespace),
        ..Looked::default()
    };
    if first {
        for named in task.spec.awaited() {
            if let Some(found) = readable(&ctx.stores.tasks, namespace, &named.name) {
                looked.awaited.insert(named.name.clone(), found);
            }
        }
        looked.hired = hire::look(task, ctx);
        let agent = looked.hired.agent.as_deref();
        let named = agent.map(of_agent).or_else(|| of_run(task));
        looked.pool = named.and_then(|named| crate::agent::meant(named, ctx));
    }
    let class = refs::class_name(task, looked.hired.agent.as_deref());
    looked.class = class.and_then(|name| readable(&ctx.stores.classes, "", name));
    if first {
        let names: BTreeSet<&str> = task
            .spec
            .files
            .iter()
            .filter_map(|file| file.config_map.as_ref())
            .map(|named| named.name.as_str())
            .collect();
        for name in names {
            let texts = config_map(ctx, namespace, name).await?;
            looked.config_maps.insert(name.to_owned(), texts);
        }
    }
    Ok(looked)
}

async fn config_map(
    ctx: &Context,
    namespace: &str,
    name: &str,
) -> Result<Option<BTreeMap<String, String>>> {
    let api: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), namespace);
    let act = format!("read config map {namespace}/{name}");
    let found = within(WRITE_TIMEOUT, &act, api.get_opt(name)).await?;
    Ok(found.map(|found| found.data.unwrap_or_default()))
}

fn has_service_account(ctx: &Context, namespace: &str) -> bool {
    let key: ObjectRef<PartialObjectMeta<ServiceAccount>> =
        ObjectRef::new(names::SANDBOX_SERVICE_ACCOUNT).within(namespace);
    ctx.stores.service_accounts.get(&key).is_some()
}

/// The gateway's cluster IP.
pub(crate) fn gateway_ip(ctx: &Context) -> Option<String> {
    let key = ObjectRef::new(&ctx.settings.gateway_service).within(&ctx.settings.namespace);
    let service: Arc<_> = ctx.stores.services.get(&key)?;
    service
        .spec
        .as_ref()?
        .cluster_ip
        .clone()
        .filter(|ip| !ip.is_empty() && ip != "None")
}
