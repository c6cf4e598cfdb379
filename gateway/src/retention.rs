//! Lets go what is no longer kept, and keeps an eye on the volume.

use crate::error::ApiFailure;
use crate::identity::ask;
use crate::state::Gateway;
use futures::StreamExt;
use kube::core::{DeserializeGuard, Status};
use kube::{Api, Client};
use oarmaster_crds::Task;
use oarmaster_crds::kinds::task::Phase;
use oarmaster_protocol::assignment::TaskRef;
use oarmaster_store::{Erased, Limits, Refusal, Swept, Usage};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How often the log is looked through, and how long after the start first.
const SWEEP: Duration = Duration::from_secs(3600);
const FIRST: Duration = Duration::from_secs(600);
/// How often where the log has little room left.
const PRESSED: Duration = Duration::from_secs(300);
/// How often the volume is looked at.
const LOOK: Duration = Duration::from_secs(60);
/// Tasks that are asked for at once.
const ASKED: usize = 4;
/// Most Tasks of one pass; the next one goes on.
const TASKS: usize = 10_000;
/// Questions that fail, after which a pass asks no more.
const FAILURES: usize = 10;

/// Sweeps, and looks at the volume, for ever.
pub async fn run(gateway: Arc<Gateway>, client: Client) {
    let sweeps = async {
        let mut last = Instant::now();
        let mut wait = FIRST;
        loop {
            tokio::time::sleep(LOOK).await;
            if gateway.store.is_pressed() {
                wait = wait.min(PRESSED);
            }
            if last.elapsed() >= wait {
                pass(&gateway, &client).await;
                (last, wait) = (Instant::now(), SWEEP);
            }
        }
    };
    let looks = async {
        let mut look = tokio::time::interval(LOOK);
        loop {
            look.tick().await;
            gateway.look_at_volume();
        }
    };
    tokio::join!(sweeps, looks);
}

/// One pass: lets go what is due, of Tasks what of those that are over.
pub async fn pass(gateway: &Gateway, client: &Client) {
    let over = over(gateway.store.over_due(), client).await;
    loop {
        match gateway.store.sweep(&over).await {
            Ok(swept) => {
                let Swept {
                    journals,
                    artifacts,
                    blobs,
                    segments,
                    grown,
                } = swept;
                if swept != Swept::default() {
                    tracing::info!(
                        journals,
                        artifacts,
                        blobs,
                        segments,
                        grown,
                        "let go what is no longer kept"
                    );
                }
                if journals == 0 {
                    break;
                }
            }
            Err(error) => {
                tracing::error!(%error, "cannot let go what is no longer kept; the next pass tries again");
                break;
            }
        }
    }
    gateway.look_at_volume();
}

/// Erases what is kept of a person, as far as it is over; with `try_only` says what that is.
///
/// # Errors
/// Those of the store. What is not known to be over stays.
pub async fn erase(
    gateway: &Gateway,
    client: &Client,
    requester: &str,
    try_only: bool,
) -> Result<Erased, Refusal> {
    let over = over(gateway.store.asked_for_by(requester), client).await;
    gateway.store.erase(requester, &over, try_only).await
}

/// Which of these Tasks are over, by UID.
async fn over(mut due: Vec<TaskRef>, client: &Client) -> HashSet<String> {
    // Of those that wait and stay, however many, none keeps others from being asked for.
    fastrand::shuffle(&mut due);
    let failures = AtomicUsize::new(0);
    let asked = due.into_iter().take(TASKS).map(async |task| {
        if failures.load(Ordering::Relaxed) >= FAILURES {
            return None;
        }
        match is_over(client, &task).await {
            Ok(over) => over.then_some(task.uid),
            Err(error) => {
                failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, "cannot find out whether a Task is over; it is kept");
                None
            }
        }
    });
    let asked = futures::stream::iter(asked).buffer_unordered(ASKED);
    asked.filter_map(std::future::ready).collect().await
}

