//! What a [`crate::Store`] is opened with.

use crate::seal::Keys;
use crate::window::DAY_MS;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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
    /// How long what is kept.
    pub retention: Retention,
    /// Seal what people, models and programs said. Default: none, and nothing is sealed.
    pub keys: Keys,
    /// What the log and the artifacts may take. Default: no bound.
    pub limits: Limits,
    /// The clock of the records. Default: the system's.
    pub clock: Clock,
    /// A clock that nobody sets, from any beginning. Default: the system's.
    pub steady: Clock,
}

/// What the log and the artifacts may take, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of the log. Where it has as many, no new money is spent; calls that run are still booked.
    pub log: u64,
    /// Of them, of the journals of Tasks: where they have as many, Tasks end, and other callers go on.
    pub tasks: u64,
    /// Of the artifacts of all Tasks.
    pub blobs: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            log: u64::MAX,
            tasks: u64::MAX,
            blobs: u64::MAX,
        }
    }
}

/// How long what is kept, in milliseconds: of a Task, from the last thing that happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Journals of Tasks that are over. Default: 30 days.
    pub journals_ms: i64,
    /// Their artifacts. Default: 7 days.
    pub artifacts_ms: i64,
    /// Rows of model calls one by one, of callers that are no Task; a Task's are kept with its journal. Default: 35 days.
    pub rows_ms: i64,
    /// Sums of a day, and lines of the audit that are not of model calls. Default: 400 days.
    pub totals_ms: i64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            journals_ms: 30 * DAY_MS,
            artifacts_ms: 7 * DAY_MS,
            rows_ms: 35 * DAY_MS,
            totals_ms: 400 * DAY_MS,
        }
    }
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
        let begun = Instant::now();
        Self {
            dir: dir.into(),
            segment_bytes: 16 << 20,
            journal_bytes: 64 << 20,
            artifact_bytes: 256 << 20,
            sdk_rest_pico: 100_000_000_000,
            retention: Retention::default(),
            keys: Keys::default(),
            limits: Limits::default(),
            clock: Arc::new(now_ms),
            steady: Arc::new(move || ms(begun.elapsed())),
        }
    }
}

fn now_ms() -> i64 {
    // A clock before 1970 is a machine without one; the order of records does not depend on it.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, ms)
}

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
