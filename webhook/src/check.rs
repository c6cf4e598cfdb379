//! Checks of Workflows, within bounds: one at a time, off the async threads, and nobody waits longer than the API server does.

use crate::workflow::{self, Verdict};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// Longest wait for a verdict; the API server waits 5 s for the whole answer (`timeoutSeconds` of the ValidatingWebhookConfiguration).
const PATIENCE: Duration = Duration::from_secs(2);

/// Who checks.
#[derive(Clone, Debug)]
pub struct Checks(Arc<Semaphore>);

impl Default for Checks {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Checks {
    /// Checks the text of a spec. A check that takes too long keeps its place until it ends, so that never more than one takes time; who waits behind it
    /// in vain is told that nothing was checked.
    pub async fn check(&self, spec: &str) -> Verdict {
        const BUSY: Verdict =
            Verdict::Unchecked("there was no time for it, since others are checked");
        let deadline = Instant::now() + PATIENCE;
        let place = timeout_at(deadline, Arc::clone(&self.0).acquire_owned()).await;
        // The semaphore is never closed.
        let Ok(Ok(place)) = place else { return BUSY };
        let spec = spec.to_owned();
        let checked = tokio::task::spawn_blocking(move || {
            let _place = place;
            workflow::check(&spec)
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

    #[tokio::test(start_paused = true)]
    async fn one_is_checked_at_a_time_and_nobody_waits_for_ever() {
        let checks = Checks::default();
        let fine = r#"{"steps": [{"name": "a", "wait": {"for": "1s"}}]}"#;
        assert_eq!(checks.check(fine).await, Verdict::Fine);
        let other = checks.0.clone().acquire_owned().await.unwrap();
        let before = Instant::now();
        let verdict = checks.check(fine).await;
        assert!(matches!(verdict, Verdict::Unchecked(why) if why.contains("no time")));
        assert_eq!(before.elapsed(), PATIENCE);
        drop(other);
        assert_eq!(checks.check(fine).await, Verdict::Fine);
    }
}
