//! Watches: one per kind, each filling one cache and telling whoever is concerned. Nothing polls, and nothing is watched twice.

use super::chain;
use futures::{Stream, StreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, reflector};
use oarmaster_crds::names;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch as flag;

/// A cache that a watch fills.
pub trait Cache<K> {
    /// Takes an event over, and says whether anything that is kept changed by it.
    fn take(&mut self, event: Event<K>) -> bool;
    /// Every object that it holds.
    fn all(&self) -> Vec<Arc<K>>;
}

/// Runs a watch for ever: fills the cache, then calls `touched` for every object that appeared, changed or went. One of which nothing
/// changed that the cache keeps is nobody's business: a pod's status alone is written several times for each thing that counts here.
///
/// After a new list, `touched` is called for every object that is or was there, with the cache already right: what happened while
/// nobody watched is not lost, and nobody acts on the old list.
pub async fn drive<K, C>(
    what: &'static str,
    events: impl Stream<Item = watcher::Result<Event<K>>>,
    mut cache: C,
    touched: impl Fn(&K),
    ready: flag::Sender<bool>,
) where
    K: Clone + 'static,
    C: Cache<K>,
{
    let mut events = pin!(events);
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(watch = what, error = chain(&error), "watch interrupted");
                continue; // the stream backs off and lists again by itself
            }
        };
        match event {
            Event::Apply(object) => {
                if cache.take(Event::Apply(object.clone())) {
                    touched(&object);
                }
            }
            Event::Delete(object) => {
                if cache.take(Event::Delete(object.clone())) {
                    touched(&object);
                }
            }
            Event::InitDone => {
                let before = cache.all();
                cache.take(Event::InitDone);
                for object in before.iter().chain(&cache.all()) {
                    touched(object);
                }
                ready.send_replace(true);
            }
            event => {
                cache.take(event);
            }
        }
    }
}

/// Events of a watch with back-off, without the fields that nobody here reads.
pub fn lean<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Resource + Send,
{
    events.default_backoff().modify(|object| {
        object.meta_mut().managed_fields = None;
    })
}

/// A [`Store`] of kube as a [`Cache`].
pub struct Stored<K: Resource + Clone + 'static>
where
    K::DynamicType: Hash + Eq + Clone,
{
    writer: Writer<K>,
    reader: Store<K>,
}

impl<K> Stored<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    /// The cache and its reading side.
    #[must_use]
    pub fn new() -> (Store<K>, Self) {
        let (reader, writer) = reflector::store();
        (reader.clone(), Self { writer, reader })
    }
}

impl<K> Cache<K> for Stored<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    fn take(&mut self, event: Event<K>) -> bool {
        self.writer.apply_watcher_event(&event);
        true
    }

    fn all(&self) -> Vec<Arc<K>> {
        self.reader.state()
    }
}

/// Facts about objects that carry a Task's UID as label, found by that UID.
pub struct ByTask<F>(Arc<RwLock<HashMap<String, BTreeMap<String, F>>>>);

impl<F> Clone for ByTask<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F> Default for ByTask<F> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<F: Clone> ByTask<F> {
    /// What is known of a Task's objects.
    #[must_use]
    pub fn of(&self, uid: &str) -> Vec<F> {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
        held.get(uid)
            .map(|found| found.values().cloned().collect())
            .unwrap_or_default()
    }
}

/// Fills a [`ByTask`]. Keeps, of each object, its facts and who is to be told.
pub struct Facts<K, F> {
    read: fn(&K) -> F,
    held: ByTask<F>,
    told: HashMap<(String, String), Arc<K>>,
    next: HashMap<(String, String), Arc<K>>,
    slim: fn(&K) -> K,
}

impl<K, F> Facts<K, F>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
    F: Clone + PartialEq,
{
    /// A cache of `read` of each object. `slim` keeps of an object what `touched` looks at.
    #[must_use]
    pub fn new(read: fn(&K) -> F, slim: fn(&K) -> K) -> (ByTask<F>, Self) {
        let held = ByTask::default();
        let filler = Self {
            read,
            held: held.clone(),
            told: HashMap::new(),
            next: HashMap::new(),
            slim,
        };
        (held, filler)
    }

    /// Whether it was not there, or other than it is now.
    fn put(&self, object: &K) -> bool {
        let facts = (self.read)(object);
        let mut held = self.held.0.write().unwrap_or_else(PoisonError::into_inner);
        let of_task = held.entry(task_uid(object)).or_default();
        let name = key(object).1;
        let changed = of_task.get(&name) != Some(&facts);
        if changed {
            of_task.insert(name, facts);
        }
        changed
    }

    fn drop(&self, object: &K) {
        let mut held = self.held.0.write().unwrap_or_else(PoisonError::into_inner);
        let uid = task_uid(object);
        if let Some(found) = held.get_mut(&uid) {
            found.remove(&key(object).1);
            if found.is_empty() {
                held.remove(&uid);
            }
        }
    }
}

impl<K, F> Cache<K> for Facts<K, F>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
    F: Clone + PartialEq,
{
    fn take(&mut self, event: Event<K>) -> bool {
        match event {
            Event::Init => self.next.clear(),
            Event::InitApply(object) => {
                // Facts are put at once: they can only be newer than what is held.
                self.put(&object);
                self.next
                    .insert(key(&object), Arc::new((self.slim)(&object)));
            }
            Event::InitDone => {
                let next = std::mem::take(&mut self.next);
                for (key, object) in std::mem::replace(&mut self.told, next) {
                    if !self.told.contains_key(&key) {
                        self.drop(&object);
                    }
                }
            }
            Event::Apply(object) => {
                self.told
                    .insert(key(&object), Arc::new((self.slim)(&object)));
                return self.put(&object);
            }
            Event::Delete(object) => {
                self.drop(&object);
                self.told.remove(&key(&object));
            }
        }
        true
    }

    fn all(&self) -> Vec<Arc<K>> {
        self.told.values().cloned().collect()
    }
}

/// An object as its name and the Task that it belongs to: by UID as label, by name as annotation.
#[must_use]
pub fn only_task<K: Resource + Default>(object: &K) -> K {
    let only = |held: &Option<BTreeMap<String, String>>, key: &str| {
        let value = held.as_ref()?.get(key)?;
        Some(BTreeMap::from([(key.to_owned(), value.clone())]))
    };
    let meta = object.meta();
    let mut slim = K::default();
    *slim.meta_mut() = ObjectMeta {
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        labels: only(&meta.labels, names::TASK_UID_LABEL),
        annotations: only(&meta.annotations, names::TASK_ANNOTATION),
        ..ObjectMeta::default()
    };
    slim
}

/// A watch whose objects nobody keeps: only that they changed counts.
pub struct Nothing;

impl<K> Cache<K> for Nothing {
    fn take(&mut self, _: Event<K>) -> bool {
        true
    }

    fn all(&self) -> Vec<Arc<K>> {
        Vec::new()
    }
}

fn key<K: Resource>(object: &K) -> (String, String) {
    let meta = object.meta();
    (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

/// The UID of the Task that an object belongs to, by label.
#[must_use]
pub fn task_uid<K: Resource>(object: &K) -> String {
    object
        .meta()
        .labels
        .as_ref()
        .and_then(|labels| labels.get(names::TASK_UID_LABEL))
        .cloned()
        .unwrap_or_default()
}

/// A reference to an object in a namespace.
#[must_use]
pub fn named<K: Resource<DynamicType = ()>>(namespace: &str, name: &str) -> ObjectRef<K> {
    ObjectRef::new(name).within(namespace)
}
#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
