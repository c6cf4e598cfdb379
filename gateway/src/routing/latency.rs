//! How long something takes of late: a moving average that fades, so that what was slow once is tried again.

use std::time::{Duration, Instant};

/// What a new sample counts.
const SHARE: f64 = 0.2;
/// After this long without a sample half of the average is believed.
const HALF_LIFE: Duration = Duration::from_secs(60);

/// A moving average of durations.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency(Option<(Duration, Instant)>);

impl Latency {
    /// Counts a sample.
    pub fn observe(&mut self, sample: Duration, now: Instant) {
        let average = match self.0 {
            None => sample,
            Some((average, _)) => average.mul_f64(1.0 - SHARE) + sample.mul_f64(SHARE),
        };
        self.0 = Some((average, now));
    }

    /// What the next one is expected to take; `None` before the first sample.
    #[must_use]
    pub fn expected(&self, now: Instant) -> Option<Duration> {
        let (average, at) = self.0?;
        let age = now.saturating_duration_since(at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        Some(average.mul_f64(0.5f64.powf(age)))
    }
}
