//! How fast one of many may go on, so that the others are not kept waiting: so much at once, then so much a second. Who is ahead of its pace waits;
//! it is not refused.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Of so many entries it is not looked for those that can be forgotten.
const FEW: usize = 64;

/// A pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Of one unit.
    pub every: Duration,
    /// Units at once of who took none for long.
    pub burst: u32,
    /// Nobody waits longer, whatever was taken: who is far ahead is slow, and not lost to those who wait for it.
    pub longest: Duration,
}

/// Until when that is paid which was taken: `None` of who took nothing.
pub type Paid = Option<Instant>;

impl Pace {
    /// Takes so many units, and gives how long to wait before they are used. They delay who comes next, not themselves: so what costs more than a
    /// burst passes, too.
    #[must_use]
    pub fn take(self, paid: &mut Paid, units: u32, now: Instant) -> Duration {
        let burst = self.every.saturating_mul(self.burst);
        let ahead = paid.unwrap_or(now).saturating_duration_since(now);
        let after = ahead.saturating_add(self.every.saturating_mul(units));
        *paid = Some(now + after.min(burst.saturating_add(self.longest)));
        ahead.saturating_sub(burst)
    }
}

/// Many at a pace, each for itself.
#[derive(Debug)]
pub struct Paced<K> {
    pace: Pace,
    paid: Mutex<Entries<K>>,
}

#[derive(Debug)]
struct Entries<K> {
    of: HashMap<K, Paid>,
    /// How many there may be before it is looked for those that can be forgotten.
    most: usize,
}

impl<K: Clone + Eq + Hash> Paced<K> {
    /// Nobody has taken anything.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        let paid = Entries {
            of: HashMap::new(),
            most: FEW,
        };
        Self {
            pace,
            paid: Mutex::new(paid),
        }
    }

    /// Takes so many units for somebody, and waits until its pace allows them. Whoever stops waiting has taken them all the same.
    pub async fn take(&self, who: &K, units: u32) {
        let wait = self.lock().take(self.pace, who, units, Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes units that were used already: they delay what comes next.
    pub fn took(&self, who: &K, units: u32) {
        let _ = self.lock().take(self.pace, who, units, Instant::now());
    }

    // A panic while the lock was held leaves times, which are whole.
    fn lock(&self) -> MutexGuard<'_, Entries<K>> {
        self.paid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> Entries<K> {
    fn take(&mut self, pace: Pace, who: &K, units: u32, now: Instant) -> Duration {
        if let Some(paid) = self.of.get_mut(who) {
            return pace.take(paid, units, now);
        }
        if self.of.len() >= self.most {
            // Who has paid is as good as unknown.
            self.of
                .retain(|_, paid| paid.is_some_and(|until| until > now));
            self.most = self.of.len().saturating_mul(2).max(FEW);
        }
        pace.take(self.of.entry(who.clone()).or_default(), units, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        every: Duration::from_millis(10),
        burst: 5,
        longest: Duration::from_secs(10),
    };
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_beyond_the_burst_waits_its_time() {
        let now = Instant::now();
        let mut paid = None;
        let mut take = |units, at| PACE.take(&mut paid, units, now + at);
        let waits: Vec<u128> = (0..8)
            .map(|_| take(1, Duration::ZERO).as_millis())
            .collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 0, 10, 20]);
        assert_eq!(take(1, SECOND), Duration::ZERO);
        // What costs more than a burst is done at once, and those after it wait for it.
        assert_eq!(take(100, 2 * SECOND), Duration::ZERO);
        assert_eq!(take(1, 2 * SECOND), Duration::from_millis(950));
        assert_eq!(take(1, 3 * SECOND), Duration::ZERO);
        // Nobody is so far ahead that it waits for ever.
        assert_eq!(take(u32::MAX, 4 * SECOND), Duration::ZERO);
        assert_eq!(take(1, 4 * SECOND), PACE.longest);
        assert_eq!(take(1, 4 * SECOND), PACE.longest);
        assert_eq!(take(1, 20 * SECOND), Duration::ZERO);
    }

    #[test]
    fn over_a_long_time_nobody_is_faster_than_the_pace() {
        let begin = Instant::now();
        let (mut paid, mut now) = (None, begin);
        for _ in 0..1000 {
            now += PACE.take(&mut paid, 3, now);
        }
        let least = PACE.every * (3 * 999 - PACE.burst - 3);
        assert!(now - begin >= least, "{:?}", now - begin);
    }

    #[test]
    fn each_has_its_own_and_who_has_paid_is_forgotten() {
        let paced = Paced::new(PACE);
        let now = Instant::now();
        let mut entries = paced.lock();
        for who in 0..10_000u64 {
            let at = now + PACE.every * u32::try_from(who).unwrap();
            assert_eq!(entries.take(PACE, &who, 1, at), Duration::ZERO);
            assert!(entries.of.len() <= FEW);
        }
        // Those who have not are not, however many.
        for who in 0..10_000 {
            let _ = entries.take(PACE, &who, 100_000, now);
        }
        assert!(entries.of.len() >= 10_000);
        assert!(!entries.take(PACE, &0, 1, now).is_zero());
    }

    #[tokio::test]
    async fn who_is_ahead_waits_and_others_do_not() {
        let paced = Paced::new(PACE);
        paced.took(&"one", 1000);
        paced.take(&"other", 1).await;
        // It would wait for ten seconds.
        let one = tokio::time::timeout(PACE.every, paced.take(&"one", 1)).await;
        assert!(one.is_err());
        let begun = Instant::now();
        paced.took(&"third", 10);
        paced.take(&"third", 1).await;
        assert!(begun.elapsed() >= PACE.every * 5, "{:?}", begun.elapsed());
    }
}
