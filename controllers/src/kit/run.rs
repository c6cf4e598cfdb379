//! Runs a controller: one way for every kind.

use super::context::{Context, Guard};
use super::{Error, Result, chain, ready};
use futures::future::{BoxFuture, Shared};
use futures::{FutureExt as _, StreamExt as _, stream};
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_stream::wrappers::UnboundedReceiverStream;

/// Resolves when the process is to stop; every controller waits for the same one.
pub type Shutdown = Shared<BoxFuture<'static, ()>>;

/// First and longest wait after a failed pass.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

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
    /// Runs it until shutdown, and until the passes that are under way have ended.
    pub async fn run(self, ctx: Arc<Context>, shutdown: Shutdown, api: Api<K>) {
        let Self {
            kind,
            store,
            triggers,
            concurrency,
            debounce,
            reconcile,
        } = self;
        let failures = Arc::new(Failures::default());
        let config = Config::default()
            .concurrency(concurrency)
            .debounce(debounce);
        let worked = Arc::clone(&failures);
        let pass = move |object: Arc<Guard<K>>, ctx: Arc<Context>| {
            let api = api.clone();
            let worked = Arc::clone(&worked);
            async move {
                let begun = Instant::now();
                let key = key(object.as_ref());
                let done = match &object.0 {
                    Ok(readable) => reconcile(Arc::new(readable.clone()), Arc::clone(&ctx)).await,
                    Err(_) => ready::unreadable(api, object, Arc::clone(&ctx)).await,
                };
                let error = done.as_ref().err().map(Error::category);
                ctx.metrics.pass(kind, begun.elapsed(), error);
                if done.is_ok() {
                    worked.forget(&key);
                }
                done
            }
        };
        let failed = move |object: Arc<Guard<K>>, error: &Error, _: Arc<Context>| {
            let wait = failures.next(key(object.as_ref()));
            let meta = object.meta();
            tracing::warn!(
                kind,
                namespace = meta.namespace,
                name = meta.name,
                category = error.category(),
                error = chain(error),
                retry_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                "pass failed"
            );
            Action::requeue(wait)
        };
        Controller::for_shared_stream(stream::pending(), store)
            .reconcile_on(UnboundedReceiverStream::new(triggers))
            .with_config(config)
            .graceful_shutdown_on(shutdown.map(|()| ()))
            .run(pass, failed, ctx)
            // Failed passes were logged; what else comes here is a trigger for an object that is gone by now.
            .for_each(|_| futures::future::ready(()))
            .await;
    }
}

/// Passes that failed in a row, by object.
#[derive(Default)]
struct Failures(Mutex<HashMap<String, u32>>);

impl Failures {
    fn next(&self, key: String) -> Duration {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(key).or_insert(0);
        let (first, longest) = BACK_OFF;
        let wait = first
            .saturating_mul(2u32.saturating_pow(*count))
            .min(longest);
        *count = count.saturating_add(1).min(16);
        wait
    }

    fn forget(&self, key: &str) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.remove(key);
    }
}

fn key<K: Resource>(object: &K) -> String {
    object.meta().uid.clone().unwrap_or_default()
}
