//! Durations as strings in the form of Kubernetes' GEP-2257: `90s`, `2h`, `1h30m`, `250ms`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A duration as a string: up to four groups of at most five digits and a unit (`h`, `m`, `s`, `ms`), like `1h30m`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct GepDuration(
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))] pub String,
);

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a duration: write groups of at most 5 digits with a unit h, m, s or ms, like \"1h30m\""
)]
pub struct NotADuration(pub String);

impl GepDuration {
    /// A constant of this crate's defaults.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The duration.
    ///
    /// # Errors
    /// [`NotADuration`] when the text is not of the documented form.
    pub fn get(&self) -> Result<Duration, NotADuration> {
        let bad = || NotADuration(self.0.chars().take(40).collect());
        let mut rest = self.0.as_str();
        let mut total = Duration::ZERO;
        let mut groups = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = rest.split_at_checked(digits).ok_or_else(bad)?;
            if !(1..=5).contains(&number.len()) || groups == 4 {
                return Err(bad());
            }
            let number: u64 = number.parse().map_err(|_| bad())?;
            let (unit, after) = if let Some(after) = after.strip_prefix("ms") {
                (1, after)
            } else if let Some(after) = after.strip_prefix('s') {
                (1000, after)
            } else if let Some(after) = after.strip_prefix('m') {
                (60_000, after)
            } else if let Some(after) = after.strip_prefix('h') {
                (3_600_000, after)
            } else {
                return Err(bad());
            };
            total += Duration::from_millis(number * unit);
            rest = after;
            groups += 1;
        }
        if groups == 0 { Err(bad()) } else { Ok(total) }
    }

    /// The shortest text for a duration, to the millisecond below ten seconds and to the second above.
    #[must_use]
    pub fn from_duration(duration: Duration) -> Self {
        let millis = duration.as_millis();
        if millis < 10_000 && !millis.is_multiple_of(1000) {
            return Self(format!("{millis}ms"));
        }
        let seconds = duration.as_secs();
        let mut text = String::new();
        for (unit, value) in [
            ("h", seconds / 3600),
            ("m", seconds / 60 % 60),
            ("s", seconds % 60),
        ] {
            if value > 0 {
                text.push_str(&format!("{value}{unit}"));
            }
        }
        if text.is_empty() {
            text.push_str("0s");
        }
        Self(text)
    }
}

impl std::fmt::Display for GepDuration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
