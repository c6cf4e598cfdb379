//! What providers say of their quotas in the headers of an answer: that one is used up, and for how long.
//!
//! Two kinds of statement go by the name of a reset. Of a quota that comes back at an even pace (OpenAI, Groq and Azure, Anthropic) it is the time
//! until all of it is back: of 60 requests a minute with one taken, a second. Then as much as one request takes is back after its share of that
//! time. Of a window (OpenRouter, Cerebras, SambaNova, the drafts of the IETF) it is when the next one begins.

use crate::provider::wire::Wire;
use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;

/// What is back sooner is not worth leaving a lane alone for.
const LEAST: Duration = Duration::from_secs(1);
/// Longest wait that is believed. After it the provider is asked, and says so again if it is true.
const MOST: Duration = Duration::from_secs(24 * 3600);
/// The smallest number that is no count of seconds but a time since the Unix epoch in seconds, and the smallest in milliseconds.
const EPOCH_SECONDS: f64 = 1e9;
const EPOCH_MILLIS: f64 = 1e11;

/// A quota by the names of its headers.
struct Quota {
    remaining: HeaderName,
    reset: HeaderName,
    pace: Pace,
}

/// How a quota comes back.
enum Pace {
    /// Bit by bit, a request at a time: `.0` says of how many.
    Requests(HeaderName),
    /// Bit by bit, token by token.
    Tokens(HeaderName),
    /// All of it at once.
    Window,
}

const fn name(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}

impl Quota {
    const fn new(remaining: &'static str, reset: &'static str, pace: Pace) -> Self {
        Self {
            remaining: name(remaining),
            reset: name(reset),
            pace,
        }
    }

    const fn requests(remaining: &'static str, reset: &'static str, limit: &'static str) -> Self {
        Self::new(remaining, reset, Pace::Requests(name(limit)))
    }

    const fn tokens(remaining: &'static str, reset: &'static str, limit: &'static str) -> Self {
        Self::new(remaining, reset, Pace::Tokens(name(limit)))
    }

    const fn window(remaining: &'static str, reset: &'static str) -> Self {
        Self::new(remaining, reset, Pace::Window)
    }
}

static OPENAI: [Quota; 6] = [
    Quota::requests(
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
        "x-ratelimit-limit-requests",
    ),
    Quota::tokens(
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-tokens",
        "x-ratelimit-limit-tokens",
    ),
    // OpenRouter, and many others.
    Quota::window("x-ratelimit-remaining", "x-ratelimit-reset"),
    // Cerebras and SambaNova.
    Quota::window(
        "x-ratelimit-remaining-requests-day",
        "x-ratelimit-reset-requests-day",
    ),
    Quota::window(
        "x-ratelimit-remaining-tokens-minute",
        "x-ratelimit-reset-tokens-minute",
    ),
    // The drafts of the IETF up to the sixth.
    Quota::window("ratelimit-remaining", "ratelimit-reset"),
];

static ANTHROPIC: [Quota; 4] = [
    Quota::requests(
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-requests-reset",
        "anthropic-ratelimit-requests-limit",
    ),
    Quota::tokens(
        "anthropic-ratelimit-tokens-remaining",
        "anthropic-ratelimit-tokens-reset",
        "anthropic-ratelimit-tokens-limit",
    ),
    Quota::tokens(
        "anthropic-ratelimit-input-tokens-remaining",
        "anthropic-ratelimit-input-tokens-reset",
        "anthropic-ratelimit-input-tokens-limit",
    ),
    Quota::tokens(
        "anthropic-ratelimit-output-tokens-remaining",
        "anthropic-ratelimit-output-tokens-reset",
        "anthropic-ratelimit-output-tokens-limit",
    ),
];

/// What the later drafts of the IETF have in its place.
static DRAFT: HeaderName = name("ratelimit");

