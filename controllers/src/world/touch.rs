//! Triggers: which objects are looked at again.

use super::Sender;
use crate::kit::changes::Gone;
use crate::kit::context::{Context, Guard};
use crate::kit::watch::{ByTask, named, task_uid};
use crate::task::assignment::task_ref;
use crate::task::census::has_ended;
use crate::task::limits::Limits;
use crate::task::places::{Places, Shown};
use crate::task::pod::JobFacts;
use crate::task::requests;
use crate::task::run::slot;
use arc_swap::ArcSwap;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Resource;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::Event;
use oarmaster_crds::access::{AllowedFrom, AllowedNamespaces};
use oarmaster_crds::conditions::reason;
use oarmaster_crds::kinds::steps::StepKind;
use oarmaster_crds::kinds::task::{Phase, RequestKind};
use oarmaster_crds::{Approval, SandboxClass, Task, conditions, names};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// How many Tasks have not ended.
#[must_use]
pub fn active_tasks(context: &Context) -> usize {
    context.stores.tasks.state_filter(|task| !ended(task)).len()
}

/// Namespaces in which a Task waits for its turn, and the age of the oldest one that does.
#[must_use]
pub fn oldest_queued(context: &Context, now: Timestamp) -> BTreeMap<String, Duration> {
    let tasks = context.stores.tasks.state();
    oldest(tasks.iter().filter_map(|task| queued(task, now)))
}

/// The namespace and age of a Task that waits for its turn.
fn queued(task: &Guard<Task>, now: Timestamp) -> Option<(String, Duration)> {
    let task = task.0.as_ref().ok()?;
    if task.status.as_ref()?.phase != Some(Phase::Queued) {
        return None;
    }
    let created = task.metadata.creation_timestamp.as_ref()?;
    // A clock that is behind the API server's sees a Task that is not made yet.
    let age = Duration::try_from(now.duration_since(created.0)).unwrap_or_default();
    Some((task.metadata.namespace.clone()?, age))
}

fn oldest(ages: impl Iterator<Item = (String, Duration)>) -> BTreeMap<String, Duration> {
    let mut found = BTreeMap::new();
    for (namespace, age) in ages {
        let most = found.entry(namespace).or_insert(age);
        *most = age.max(*most);
    }
    found
}

fn ended(task: &Guard<Task>) -> bool {
    task.0.as_ref().is_ok_and(has_ended)
}

/// Triggers the Task above a Task, and the Approvals that a Task says it asked for.
#[derive(Clone)]
pub(super) struct Asked {
    pub to: Sender<Task>,
    pub approvals: Sender<Approval>,
}

impl Asked {
    pub fn tell(&self, task: &Guard<Task>) {
        let Ok(task) = &task.0 else { return };
        let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
        if let Some(parent) = requests::parent(task) {
            send(&self.to, named(namespace, &parent.name));
        }
        let held = task.status.iter().flat_map(|status| &status.requests);
        for entry in held.filter(|entry| entry.kind == RequestKind::Approval) {
            send(&self.approvals, named(namespace, &entry.name));
        }
        let steps = task
            .status
            .iter()
            .filter_map(|status| status.steps.as_ref());
        for steps in steps {
            let active = steps.active.iter();
            let active = active.filter(|step| step.kind == StepKind::Approval);
            // Of steps that were stopped, too: nobody has to decide any more.
            let ended = steps.failed.iter().filter_map(|step| step.object.as_ref());
            for name in active.map(|step| &step.object).chain(ended) {
                send(&self.approvals, named(namespace, name));
            }
        }
    }
}

/// Whether a Task may be waiting for another object: it has no running attempt.
pub(super) fn waits(task: &Task) -> bool {
    let Some(status) = &task.status else {
        return true;
    };
    !conditions::is_true(&status.conditions, conditions::FINISHED)
        && status.job.is_none()
        && status.attempt_started_at.is_none()
}

/// Whether a Task waits for a Budget.
pub(super) fn waits_for_budget(task: &Task) -> bool {
    let status = task.status.as_ref();
    let held = status
        .and_then(|status| conditions::find(&status.conditions, conditions::BUDGET_AVAILABLE));
    waits(task) && held.is_some_and(|held| held.reason == reason::WINDOW_EXCEEDED)
}

/// Counts the place of a Task as the cache shows it now.
pub(super) fn placed(task: &Guard<Task>, tasks: &Store<Guard<Task>>, places: &Places) {
    let meta = task.meta();
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let uid = meta.uid.as_deref().unwrap_or_default();
    let held = tasks.get(&ObjectRef::from_obj(task));
    let held = held.filter(|held| held.meta().uid == meta.uid);
    let shown = held.and_then(|held| {
        let newest = held.0.as_ref().ok()?;
        let priority = places
            .limits
            .load()
            .of(namespace)
            .priority(newest.spec.priority);
        Shown::of(newest, priority)
    });
    places.saw(namespace, uid, shown);
}

/// Whether a Task waits for a place.
pub(super) fn queues(task: &Task) -> bool {
    let status = task.status.as_ref();
    waits(task) && status.is_some_and(|status| status.phase == Some(Phase::Queued))
}

