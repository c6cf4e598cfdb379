//! Follows the gateway's stream of changes: triggers the Tasks, providers and budgets that it is about, keeps what it says of them, and stops
//! attempts whose Task is gone.

use super::context::{Context, Guard};
use super::watch::named;
use super::write::{WRITE_TIMEOUT, within};
use super::{Result, chain};
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource, ResourceExt as _};
use oarmaster_crds::conditions;
use oarmaster_crds::{Budget, ModelProvider, Task};
use oarmaster_protocol::admin::{Change, Fence};
use oarmaster_protocol::assignment::TaskRef;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// First and longest wait between two tries to open the stream.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// For how long what changes of Tasks is gathered. Usage only shows progress, and that an attempt has ended is seen by its pod.
const GATHER: Duration = Duration::from_millis(500);

/// How soon an attempt that could not be stopped is stopped again.
const AGAIN: Duration = Duration::from_secs(2);

/// Who is to be triggered.
#[derive(Clone)]
pub struct Triggers {
    /// Tasks, at once.
    pub tasks: UnboundedSender<ObjectRef<Guard<Task>>>,
    /// Tasks of which something changed at the gateway: see [`gather`].
    pub progress: UnboundedSender<ObjectRef<Guard<Task>>>,
    /// ModelProviders.
    pub providers: UnboundedSender<ObjectRef<Guard<ModelProvider>>>,
    /// Budgets.
    pub budgets: UnboundedSender<ObjectRef<Guard<Budget>>>,
}

/// Follows the stream for ever.
pub async fn follow(ctx: Arc<Context>, triggers: Triggers) {
    let (first, longest) = RECONNECT;
    let mut wait = first;
    let mut down = false;
    loop {
        let mut greeted = false;
        let ended = ctx
            .gateway
            .changes(|change| {
                if matches!(change, Change::Hello) {
                    greeted = true;
                    if down {
                        tracing::info!("gateway is back");
                    }
                    down = false;
                }
                let (ctx, triggers) = (&ctx, &triggers);
                async move { take(ctx, triggers, change).await }
            })
            .await;
        if let Err(error) = ended
            && !down
        {
            tracing::warn!(error = chain(&error), "gateway is not reached");
            down = true;
        }
        wait = if greeted {
            first
        } else {
            wait.saturating_mul(2).min(longest)
        };
        tokio::time::sleep(wait).await;
    }
}

/// Hands each object on once for everything that came within [`GATHER`].
pub async fn gather<K: Resource<DynamicType = ()>>(
    mut from: UnboundedReceiver<ObjectRef<K>>,
    to: UnboundedSender<ObjectRef<K>>,
) {
    while let Some(first) = from.recv().await {
        tokio::time::sleep(GATHER).await;
        let mut gathered = HashSet::from([first]);
        while let Ok(next) = from.try_recv() {
            gathered.insert(next);
        }
        for object in gathered {
            let _ = to.send(object); // closed: as in `take`
        }
    }
}

async fn take(ctx: &Context, triggers: &Triggers, change: Change) -> Result<()> {
    // A closed channel means that the controllers are being stopped: then nobody needs the trigger.
    match change {
        Change::Ping => {}
        Change::Task { task } => {
            let _ = triggers.progress.send(named(&task.namespace, &task.name));
        }
        Change::Provider { namespace, name } => {
            health(ctx).await?;
            let _ = triggers.providers.send(named(&namespace, &name));
        }
        Change::Budgets => budgets(ctx, triggers).await?,
        Change::Hello => {
            health(ctx).await?;
            budgets(ctx, triggers).await?;
            for provider in ctx.stores.providers.state() {
                let _ = triggers.providers.send(ObjectRef::from_obj(&*provider));
            }
            for task in ctx.stores.tasks.state() {
                if live(&task) {
                    let _ = triggers.tasks.send(ObjectRef::from_obj(&*task));
                }
            }
            sweep(ctx).await?;
        }
    }
    Ok(())
}

/// Whether a Task has an attempt and has not ended.
pub(crate) fn live(task: &Guard<Task>) -> bool {
    task.0.as_ref().is_ok_and(|task| {
        task.status.as_ref().is_some_and(|status| {
            status.attempt.is_some()
                && !conditions::is_true(&status.conditions, conditions::FINISHED)
        })
    })
}

