//! Parts of checkpoints that Tasks send to be kept, and their pace.

use crate::bodies::Room;
use crate::error::ApiFailure;
use crate::identity::sandbox::SandboxPod;
use crate::state::{Caller, Gateway};
use axum::body::Body;
use bytes::Bytes;
use oarmaster_serve::pace::Pace;
use std::sync::Arc;
use std::time::Duration;

/// Parts of checkpoints: what a Task may keep (256 MiB by default) at once, then 8 MiB a second, so that a workspace that is written whole again and again
/// costs the disk no more. A unit is [`UNIT`]. A pilot gives an upload up after a minute, and sends it again.
pub(crate) const PACE: Pace = Pace {
    every: Duration::from_micros(7_812),
    burst: 4096,
    longest: Duration::from_secs(15),
};
/// Bytes of a part of a checkpoint that are one unit.
const UNIT: usize = 64 << 10;

impl Gateway {
    /// The body of a part of a checkpoint, once the parts before it are paid for: at a pace of its own, since a Task that keeps its workspace is not to be
    /// slow in what it asks a model.
    ///
    /// # Errors
    /// As [`Gateway::body`].
    pub async fn checkpoint(
        &self,
        pod: &Arc<SandboxPod>,
        body: Body,
    ) -> Result<(Bytes, Option<Room>), ApiFailure> {
        self.checkpoints.take(&pod.task_uid, 0).await;
        let group = Caller::Task(pod.clone());
        let read = self.bodies.read(body, || group.group()).await?;
        self.keeps(&pod.task_uid, read.0.len());
        Ok(read)
    }

    /// Counts so many bytes of a Task's checkpoints, which delay the next ones.
    pub fn keeps(&self, task_uid: &str, bytes: usize) {
        self.checkpoints.took(&task_uid.to_owned(), units(bytes));
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{PACE, units};
    use std::time::{Duration, Instant};

    const PART: usize = 8 << 20;

    #[test]
    fn ordinary_checkpoints_wait_for_nobody_and_endless_ones_have_a_pace() {
        let begin = Instant::now();
        let (mut paid, mut now) = (None, begin);
        let mut keep = |parts: usize| {
            let before = now;
            for _ in 0..parts {
                now += PACE.take(&mut paid, 0, now);
                let _ = PACE.take(&mut paid, units(PART), now);
            }
            now - before
        };
        // A workspace of 80 MiB, three times in no time.
        assert_eq!(keep(30), Duration::ZERO);
        // And then for ever.
        assert!(keep(1002) >= Duration::from_secs(995));
        // A part with next to nothing in it is one, too.
        assert_eq!((units(1), units(PART)), (1, 128));
    }
}
