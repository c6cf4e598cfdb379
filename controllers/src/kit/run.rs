//! Runs a controller: one way for every kind. Whose turn it is says [`Queue`]; here its passes are made.
//!
//! The Controller of kube-runtime is not used: at its limit of passes at once it takes any object that is due, so that the latest of many waits
//! several times as long as it must, and one namespace's many objects stand in the way of another's one (decision 0046).

use super::context::{Context, Guard};
use super::queue::{Key, Queue};
use super::watch::named;
use super::{Error, Result, chain, ready};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Resolves when the process is to stop; every controller waits for the same one.
pub type Shutdown = Shared<BoxFuture<'static, ()>>;

/// First and longest wait after a failed pass.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// When an object is looked at again after a pass that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action(Option<Duration>);

impl Action {
    /// After this time, or when something happens before.
    #[must_use]
    pub const fn requeue(after: Duration) -> Self {
        Self(Some(after))
    }

    /// When something happens.
    #[must_use]
    pub const fn await_change() -> Self {
        Self(None)
    }
}

/// A controller to run.
pub struct Runner<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    /// Its name in logs and metrics.
    pub kind: &'static str,
    /// The objects.
    pub store: Store<Guard<K>>,
    /// Which of them to look at.
    pub triggers: UnboundedReceiver<ObjectRef<Guard<K>>>,
    /// How many passes at once.
    pub concurrency: u16,
    /// How long to wait for more triggers of one object before a pass.
    pub debounce: Duration,
    /// The pass.
    pub reconcile: fn(Arc<K>, Arc<Context>) -> BoxFuture<'static, Result<Action>>,
}

impl<K> Runner<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// Runs it until shutdown, and until the passes that are under way have ended. The store is to be filled.
    pub async fn run(self, ctx: Arc<Context>, shutdown: Shutdown, api: Api<K>) {
        let Self {
            kind,
            store,
            triggers,
            concurrency,
            debounce,
            reconcile,
        } = self;
        let pass = |key: &Key| {
            let object = store.get(&reference(key))?;
            Some(pass(kind, object, Arc::clone(&ctx), api.clone(), reconcile))
        };
        passes(
            kind,
            triggers,
            usize::from(concurrency),
            debounce,
            shutdown,
            pass,
        )
        .await;
    }
}

/// Makes passes in the order of the queue, until shutdown and the end of those that are under way. `pass` gives none for an object that is
/// gone.
async fn passes<K: Resource<DynamicType = ()>>(
    kind: &'static str,
    mut triggers: UnboundedReceiver<ObjectRef<K>>,
    concurrency: usize,
    debounce: Duration,
    shutdown: Shutdown,
    pass: impl Fn(&Key) -> Option<BoxFuture<'static, Result<Action>>>,
) {
    let mut queue = Queue::new(concurrency);
    let mut failures = Failures::default();
    let mut under_way = JoinSet::new();
    let mut shutdown = shutdown;
    loop {
        while under_way.len() < concurrency
            && let Some(key) = queue.take(Instant::now())
        {
            let Some(pass) = pass(&key) else {
                failures.forget(&key);
                queue.done(key, None);
                continue;
            };
            under_way.spawn(async move {
                // One object that a pass cannot bear does not stop the others.
                let done = AssertUnwindSafe(pass).catch_unwind().await;
                (key, done.ok())
            });
        }
        let next = queue.next().filter(|_| under_way.len() < concurrency);
        tokio::select! {
            () = &mut shutdown => break,
            Some(done) = under_way.join_next() => {
                let Ok((key, done)) = done else { continue }; // nobody aborts them, and none panics
                let after = match done {
                    Some(Ok(Action(after))) => {
                        failures.forget(&key);
                        after
                    }
                    failed => {
                        let after = failures.next(&key);
                        tell(kind, &key, failed.and_then(Result::err).as_ref(), after);
                        Some(after)
                    }
                };
                let again = after.map(|after| Instant::now() + after.max(debounce));
                queue.done(key, again);
            }
            trigger = triggers.recv() => {
                let Some(object) = trigger else { break };
                let at = Instant::now() + debounce;
                queue.wants(key_of(object), at);
                // Those that came with it.
                while let Ok(object) = triggers.try_recv() {
                    queue.wants(key_of(object), at);
                }
            }
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
        }
    }
    drop(triggers); // nobody needs them any more
    while under_way.join_next().await.is_some() {}
}

/// One pass over an object.
fn pass<K>(
    kind: &'static str,
    object: Arc<Guard<K>>,
    ctx: Arc<Context>,
    api: Api<K>,
    reconcile: fn(Arc<K>, Arc<Context>) -> BoxFuture<'static, Result<Action>>,
) -> BoxFuture<'static, Result<Action>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    async move {
        let begun = Instant::now();
        let done = match &object.0 {
            Ok(readable) => reconcile(Arc::new(readable.clone()), Arc::clone(&ctx)).await,
            Err(_) => ready::unreadable(api, object, Arc::clone(&ctx)).await,
        };
        // Nothing is made in a namespace that is being deleted, and what is there goes: its deletion is the next that is heard of it.
        let done = match done {
            Err(error) if error.is_terminating() => {
                tracing::debug!(
                    kind,
                    error = chain(&error),
                    "its namespace is being deleted"
                );
                Ok(Action::await_change())
            }
            done => done,
        };
        let error = done.as_ref().err().map(Error::category);
        ctx.metrics.pass(kind, begun.elapsed(), error);
        done
    }
    .boxed()
}

/// Tells of a pass that failed, or with no error panicked.
fn tell(kind: &'static str, (namespace, name): &Key, error: Option<&Error>, wait: Duration) {
    let retry_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    match error {
        Some(error) => tracing::warn!(
            kind,
            namespace,
            name,
            category = error.category(),
            error = chain(error),
            retry_in_ms,
            "pass failed"
        ),
        None => tracing::error!(kind, namespace, name, retry_in_ms, "pass panicked"),
    }
}

fn key_of<K: Resource<DynamicType = ()>>(object: ObjectRef<K>) -> Key {
    (object.namespace.unwrap_or_default(), object.name)
}

fn reference<K: Resource<DynamicType = ()>>((namespace, name): &Key) -> ObjectRef<K> {
    if namespace.is_empty() {
        return ObjectRef::new(name);
    }
    named(namespace, name)
}

/// Passes that failed in a row, by object.
#[derive(Default)]
struct Failures(HashMap<Key, u32>);

impl Failures {
    fn next(&mut self, key: &Key) -> Duration {
        let count = self.0.entry(key.clone()).or_insert(0);
        let (first, longest) = BACK_OFF;
        let wait = first
            .saturating_mul(2u32.saturating_pow(*count))
            .min(longest);
        *count = count.saturating_add(1).min(16);
        wait
    }

    fn forget(&mut self, key: &Key) {
        self.0.remove(key);
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
