//! Looks again at the namespaces whose policy, or whose gateway, changed.

use super::act::mend;
use crate::kit::changes::live;
use crate::kit::context::{Context, Guard};
use crate::kit::{Error, chain};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use kube::ResourceExt as _;
use kube::runtime::reflector::Store;
use oarmaster_crds::Task;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

/// How long to wait before a namespace whose policy could not be mended is looked at again.
const RETRY: Duration = Duration::from_secs(5);

/// The namespaces in which a Task has an attempt that has not ended.
#[must_use]
pub fn namespaces(tasks: &Store<Guard<Task>>) -> BTreeSet<String> {
    let running = tasks.state_filter(live);
    running.iter().filter_map(|task| task.namespace()).collect()
}

/// Looks at every namespace with running Tasks once, since policies may have changed while nobody watched; then at those that `changed`
/// names, for ever.
pub async fn follow(ctx: Arc<Context>, mut changed: UnboundedReceiver<String>) {
    let later = |namespace| async move {
        tokio::time::sleep(RETRY).await;
        namespace
    };
    let mut again = FuturesUnordered::new();
    for namespace in namespaces(&ctx.stores.tasks) {
        if !look(&ctx, &namespace).await {
            again.push(later(namespace));
        }
    }
    loop {
        let namespace = tokio::select! {
            Some(namespace) = changed.recv() => namespace,
            Some(namespace) = again.next() => namespace,
            else => return,
        };
        if !look(&ctx, &namespace).await {
            again.push(later(namespace));
        }
    }
}

/// Mends one namespace; `false` when it is to be tried again.
async fn look(ctx: &Context, namespace: &str) -> bool {
    let needed = namespaces(&ctx.stores.tasks).contains(namespace);
    match mend(ctx, namespace, needed).await {
        Ok(()) => true,
        Err(error) if ends(&error) => true,
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

/// Whether the namespace is being deleted: the policy goes with it, and nothing is made there any more.
fn ends(error: &Error) -> bool {
    let details = error.status().and_then(|status| status.details.as_ref());
    error.is_not_found()
        || details.is_some_and(|details| {
            let mut causes = details.causes.iter();
            causes.any(|cause| cause.reason == "NamespaceTerminating")
        })
}
