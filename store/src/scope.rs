//! The counters beside a Task's own budget that a hop is reserved in.

use crate::Window;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A cap that a hop must fit under: one counter of one budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Name of the budget.
    pub budget: String,
    /// Whose money it counts, like `namespace/team`. A budget that counts by something else has other keys, so that its counters begin
    /// anew.
    pub key: String,
    /// When it begins anew.
    pub window: Window,
    /// Most money in a window, in pico-USD.
    pub limit_pico: u64,
    /// Whether a hop that can cost nothing is let through however much was spent.
    pub free_only: bool,
}

/// A counter in one window.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CounterId {
    /// Name of the budget.
    pub budget: String,
    /// Whose money.
    pub key: String,
    /// The kind of window.
    pub window: Window,
    /// First millisecond of the window since the Unix epoch.
    pub start_ms: i64,
}

/// What a counter has counted, in pico-USD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Settled.
    pub spent: u64,
    /// Reserved by open hops.
    pub reserved: u64,
    /// Of what was spent: billed beyond reservations.
    pub overrun: u64,
    /// Of what was spent: booked without the provider's word.
    pub estimated: u64,
    /// Number of the frame with the first hop of an SDK caller since the process started.
    pub(crate) sdk: Option<u64>,
}

impl Scope {
    /// Its counter at an instant.
    #[must_use]
    pub fn counter(&self, now_ms: i64) -> CounterId {
        CounterId {
            budget: self.budget.clone(),
            key: self.key.clone(),
            window: self.window,
            start_ms: self.window.at(now_ms).start_ms,
        }
    }
}

impl CounterId {
    /// When its window ends; `None` where it never does.
    #[must_use]
    pub fn end_ms(&self) -> Option<i64> {
        self.window.at(self.start_ms).end_ms
    }
}

/// A cap that does not cover a hop. Shown, it says everything that a person needs to act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// The cap.
    pub scope: Scope,
    /// Settled in this window, in pico-USD.
    pub spent: u64,
    /// Reserved by running hops.
    pub reserved: u64,
    /// The worst case of this hop.
    pub needed: u64,
    /// When the counter begins anew, in milliseconds since the Unix epoch; `None` where it never does.
    pub resets_ms: Option<i64>,
}

impl std::fmt::Display for Exceeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Scope {
            budget,
            key,
            window,
            limit_pico,
            ..
        } = &self.scope;
        write!(
            f,
            "{budget}/{} ({key}): {} spent and {} reserved of {}, ",
            window.as_str(),
            usd(self.spent),
            usd(self.reserved),
            usd(*limit_pico)
        )?;
        let resets = self
            .resets_ms
            .and_then(|ms| Timestamp::from_millisecond(ms).ok());
        match resets {
            Some(at) => write!(f, "resets {}", at.strftime("%Y-%m-%dT%H:%MZ"))?,
            None => f.write_str("never resets")?,
        }
        if self.needed == 0 {
            return Ok(()); // nothing is left: whatever it needs, it is too much
        }
        write!(f, ", the next call needs up to {}", usd(self.needed))
    }
}

impl Exceeded {
    /// Of several caps that refuse, the one with the highest rank is named: it stands in the way longest; one that free members may pass
    /// comes last.
    #[must_use]
    pub fn rank(&self) -> (bool, i64) {
        (!self.scope.free_only, self.resets_ms.unwrap_or(i64::MAX))
    }
}

/// pico-USD for people.
pub fn usd(pico: u64) -> String {
    const ONE: u64 = 1_000_000_000_000;
    let cents = format!("{:012}", pico % ONE);
    let trimmed = cents.trim_end_matches('0');
    format!("${}.{trimmed:0<2}", pico / ONE)
}