/// For how long nothing of the size of a request of `tokens` will pass: from 1 s to a day, or `None` where nothing is used up, or nobody says until
/// when. `clock` is the time since the Unix epoch.
#[must_use]
pub fn used_up(wire: Wire, headers: &HeaderMap, tokens: u64, clock: Duration) -> Option<Duration> {
    let quotas: &[Quota] = match wire {
        Wire::Chat(_) | Wire::Responses { .. } | Wire::Embeddings(_) => &OPENAI,
        Wire::Messages => &ANTHROPIC,
        // They say nothing of the kind.
        Wire::Gemini | Wire::Cohere | Wire::Converse => return None,
    };
    let waits = quotas
        .iter()
        .filter_map(|quota| quota.wait(headers, tokens, clock));
    let wait = waits.chain(draft(headers)).max()?;
    (wait >= LEAST).then_some(wait.min(MOST))
}

/// The same from the body of an error: OpenRouter repeats the headers there.
#[must_use]
pub fn in_error(wire: Wire, body: &[u8], tokens: u64, clock: Duration) -> Option<Duration> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let said = body.pointer("/error/metadata/headers")?.as_object()?;
    let headers: HeaderMap = said
        .iter()
        .filter_map(|(name, value)| {
            let value = match value {
                Value::String(text) => text.parse().ok()?,
                other => other.to_string().parse().ok()?,
            };
            Some((name.parse().ok()?, value))
        })
        .collect();
    used_up(wire, &headers, tokens, clock)
}

impl Quota {
    fn wait(&self, headers: &HeaderMap, tokens: u64, clock: Duration) -> Option<Duration> {
        if number(headers, &self.remaining)? > 0 {
            return None;
        }
        let reset = until(headers.get(&self.reset)?.to_str().ok()?, clock)?;
        let share = |limit: &HeaderName, amount: u64| {
            let limit = number(headers, limit).filter(|limit| *limit > 0);
            limit.map_or(reset, |limit| part(reset, amount.min(limit), limit))
        };
        Some(match &self.pace {
            Pace::Requests(limit) => share(limit, 1),
            Pace::Tokens(limit) => share(limit, tokens.max(1)),
            Pace::Window => reset,
        })
    }
}

/// A share of a time; `amount` is at most `all`, which is above 0.
fn part(time: Duration, amount: u64, all: u64) -> Duration {
    let nanos = time.as_nanos().saturating_mul(u128::from(amount)) / u128::from(all.max(1));
    u64::try_from(nanos).map_or(time, Duration::from_nanos)
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// The field `ratelimit` of the later drafts: `"default";r=0;t=30`, and of the seventh `limit=10, remaining=0, reset=30`.
fn draft(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(&DRAFT)?.to_str().ok()?;
    let mut left = None;
    let mut longest = None;
    for each in text.split([',', ';']) {
        let (name, value) = each.trim().split_once('=').unwrap_or_default();
        let value: Option<u64> = value.trim().parse().ok();
        match name.trim() {
            "r" | "remaining" => left = value,
            "t" | "reset" if left.take() == Some(0) => longest = longest.max(value),
            _ => {}
        }
    }
    longest.map(Duration::from_secs)
}

/// How long it is until a reset: at most a day, and nothing for one that is past or cannot be read.
fn until(text: &str, clock: Duration) -> Option<Duration> {
    let text = text.trim();
    let wait = if let Ok(number) = text.parse::<f64>() {
        let at = match number {
            millis if millis >= EPOCH_MILLIS => Some(millis / 1000.0),
            seconds if seconds >= EPOCH_SECONDS => Some(seconds),
            _ => None,
        };
        match at {
            Some(at) => Duration::try_from_secs_f64(at).ok()?.checked_sub(clock)?,
            None => Duration::try_from_secs_f64(number).ok()?,
        }
    } else if text.contains('T') {
        let at: Timestamp = text.parse().ok()?;
        let at = u64::try_from(at.as_millisecond()).ok()?;
        Duration::from_millis(at).checked_sub(clock)?
    } else {
        duration(text)?
    };
    (!wait.is_zero()).then_some(wait.min(MOST))
}

/// A duration as Go writes one, like `1m26.4s` or `12ms`, and with days. Units below a millisecond are of no interest.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| letter.is_ascii_alphabetic())?;
        let (number, after) = rest.split_at_checked(digits)?;
        let unit = after
            .find(|letter: char| letter.is_ascii_digit() || letter == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit)?;
        let seconds = match unit {
            "d" => 86_400.0,
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        sum = sum.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = after;
    }
    Some(sum)
}

#[cfg(test)]
mod tests;
