//! The wall clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time since the Unix epoch; nothing, where the clock stands before it.
#[must_use]
pub fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
