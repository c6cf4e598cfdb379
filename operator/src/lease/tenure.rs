//! How long this process may write.

use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Time since the machine started, its sleep included. `Instant` is another clock, which stands still while a machine or its hypervisor
/// sleeps; a lease runs on, on the machines of the others.
#[must_use]
pub fn boot_time() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    // Neither is ever negative.
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// Until when this process leads, as far as it knows: whoever renews the lease prolongs it, whoever writes looks at it first.
#[derive(Clone, Debug, Default)]
pub struct Tenure(Arc<AtomicU64>);

impl Tenure {
    /// From now on it lasts until this boot time.
    pub fn set(&self, end: Duration) {
        let millis = u64::try_from(end.as_millis()).unwrap_or(u64::MAX);
        self.0.store(millis, Ordering::SeqCst);
    }

    /// Ends it.
    pub fn end(&self) {
        self.0.store(0, Ordering::SeqCst);
    }

    /// Whether it lasts at this boot time.
    #[must_use]
    pub fn lasts(&self, now: Duration) -> bool {
        now.as_millis() < u128::from(self.0.load(Ordering::SeqCst))
    }
}
