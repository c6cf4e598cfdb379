//! Checks of objects, within bounds: few at a time, off the async threads, and nobody waits longer than the API server does.

use crate::objects::{self, Asked, Verdict};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// Longest wait for a verdict; the API server waits 5 s for the whole answer (`timeoutSeconds` of the ValidatingWebhookConfiguration).
const PATIENCE: Duration = Duration::from_secs(2);

/// Who checks: one at a time of what has a graph, and one of the rest, which takes milliseconds and waits for no graph.
#[derive(Clone, Debug)]
pub struct Checks {
    graphs: Arc<Semaphore>,
    rest: Arc<Semaphore>,
}

impl Default for Checks {
    fn default() -> Self {
        let one = || Arc::new(Semaphore::new(1));
        Self {
            graphs: one(),
            rest: one(),
        }
    }
}

impl Checks {
    /// Checks an object. A check that takes too long keeps its place until it ends, so that never more than one takes time; who waits behind it in vain is
    /// told that nothing was checked.
    pub async fn check(&self, asked: Asked<'_>) -> Verdict {
        const BUSY: Verdict =
            Verdict::Unchecked("there was no time for it, since others are checked");
        let places = if asked.has_a_graph() {
            &self.graphs
        } else {
            &self.rest
        };
        let deadline = Instant::now() + PATIENCE;
        let place = timeout_at(deadline, Arc::clone(places).acquire_owned()).await;
        // The semaphore is never closed.
        let Ok(Ok(place)) = place else { return BUSY };
        let Asked {
            kind,
            spec,
            namespace,
        } = asked;
        let (spec, namespace) = (spec.to_owned(), namespace.to_owned());
        let checked = tokio::task::spawn_blocking(move || {
            let _place = place;
            objects::check(Asked {
                kind,
                spec: &spec,
                namespace: &namespace,
            })
        });
        match timeout_at(deadline, checked).await {
            Ok(Ok(verdict)) => verdict,
            // It panicked.
            Ok(Err(_)) => Verdict::Unchecked("the check broke off"),
            Err(_) => Verdict::Unchecked("its check takes too long"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Kind;

    #[tokio::test(start_paused = true)]
    async fn one_is_checked_at_a_time_and_nobody_waits_for_ever() {
        let checks = Checks::default();
        let of = |kind, spec| Asked {
            kind,
            spec,
            namespace: "team",
        };
        let graph = of(
            Kind::Workflow,
            r#"{"steps": [{"name": "a", "wait": {"for": "1s"}}]}"#,
        );
        let task = of(Kind::Task, r#"{"run": {"command": ["true"]}}"#);
        assert_eq!(checks.check(graph).await, Verdict::Fine);
        let other = checks.graphs.clone().acquire_owned().await.unwrap();
        let before = Instant::now();
        assert_eq!(checks.check(task).await, Verdict::Fine);
        assert_eq!(before.elapsed(), Duration::ZERO, "it waits for no graph");
        let verdict = checks.check(graph).await;
        assert!(matches!(verdict, Verdict::Unchecked(why) if why.contains("no time")));
        assert_eq!(before.elapsed(), PATIENCE);
        drop(other);
        assert_eq!(checks.check(graph).await, Verdict::Fine);
    }
}
