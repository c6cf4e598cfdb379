use super::{in_error, used_up};
use crate::provider::wire::Wire;
use http::{HeaderMap, HeaderName};
use oarmaster_dialect::chat::Flavour;
use proptest::prelude::*;
use serde_json::json;
use std::time::Duration;

const CHAT: Wire = Wire::Chat(Flavour::Compatible);
/// 2025-08-21T12:41:00Z.
const NOW: Duration = Duration::from_secs(1_755_780_060);

/// Headers from lines of `name: value`.
fn headers(lines: &str) -> HeaderMap {
    let lines = lines.lines().filter_map(|line| line.split_once(": "));
    lines
        .map(|(name, value)| {
            let name: HeaderName = name.trim().parse().unwrap();
            (name, value.parse().unwrap())
        })
        .collect()
}

/// Milliseconds that nothing passes, for a request of 1000 tokens.
fn millis(wire: Wire, lines: &str) -> Option<u128> {
    used_up(wire, &headers(lines), 1000, NOW).map(|wait| wait.as_millis())
}

#[test]
fn each_vendor_says_it_in_its_own_headers() {
    for (what, wire, lines, wait) in [
        (
            "OpenAI with room",
            CHAT,
            "x-ratelimit-limit-requests: 60
             x-ratelimit-remaining-requests: 59
             x-ratelimit-reset-requests: 1s
             x-ratelimit-limit-tokens: 150000
             x-ratelimit-remaining-tokens: 149984
             x-ratelimit-reset-tokens: 6m0s",
            None,
        ),
        (
            "OpenAI's free tier, three requests a minute: one is back after a third of it",
            CHAT,
            "x-ratelimit-limit-requests: 3
             x-ratelimit-remaining-requests: 0
             x-ratelimit-reset-requests: 1m0s",
            Some(20_000),
        ),
        (
            "OpenAI, where the next request passes in 6 ms",
            CHAT,
            "x-ratelimit-limit-requests: 10000
             x-ratelimit-remaining-requests: 0
             x-ratelimit-reset-requests: 60s",
            None,
        ),
        (
            "Groq, requests of a day: one is back after 86.4 s",
            CHAT,
            "x-ratelimit-limit-requests: 1000
             x-ratelimit-remaining-requests: 0
             x-ratelimit-reset-requests: 24h0m0s",
            Some(86_400),
        ),
        (
            "Groq, tokens of a minute: the thousand are back after a sixth of it",
            CHAT,
            "x-ratelimit-limit-tokens: 6000
             x-ratelimit-remaining-tokens: 0
             x-ratelimit-reset-tokens: 59.998s",
            Some(9_999),
        ),
        (
            "a request larger than all tokens waits for all",
            CHAT,
            "x-ratelimit-limit-tokens: 500
             x-ratelimit-remaining-tokens: 0
             x-ratelimit-reset-tokens: 1m26.4s",
            Some(86_400),
        ),
        (
            "without a limit nobody knows the pace",
            CHAT,
            "x-ratelimit-remaining-requests: 0
             x-ratelimit-reset-requests: 1h2m3.5s",
            Some(3_723_500),
        ),
        (
            "Anthropic",
            Wire::Messages,
            "anthropic-ratelimit-requests-limit: 50
             anthropic-ratelimit-requests-remaining: 49
             anthropic-ratelimit-requests-reset: 2025-08-21T12:41:01Z
             anthropic-ratelimit-input-tokens-limit: 5000
             anthropic-ratelimit-input-tokens-remaining: 0
             anthropic-ratelimit-input-tokens-reset: 2025-08-21T12:42:00Z
             anthropic-ratelimit-output-tokens-limit: 10000
             anthropic-ratelimit-output-tokens-remaining: 10000
             anthropic-ratelimit-output-tokens-reset: 2025-08-21T12:41:00Z",
            Some(12_000),
        ),
        (
            "OpenRouter's free models until midnight",
            Wire::Chat(Flavour::OpenRouter),
            "x-ratelimit-limit: 50
             x-ratelimit-remaining: 0
             x-ratelimit-reset: 1755820800000",
            Some(40_740_000),
        ),
        (
            "the same in seconds, as others have it",
            CHAT,
            "x-ratelimit-remaining: 0\nx-ratelimit-reset: 1755780090",
            Some(30_000),
        ),
        (
            "Cerebras",
            CHAT,
            "x-ratelimit-remaining-requests-day: 0
             x-ratelimit-reset-requests-day: 33011.382867
             x-ratelimit-remaining-tokens-minute: 0
             x-ratelimit-reset-tokens-minute: 11.38",
            Some(33_011_382),
        ),
        (
            "SambaNova",
            CHAT,
            "x-ratelimit-remaining-requests-day: 0\nx-ratelimit-reset-requests-day: 4h17m",
            Some(15_420_000),
        ),
        (
            "the drafts, up to the sixth",
            CHAT,
            "ratelimit-limit: 100\nratelimit-remaining: 0\nratelimit-reset: 50",
            Some(50_000),
        ),
        (
            "the seventh",
            CHAT,
            "ratelimit: limit=100, remaining=0, reset=50",
            Some(50_000),
        ),
        (
            "later ones, with two policies",
            CHAT,
            "ratelimit: \"minute\";r=0;t=7, \"day\";r=10;t=3000",
            Some(7_000),
        ),
        (
            "another vendor's headers are not looked at",
            Wire::Messages,
            "x-ratelimit-remaining: 0\nx-ratelimit-reset: 60",
            None,
        ),
    ] {
        assert_eq!(millis(wire, lines), wait, "{what}");
    }
}