/// Takes over the limits that a ConfigMap holds, none where it is gone. Whether they are others than before; what cannot be read changes nothing.
pub(super) fn reload(limits: &ArcSwap<Limits>, map: Option<&ConfigMap>) -> bool {
    let read = map.map_or_else(
        || Ok(Limits::default()),
        |map| Limits::read(map.data.as_ref()),
    );
    match read {
        Ok(read) if read == **limits.load() => false,
        Ok(read) => {
            limits.store(Arc::new(read));
            tracing::info!("limits of namespaces are taken over");
            true
        }
        Err(error) => {
            tracing::warn!(
                configmap = names::LIMITS,
                error,
                "limits of namespaces cannot be read, and stay what they were"
            );
            false
        }
    }
}

/// Most runs of a key that are looked at again at once: the first in line. What others say of the line may be behind.
const IN_LINE: usize = 32;

/// Triggers the runs of the same key that a run concerns: those that wait, where it is over or stands aside, and where it takes the place of
/// others all of them.
pub(super) fn rivals(
    task: &Task,
    gone: bool,
    all: &Store<Guard<Task>>,
    places: &Places,
    to: &Sender<Task>,
) {
    let Some(own) = slot::of(task) else {
        return;
    };
    let over = gone || has_ended(task);
    let waits = slot::queues(task);
    let aside = waits && slot::stands_aside(task);
    let concerns = over || aside || (waits && own.replaces);
    if !concerns {
        return;
    }
    let concerned = |other: &Task| {
        let key = slot::of(other).is_some_and(|other| other.key == own.key);
        key && slot::alike(task, other)
            && !has_ended(other)
            && (slot::queues(other) || !(over || aside))
    };
    let all = all.state();
    let all = all.iter().filter_map(|other| other.0.as_ref().ok());
    let mut all: Vec<&Task> = all.filter(|other| concerned(other)).collect();
    if over || aside {
        let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
        let limits = places.limits.load().of(namespace);
        all.sort_by_cached_key(|other| slot::rank(other, &limits));
        all.truncate(IN_LINE);
    }
    for other in all {
        let namespace = other.metadata.namespace.as_deref().unwrap_or_default();
        let name = other.metadata.name.as_deref().unwrap_or_default();
        send(to, named(namespace, name));
    }
}

/// Triggers the readable objects of a cache that match.
pub(super) fn touch<K>(store: &Store<Guard<K>>, to: &Sender<K>, which: impl Fn(&K) -> bool)
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    for object in store.state() {
        if object.0.as_ref().is_ok_and(&which) {
            send(to, ObjectRef::from_obj(&*object));
        }
    }
}

/// Whether a cache has a readable object of which this holds.
pub(super) fn any<K>(store: &Store<Guard<K>>, holds: impl Fn(&K) -> bool) -> bool
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let objects = store.state();
    objects
        .iter()
        .any(|object| object.0.as_ref().is_ok_and(&holds))
}

/// Whether the labels of a namespace decide.
pub(super) fn by_labels(allowed: &AllowedNamespaces) -> bool {
    allowed.from == AllowedFrom::Selector
}

pub(super) fn send<K>(to: &Sender<K>, object: ObjectRef<Guard<K>>)
where
    K: Resource<DynamicType = ()>,
{
    // The receiver is gone only when the controllers are being stopped: then nobody needs the trigger.
    let _ = to.send(object);
}

/// Triggers the Task that a Job or a pod belongs to.
#[derive(Clone)]
pub(super) struct Concerns {
    pub to: Sender<Task>,
    pub tasks: Store<Guard<Task>>,
    pub jobs: ByTask<JobFacts>,
}

impl Concerns {
    /// By annotation; whether it truly belongs to it is seen by UID when the Task is looked at.
    pub fn tell<K: Resource>(&self, object: &K) {
        let meta = object.meta();
        let name = meta
            .annotations
            .as_ref()
            .and_then(|held| held.get(names::TASK_ANNOTATION));
        let (Some(namespace), Some(name)) = (&meta.namespace, name) else {
            return;
        };
        let task: ObjectRef<Guard<Task>> = named(namespace, name);
        // After the end only a Job that is still there is of interest: it is to be deleted.
        let over = self.tasks.get(&task).is_some_and(|task| ended(&task));
        if !over || !self.jobs.of(&task_uid(object)).is_empty() {
            send(&self.to, task);
        }
    }
}

/// Triggers the class that a probe's object belongs to, by annotation; whether it truly does is seen by UID.
pub(super) fn send_class<K: Resource>(to: &Sender<SandboxClass>, object: &K) {
    let annotations = object.meta().annotations.as_ref();
    if let Some(name) = annotations.and_then(|held| held.get(names::CLASS_ANNOTATION)) {
        send(to, ObjectRef::new(name));
    }
}

/// A Task was deleted: it is to be forgotten, and an attempt that has not ended is to be stopped.
pub(super) fn report_gone(event: &Event<Guard<Task>>, to: &UnboundedSender<Gone>) {
    let gone = match event {
        Event::Delete(object) => {
            let Ok(task) = &object.0 else {
                return;
            };
            let attempt = task.status.as_ref().and_then(|status| status.attempt);
            let attempt = attempt
                .filter(|_| !ended(object))
                .and_then(|attempt| u32::try_from(attempt).ok());
            Gone::Task(task_ref(task), attempt)
        }
        Event::InitDone => Gone::Perhaps,
        _ => return,
    };
    let _ = to.send(gone); // as above
}

#[cfg(test)]
mod tests;
