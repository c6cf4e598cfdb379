//! Looks again at the namespaces whose policy, or whose gateway, changed.

use super::act::mend;
use super::schedule::Schedule;
use crate::kit::chain;
use crate::kit::changes::live;
use crate::kit::context::{Context, Guard};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use kube::ResourceExt as _;
use kube::runtime::reflector::Store;
use oarmaster_crds::Task;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Namespaces that are looked at at once: one that the API server answers slowly does not keep the others waiting.
const AT_ONCE: usize = 8;

/// The namespaces that changed and were not taken up yet: each once.
#[derive(Clone, Default)]
pub struct Changed(Arc<(Mutex<BTreeSet<String>>, Notify)>);

impl Changed {
    /// A namespace changed.
    pub fn add(&self, namespace: String) {
        let (waiting, told) = &*self.0;
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.insert(namespace) {
            told.notify_one();
        }
    }

    /// All of them, as soon as there are any.
    async fn taken(&self) -> BTreeSet<String> {
        let (waiting, told) = &*self.0;
        loop {
            let all = std::mem::take(&mut *waiting.lock().unwrap_or_else(PoisonError::into_inner));
            if !all.is_empty() {
                return all;
            }
            told.notified().await;
        }
    }
}

/// The namespaces in which a Task has an attempt that has not ended.
#[must_use]
pub fn namespaces(tasks: &Store<Guard<Task>>) -> BTreeSet<String> {
    let running = tasks.state_filter(live);
    running.iter().filter_map(|task| task.namespace()).collect()
}

/// Looks at every namespace with running Tasks once, since policies may have changed while nobody watched; then at those that `changed`
/// names, for ever.
pub async fn follow(ctx: Arc<Context>, changed: Changed) {
    for namespace in namespaces(&ctx.stores.tasks) {
        changed.add(namespace);
    }
    let mut schedule = Schedule::default();
    let mut looks = FuturesUnordered::new();
    loop {
        while looks.len() < AT_ONCE
            && let Some(namespace) = schedule.take(Instant::now())
        {
            let ctx = &ctx;
            looks.push(async move {
                let mended = look(ctx, &namespace).await;
                (namespace, mended)
            });
        }
        let next = schedule.next().filter(|_| looks.len() < AT_ONCE);
        tokio::select! {
            namespaces = changed.taken() => {
                let now = Instant::now();
                for namespace in namespaces {
                    ctx.policies.changed(&namespace);
                    schedule.changed(namespace, now);
                }
            }
            Some((namespace, mended)) = looks.next() => schedule.looked(namespace, mended, Instant::now()),
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
        }
    }
}

/// Mends one namespace; `false` when it is to be tried again.
async fn look(ctx: &Context, namespace: &str) -> bool {
    let needed = namespaces(&ctx.stores.tasks).contains(namespace);
    match mend(ctx, namespace, needed).await {
        Ok(()) => true,
        Err(error) if error.is_gone() => true, // the policy goes with its namespace
        Err(error) => {
            tracing::warn!(
                namespace,
                error = chain(&error),
                "network policy of the sandboxes is not mended yet"
            );
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_namespace_that_changed_often_waits_once() {
        let changed = Changed::default();
        for namespace in ["a", "b", "a", "a"] {
            changed.add(namespace.to_owned());
        }
        let both = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        assert_eq!(changed.taken().await, both);
        let (taken, ()) = tokio::join!(changed.taken(), async { changed.add("c".to_owned()) });
        assert_eq!(taken, BTreeSet::from(["c".to_owned()]));
    }
}