async fn health(ctx: &Context) -> Result<()> {
    let health = ctx.gateway.health().await?;
    let by_name = health
        .providers
        .into_iter()
        .map(|provider| {
            (
                (provider.namespace.clone(), provider.name.clone()),
                provider,
            )
        })
        .collect();
    ctx.health.store(Arc::new(Some(by_name)));
    Ok(())
}

/// Reads what was counted, and triggers the Budgets of which something changed.
async fn budgets(ctx: &Context, triggers: &Triggers) -> Result<()> {
    let reports = ctx.gateway.budgets().await?;
    let now: HashMap<_, _> = reports
        .into_iter()
        .map(|report| (report.name.clone(), report))
        .collect();
    let before = ctx.budgets.swap(Arc::new(now));
    let now = ctx.budgets.load();
    let changed = now
        .iter()
        .filter(|(name, report)| before.get(*name) != Some(report));
    for (name, _) in changed {
        let _ = triggers.budgets.send(ObjectRef::new(name)); // closed: as in `take`
    }
    Ok(())
}

/// Stops every attempt whose Task is gone. The cache was complete before the stream was opened, and an attempt is opened only for a Task
/// that is in it, so a Task that is not there does not exist. Since it ends for good, the API server is asked all the same: a list may be old.
async fn sweep(ctx: &Context) -> Result<()> {
    for open in ctx.gateway.open_attempts().await? {
        let key = named::<Guard<Task>>(&open.task.namespace, &open.task.name);
        let held = ctx.stores.tasks.get(&key).and_then(|task| task.uid());
        if held.as_deref() != Some(open.task.uid.as_str()) && !exists(ctx, &open.task).await? {
            tracing::info!(
                namespace = open.task.namespace,
                task = open.task.name,
                attempt = open.attempt,
                "fencing an attempt whose task is gone"
            );
            ctx.gateway
                .fence(&open.task.uid, open.attempt, &Fence::deleted())
                .await?;
        }
    }
    Ok(())
}

/// Whether the API server has the Task now.
async fn exists(ctx: &Context, task: &TaskRef) -> Result<bool> {
    let api: Api<Task> = Api::namespaced(ctx.client.clone(), &task.namespace);
    let act = format!("read task {}/{}", task.namespace, task.name);
    let named = ListParams::default().fields(&format!("metadata.name={}", task.name));
    let found = within(WRITE_TIMEOUT, &act, api.list_metadata(&named)).await?;
    let is_it = |found: &PartialObjectMeta<Task>| found.uid().as_deref() == Some(&task.uid);
    Ok(found.iter().any(is_it))
}

/// What is known of Tasks that are gone.
#[derive(Debug)]
pub enum Gone {
    /// This one was deleted; with its attempt, if that has not ended.
    Task(TaskRef, Option<u32>),
    /// All Tasks were listed anew: those that were deleted meanwhile are not told of.
    Perhaps,
}

/// Forgets Tasks that were deleted, and stops their attempts. What cannot be stopped now is tried again.
pub async fn bury(ctx: Arc<Context>, mut gone: UnboundedReceiver<Gone>) {
    let mut open: Vec<(TaskRef, u32)> = Vec::new();
    let mut unsure = false;
    loop {
        let waits = unsure || !open.is_empty();
        let next = tokio::select! {
            next = gone.recv() => match next {
                None => return,
                next => next,
            },
            () = tokio::time::sleep(AGAIN), if waits => None,
        };
        match next {
            Some(Gone::Task(task, attempt)) => {
                ctx.remember(&task.uid, None);
                ctx.forget_run(&task.uid);
                ctx.memos.forget(&task.uid);
                open.extend(attempt.map(|attempt| (task, attempt)));
            }
            Some(Gone::Perhaps) => unsure = true,
            None => {}
        }
        // The list is in the cache before the gateway has answered.
        if unsure {
            match sweep(&ctx).await {
                Ok(()) => unsure = false,
                Err(error) => tracing::debug!(error = chain(&error), "open attempts not read"),
            }
        }
        while let Some((task, attempt)) = open.pop() {
            let deleted = Fence::deleted();
            let fenced = ctx.gateway.fence(&task.uid, attempt, &deleted).await;
            if let Err(error) = fenced {
                tracing::warn!(
                    namespace = task.namespace,
                    task = task.name,
                    attempt,
                    error = chain(&error),
                    "attempt of a deleted task is not fenced yet"
                );
                open.push((task, attempt));
                break;
            }
        }
    }
}