/// Whether a Task has ended, was deleted, or is another one of that name.
async fn is_over(client: &Client, task: &TaskRef) -> Result<bool, ApiFailure> {
    let api: Api<DeserializeGuard<Task>> = Api::namespaced(client.clone(), &task.namespace);
    let name = &task.name;
    let read = async {
        match api.get(name).await {
            Err(kube::Error::Api(status)) if is_gone(&status, name) => Ok(None),
            found => found.map(Some),
        }
    };
    let Some(found) = ask("read of a Task", read).await? else {
        return Ok(true);
    };
    let found = found.0.map_err(|error| {
        ApiFailure::unavailable(format!(
            "Task {}/{name} cannot be understood: {}",
            task.namespace, error.error
        ))
    })?;
    let phase = found.status.and_then(|status| status.phase);
    let ended = matches!(
        phase,
        Some(Phase::Succeeded | Phase::Failed | Phase::Cancelled | Phase::RolledBack)
    );
    Ok(ended || found.metadata.uid.as_deref() != Some(&task.uid))
}

/// Whether the API server says that this Task is not there. A version of the API that is not served, or a proxy's page, has the same code.
fn is_gone(status: &Status, name: &str) -> bool {
    let details = status.details.as_ref();
    let ours = details.is_some_and(|details| details.kind == "tasks" && details.name == name);
    status.code == 404 && status.reason == "NotFound" && ours
}

/// The parts of a volume of this size: the log has at most 60 %, journals of Tasks 50 of them, and artifacts 30 %. The rest is for what is written
/// anew.
#[must_use]
pub fn limits(volume: u64) -> Limits {
    let tenth = volume / 10;
    Limits {
        log: tenth.saturating_mul(6),
        tasks: tenth.saturating_mul(5),
        blobs: tenth.saturating_mul(3),
    }
}

/// The size of the volume under a directory, of which `own` bytes are used already. A disk that others fill, too, is as large as what is left of it.
///
/// # Errors
/// When it cannot be asked for.
pub fn volume(dir: &Path, own: u64) -> std::io::Result<u64> {
    let found = nix::sys::statvfs::statvfs(dir)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.fragment_size());
    let left = bytes(found.blocks_available());
    Ok(bytes(found.blocks()).min(own.saturating_add(left)))
}

impl Gateway {
    /// Takes up the volume's size, which may have been expanded, and says when it is full.
    fn look_at_volume(&self) {
        let Usage { log, blobs, .. } = self.store.volume();
        match volume(self.store.dir(), log.saturating_add(blobs)) {
            Ok(bytes) => self.store.limit(limits(bytes)),
            Err(error) => tracing::warn!(%error, "cannot ask for the size of the volume"),
        }
        self.health.set_full(self.store.full());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::response::StatusDetails;

    #[test]
    fn a_volume_has_parts_and_a_rest() {
        let Limits { log, tasks, blobs } = limits(10 << 30);
        assert_eq!((log, tasks, blobs), (6 << 30, 5 << 30, 3 << 30));
        let dir = tempfile::tempdir().unwrap();
        let (all, left) = (
            volume(dir.path(), u64::MAX).unwrap(),
            volume(dir.path(), 0).unwrap(),
        );
        assert!(left > 1 << 20 && left <= all);
        assert!(volume(&dir.path().join("none"), 0).is_err());
    }

    #[test]
    fn only_the_api_server_says_that_a_task_is_gone() {
        let gone = Status {
            code: 404,
            reason: "NotFound".into(),
            details: Some(StatusDetails {
                name: "fix".into(),
                kind: "tasks".into(),
                group: "oarmaster.dev".into(),
                uid: String::new(),
                causes: vec![],
                retry_after_seconds: 0,
            }),
            ..Status::default()
        };
        assert!(is_gone(&gone, "fix"));
        assert!(!is_gone(&gone, "other"));
        let no_version = Status {
            details: None,
            ..gone.clone()
        };
        let page = Status {
            reason: "Failed to parse error data".into(),
            ..no_version.clone()
        };
        let namespace = Status { code: 403, ..gone };
        for status in [no_version, page, namespace] {
            assert!(!is_gone(&status, "fix"), "{status:?}");
        }
    }
}
