//! The windows that money is counted in, in UTC.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};

const HOUR_MS: i64 = 3_600_000;
/// A day in milliseconds.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// How long a counter counts before it begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Window {
    /// From a full hour to the next.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From the first of a month to the first of the next.
    Month,
    /// For ever.
    Total,
}

/// One window, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its first millisecond; 0 for [`Window::Total`].
    pub start_ms: i64,
    /// The first millisecond after it: when the counter begins anew. `None` where it never does.
    pub end_ms: Option<i64>,
}

impl Window {
    /// The name as it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
            Self::Total => "total",
        }
    }

    /// The window that an instant is in. An instant that no calendar has (a clock that is broken) is in the one that never ends.
    #[must_use]
    pub fn at(self, now_ms: i64) -> Period {
        let fixed = |length: i64| {
            let start_ms = now_ms.div_euclid(length).checked_mul(length)?;
            let end_ms = Some(start_ms.checked_add(length)?);
            Some(Period { start_ms, end_ms })
        };
        let found = match self {
            Self::Hour => fixed(HOUR_MS),
            Self::Day => fixed(DAY_MS),
            Self::Month => month(now_ms),
            Self::Total => None,
        };
        found.unwrap_or(Period {
            start_ms: 0,
            end_ms: None,
        })
    }
}

fn month(now_ms: i64) -> Option<Period> {
    let now = Timestamp::from_millisecond(now_ms).ok()?;
    let first = now.to_zoned(TimeZone::UTC).date().first_of_month();
    let next = first.checked_add(Span::new().months(1)).ok()?;
    let ms = |date: jiff::civil::Date| {
        let midnight = date.to_zoned(TimeZone::UTC).ok()?;
        Some(midnight.timestamp().as_millisecond())
    };
    Some(Period {
        start_ms: ms(first)?,
        end_ms: Some(ms(next)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn windows_begin_and_end_in_utc() {
        for (window, now, start, end) in [
            (
                Window::Hour,
                "2026-11-29T02:59:59.999Z",
                "2026-11-29T02:00:00Z",
                "2026-11-29T03:00:00Z",
            ),
            (
                Window::Hour,
                "2026-11-29T03:00:00Z",
                "2026-11-29T03:00:00Z",
                "2026-11-29T04:00:00Z",
            ),
            (
                Window::Day,
                "2026-11-29T23:59:59.999Z",
                "2026-11-29T00:00:00Z",
                "2026-11-30T00:00:00Z",
            ),
            (
                Window::Day,
                "1969-12-31T12:00:00Z",
                "1969-12-31T00:00:00Z",
                "1970-01-01T00:00:00Z",
            ),
            (
                Window::Month,
                "2028-02-29T12:00:00Z",
                "2028-02-01T00:00:00Z",
                "2028-03-01T00:00:00Z",
            ),
            (
                Window::Month,
                "2026-12-31T23:59:59.999Z",
                "2026-12-01T00:00:00Z",
                "2027-01-01T00:00:00Z",
            ),
        ] {
            let found = window.at(ms(now));
            let expected = Period {
                start_ms: ms(start),
                end_ms: Some(ms(end)),
            };
            assert_eq!(found, expected, "{window:?} {now}");
        }
        let never = Period {
            start_ms: 0,
            end_ms: None,
        };
        assert_eq!(Window::Total.at(ms("2026-11-29T02:00:00Z")), never);
        for window in [Window::Hour, Window::Day, Window::Month] {
            assert_eq!(
                window.at(i64::MAX).end_ms,
                None,
                "{window:?} of a broken clock"
            );
        }
    }

    proptest! {
        #[test]
        fn an_instant_is_in_its_window_and_the_next_follows(now in -4_000_000_000_000..8_000_000_000_000_i64) {
            for window in [Window::Hour, Window::Day, Window::Month] {
                let Period { start_ms, end_ms } = window.at(now);
                let end = end_ms.unwrap();
                prop_assert!(start_ms <= now && now < end);
                prop_assert_eq!(window.at(start_ms), window.at(end - 1));
                prop_assert_eq!(window.at(end).start_ms, end);
                // So a sweep at each full hour sees every end.
                prop_assert_eq!(end % HOUR_MS, 0);
            }
        }
    }
}
