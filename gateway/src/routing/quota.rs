//! What a provider gives away for nothing, as its owner states it: so many requests a minute and a day. It is counted here; what the provider itself
//! says of its quotas is kept with the lanes (see [`super::lanes`]).

use std::time::Duration;

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;

/// The bounds of a free quota; `None`: no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FreeQuota {
    /// Most requests of a minute.
    pub per_minute: Option<u64>,
    /// Most requests of a day, in UTC.
    pub per_day: Option<u64>,
}

/// Requests of the running minute and day.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    minute: (u64, u64),
    day: (u64, u64),
}

impl Used {
    /// Counts a request. `now` is the time since the Unix epoch.
    pub fn count(&mut self, now: Duration) {
        for (window, length) in [(&mut self.minute, MINUTE), (&mut self.day, DAY)] {
            let number = now.as_secs() / length;
            if window.0 != number {
                *window = (number, 0);
            }
            window.1 = window.1.saturating_add(1);
        }
    }

    /// Takes back a request that was counted at this time and not sent.
    pub fn give_back(&mut self, counted: Duration) {
        for (window, length) in [(&mut self.minute, MINUTE), (&mut self.day, DAY)] {
            if window.0 == counted.as_secs() / length {
                window.1 = window.1.saturating_sub(1);
            }
        }
    }

    /// Whether the quota is used up.
    #[must_use]
    pub fn is_up(&self, quota: &FreeQuota, now: Duration) -> bool {
        let over = |window: (u64, u64), length: u64, bound: Option<u64>| {
            bound.is_some_and(|bound| window.0 == now.as_secs() / length && window.1 >= bound)
        };
        over(self.minute, MINUTE, quota.per_minute) || over(self.day, DAY, quota.per_day)
    }
}
