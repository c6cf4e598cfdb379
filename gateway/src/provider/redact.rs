//! Takes keys out of what providers say: they echo whole and partial keys in their errors.

use crate::provider::keys::ApiKey;
use oarmaster_protocol::text::shorten;

/// Longest text that is kept, in characters.
const MAX_TEXT: usize = 512;
/// Tokens at least this long are taken for keys, whatever they look like.
const LONG: usize = 40;
/// A token that shares this many characters in a row with the key is a part of it.
const SHARED: usize = 8;
const PREFIXES: &[&str] = &[
    "sk-", "sk_", "pk-", "pk_", "rk-", "rk_", "gsk_", "xai-", "aiza", "hf_", "ghp_", "r8_",
    "pplx-", "tok_", "eyj", "nvapi-", "csk-", "fw_",
];

/// The text without keys and control characters, at most 512 characters.
#[must_use]
pub fn redact(text: &str, key: Option<&ApiKey>) -> String {
    // The text is cut first, generously: a body of megabytes must not be worked through for one line.
    let text: String = text.chars().take(4 * MAX_TEXT).collect();
    let mut clean = String::new();
    let mut token = String::new();
    for letter in text.chars().chain(std::iter::once(' ')) {
        if letter.is_ascii_alphanumeric() || "-_*.+/=~…".contains(letter) {
            token.push(letter);
            continue;
        }
        if is_key(&token, key) {
            clean.push_str("[redacted]");
        } else {
            clean.push_str(&token);
        }
        token.clear();
        clean.push(if letter.is_control() { ' ' } else { letter });
    }
    let whole = match key {
        Some(key) if key.is_in(&clean) => "[redacted]".to_owned(), // a key with unusual characters
        _ => clean,
    };
    shorten(whole.trim(), MAX_TEXT)
}

fn is_key(token: &str, key: Option<&ApiKey>) -> bool {
    let lower = token.to_ascii_lowercase();
    let has_prefix = token.len() >= 8
        && PREFIXES.iter().any(|prefix| {
            lower
                .match_indices(prefix)
                .any(|(at, _)| starts_word(&lower, at))
        });
    let is_masked = token.contains("***") || (token.contains('…') && token.len() > 8);
    token.len() >= LONG
        || has_prefix
        || is_masked
        || key.is_some_and(|key| key.shares(token, SHARED))
}

fn starts_word(text: &str, at: usize) -> bool {
    !text
        .get(..at)
        .and_then(|before| before.chars().next_back())
        .is_some_and(|letter| letter.is_ascii_alphanumeric())
}