#[test]
fn what_makes_no_sense_is_no_statement_and_nothing_lasts_longer_than_a_day() {
    for (remaining, reset, wait) in [
        ("0", "60", Some(60_000)),
        ("1", "60", None),
        ("-1", "60", None),
        ("many", "60", None),
        ("", "60", None),
        ("0", "0", None),
        ("0", "0.5", None),
        ("0", "-5", None),
        ("0", "", None),
        ("0", "soon", None),
        ("0", "5x", None),
        ("0", "1m5", None),
        ("0", "..s", None),
        ("0", "NaN", None),
        ("0", "inf", None),
        ("0", "1e300", None),
        ("0", "999999999999999999h", None),
        // In the past.
        ("0", "1755780059", None),
        ("0", "1755780059000", None),
        ("0", "2025-08-21T12:40:59Z", None),
        ("0", "2025-08-21 at noonT", None),
        // Years ahead.
        ("0", "99999999", Some(86_400_000)),
        ("0", "4102444800", Some(86_400_000)),
        ("0", "2100-01-01T00:00:00Z", Some(86_400_000)),
        ("0", "9000h", Some(86_400_000)),
        ("0", "300d", Some(86_400_000)),
        ("0", "1500ms", Some(1_500)),
        ("0", "1500000µs", None),
        ("0", "9000000us", None),
    ] {
        let mut lines = HeaderMap::new();
        let reset = http::HeaderValue::from_bytes(reset.as_bytes()).unwrap();
        lines.insert("x-ratelimit-remaining", remaining.parse().unwrap());
        lines.insert("x-ratelimit-reset", reset.clone());
        let found = used_up(CHAT, &lines, 1, NOW).map(|wait| wait.as_millis());
        assert_eq!(found, wait, "{remaining} {reset:?}");
    }
}

#[test]
fn openrouters_errors_repeat_the_headers() {
    let error = |headers: serde_json::Value| {
        let body = json!({"error": {"message": "Rate limit exceeded: free-models-per-day", "code": 429, "metadata": {"headers": headers}}});
        in_error(CHAT, body.to_string().as_bytes(), 1, NOW).map(|wait| wait.as_secs())
    };
    let said = json!({"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1755820800000"});
    assert_eq!(error(said), Some(40_740));
    let numbers = json!({"X-RateLimit-Remaining": 0, "X-RateLimit-Reset": 1_755_820_800_000_u64});
    assert_eq!(error(numbers), Some(40_740));
    for nothing in [json!({}), json!(null), json!({"X-RateLimit-Reset\n": []})] {
        assert_eq!(error(nothing.clone()), None, "{nothing}");
    }
    assert_eq!(in_error(CHAT, b"\xff<html>", 1, NOW), None);
}

proptest! {
    /// Whatever the headers say: from a second to a day, or nothing.
    #[test]
    fn a_wait_is_bounded(
        remaining in "[0-9a-z.;=, -]{0,12}",
        limit in "[0-9]{0,22}",
        reset in "[0-9.hmsdTZ:+-]{0,24}",
        draft in "[rt=0-9;, \"a-z]{0,24}",
        tokens: u64,
        clock: u32,
    ) {
        let mut lines = HeaderMap::new();
        for kind in ["-requests", "-tokens", ""] {
            for (part, value) in [("remaining", &remaining), ("limit", &limit), ("reset", &reset)] {
                let name: HeaderName = format!("x-ratelimit-{part}{kind}").parse().unwrap();
                lines.insert(name, value.parse().unwrap());
            }
        }
        lines.insert("ratelimit", draft.parse().unwrap());
        let clock = Duration::from_secs(u64::from(clock));
        if let Some(wait) = used_up(CHAT, &lines, tokens, clock) {
            prop_assert!((1..=86_400).contains(&wait.as_secs()), "{wait:?}");
        }
    }
}
