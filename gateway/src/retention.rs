//! Lets go what is no longer kept, and keeps an eye on the volume.

use crate::error::ApiFailure;
use crate::identity::ask;
use crate::state::Gateway;
use futures::StreamExt;
use kube::core::DeserializeGuard;
use kube::{Api, Client};
use oarmaster_crds::Task;
use oarmaster_crds::kinds::task::Phase;
use oarmaster_protocol::assignment::TaskRef;
use oarmaster_store::{Limits, Swept};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often the log is looked through.
const SWEEP: Duration = Duration::from_secs(3600);
/// How often the volume is looked at.
const LOOK: Duration = Duration::from_secs(60);
/// Tasks that are asked for at once.
const ASKED: usize = 4;
/// Most Tasks of one pass; the next one goes on.
const TASKS: usize = 10_000;

/// Sweeps, and looks at the volume, for ever.
pub async fn run(gateway: Arc<Gateway>, client: Client) {
    let mut sweep = tokio::time::interval(SWEEP);
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            _ = sweep.tick() => pass(&gateway, &client).await,
            _ = look.tick() => gateway.look_at_volume(),
        }
    }
}

/// One pass: lets go what is due, of Tasks what of those that are over.
pub async fn pass(gateway: &Gateway, client: &Client) {
    let mut due = gateway.store.over_due();
    // Of those that wait and stay, however many, none keeps others from being asked for.
    fastrand::shuffle(&mut due);
    let asked = due.into_iter().take(TASKS).map(|task| async move {
        match is_over(client, &task).await {
            Ok(true) => Some(task.uid),
            Ok(false) => None,
            Err(error) => {
                tracing::warn!(%error, "cannot find out whether a Task is over; it is kept");
                None
            }
        }
    });
    let asked = futures::stream::iter(asked).buffer_unordered(ASKED);
    let over: HashSet<String> = asked.filter_map(std::future::ready).collect().await;
    match gateway.store.sweep(&over).await {
        Ok(swept) if swept == Swept::default() => {}
        Ok(swept) => {
            let Swept {
                journals,
                artifacts,
                blobs,
                segments,
                bytes,
            } = swept;
            tracing::info!(
                journals,
                artifacts,
                blobs,
                segments,
                bytes,
                "let go what is no longer kept"
            );
        }
        Err(error) => {
            tracing::error!(%error, "cannot let go what is no longer kept; the next pass tries again");
        }
    }
    gateway.look_at_volume();
}

/// Whether a Task has ended, was deleted, or is another one of that name.
async fn is_over(client: &Client, task: &TaskRef) -> Result<bool, ApiFailure> {
    let api: Api<DeserializeGuard<Task>> = Api::namespaced(client.clone(), &task.namespace);
    let Some(found) = ask("read of a Task", api.get_opt(&task.name)).await? else {
        return Ok(true);
    };
    let found = found.0.map_err(|error| {
        ApiFailure::unavailable(format!(
            "Task {}/{} cannot be understood: {}",
            task.namespace, task.name, error.error
        ))
    })?;
    let phase = found.status.and_then(|status| status.phase);
    let ended = matches!(
        phase,
        Some(Phase::Succeeded | Phase::Failed | Phase::Cancelled)
    );
    Ok(ended || found.metadata.uid.as_deref() != Some(&task.uid))
}

/// The parts of a volume of this size: the log has at most 60 %, of which a sixth is for money alone, and artifacts 30 %. The rest is for what
/// is written anew.
#[must_use]
pub fn limits(volume: u64) -> Limits {
    let tenth = volume / 10;
    Limits {
        log: tenth.saturating_mul(6),
        reserved: tenth,
        blobs: tenth.saturating_mul(3),
    }
}

/// The size of the volume under a directory.
///
/// # Errors
/// When it cannot be asked for.
pub fn volume(dir: &Path) -> std::io::Result<u64> {
    let found = nix::sys::statvfs::statvfs(dir)?;
    Ok(found.blocks().saturating_mul(found.fragment_size()))
}

impl Gateway {
    /// Takes up the volume's size, which may have been expanded, and says when it is full.
    fn look_at_volume(&self) {
        match volume(self.store.dir()) {
            Ok(bytes) => self.store.limit(limits(bytes)),
            Err(error) => tracing::warn!(%error, "cannot ask for the size of the volume"),
        }
        self.health.set_full(self.store.full());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_has_parts_and_a_rest() {
        let Limits {
            log,
            reserved,
            blobs,
        } = limits(10 << 30);
        assert_eq!((log, reserved, blobs), (6 << 30, 1 << 30, 3 << 30));
        let dir = tempfile::tempdir().unwrap();
        assert!(volume(dir.path()).unwrap() > 1 << 20);
        assert!(volume(&dir.path().join("none")).is_err());
    }
}
