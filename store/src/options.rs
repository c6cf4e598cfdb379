//! What a [`crate::Store`] is opened with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What a [`crate::Store`] is opened with.
#[derive(Clone)]
pub struct Options {
    /// Directory of the log and the blobs, made if absent. One process at a time may open it.
    pub dir: PathBuf,
    /// Size of a log segment in bytes. Default 16 MiB.
    pub segment_bytes: u32,
    /// Most journal bytes of one Task; a Task that reaches it can still be answered, settled and ended. Default 64 MiB.
    pub journal_bytes: u64,
    /// Most bytes of different artifacts of one Task. Default 256 MiB.
    pub artifact_bytes: u64,
    /// Most money that hops of callers that are no Task may have reserved while they are not on the disk, in pico-USD: this much is booked,
    /// as estimated, in each counter that they use when the process ends without [`crate::Store::stop`]. A hop beyond it waits for the disk.
    /// Default USD 0.10.
    pub sdk_rest_pico: u64,
    /// The clock of the records. Default: the system's.
    pub clock: Clock,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// The defaults, in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: 16 << 20,
            journal_bytes: 64 << 20,
            artifact_bytes: 256 << 20,
            sdk_rest_pico: 100_000_000_000,
            clock: Arc::new(now_ms),
        }
    }
}

fn now_ms() -> i64 {
    // A clock before 1970 is a machine without one; the order of records does not depend on it.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
}
