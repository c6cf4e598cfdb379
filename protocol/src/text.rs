//! Text from outside: bytes that are not UTF-8, JSON with escapes that are no characters, and texts that are too long.
//!
//! One rule everywhere (docs/decisions/0008): a Unicode scalar value stays as it is, whichever it is; what is none becomes U+FFFD, one
//! for each maximal ill-formed sequence of bytes (as the WHATWG's decoders and [`String::from_utf8_lossy`] count) and one for each half
//! of a surrogate pair that stands alone in a JSON escape (as the API server reads it). Whoever replaces says so.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Longest character in bytes.
const LONGEST: usize = 4;
/// Bytes of an escape `\uXXXX`.
const ESCAPE: usize = 6;

/// Text, and how much of what it was made from was none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired<'a> {
    /// The text.
    pub text: Cow<'a, str>,
    /// How many U+FFFD of it stand for what was no character.
    pub replaced: u64,
}

/// Bytes as text.
#[must_use]
pub fn decode(bytes: &[u8]) -> Repaired<'_> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Repaired {
            text: Cow::Borrowed(text),
            replaced: 0,
        };
    }
    let ill_formed = bytes.utf8_chunks().filter(|c| !c.invalid().is_empty());
    Repaired {
        replaced: ill_formed.count() as u64,
        text: String::from_utf8_lossy(bytes),
    }
}

/// JSON as text whose every string can be read: [`decode`], and an escape of half a surrogate pair that stands alone becomes `\ufffd`.
/// What is no JSON stays none.
#[must_use]
pub fn json(bytes: &[u8]) -> Repaired<'_> {
    let Repaired { text, mut replaced } = decode(bytes);
    let mut whole = String::new();
    let mut done = 0;
    for at in lone_halves(&text) {
        whole.push_str(text.get(done..at).unwrap_or_default());
        whole.push_str("\\ufffd");
        done = at + ESCAPE;
        replaced += 1;
    }
    if done == 0 {
        return Repaired { text, replaced };
    }
    whole.push_str(text.get(done..).unwrap_or_default());
    Repaired {
        text: Cow::Owned(whole),
        replaced,
    }
}

/// Where escapes of half a surrogate pair stand alone. Outside of strings JSON has no backslash, so none is looked for there.
fn lone_halves(text: &str) -> impl Iterator<Item = usize> {
    let json = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            at += memchr::memchr(b'\\', json.get(at..)?)?;
            let here = at;
            match code_unit(json, at) {
                // Another escape, perhaps of a backslash.
                None => at += 1 + usize::from(json.get(at + 1).is_some_and(u8::is_ascii)),
                Some(0xd800..=0xdbff) => {
                    at += ESCAPE;
                    if !matches!(code_unit(json, at), Some(0xdc00..=0xdfff)) {
                        return Some(here);
                    }
                    at += ESCAPE;
                }
                Some(0xdc00..=0xdfff) => {
                    at += ESCAPE;
                    return Some(here);
                }
                Some(_) => at += ESCAPE,
            }
        }
    })
}

/// The code unit of the escape `\uXXXX` at `at`, if there is one.
fn code_unit(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + ESCAPE)?.strip_prefix(b"\\u")?;
    let digits = std::str::from_utf8(digits).ok()?;
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None; // from_str_radix takes a sign
    }
    u16::from_str_radix(digits, 16).ok()
}

/// How many of the first bytes hold no character that is cut off at the end.
#[must_use]
pub fn whole(bytes: &[u8]) -> usize {
    let Some(lead) = lead_before(bytes, bytes.len()) else {
        return bytes.len();
    };
    match bytes.get(lead..).map(std::str::from_utf8) {
        Some(Err(error)) if error.error_len().is_none() => lead,
        _ => bytes.len(),
    }
}

/// The first place from `at` on that is not within a character, nor within a sequence that becomes one U+FFFD.
#[must_use]
pub fn ceil(bytes: &[u8], at: usize) -> usize {
    let at = at.min(bytes.len());
    let Some(lead) = lead_before(bytes, at) else {
        return at;
    };
    let longest = bytes.get(lead..bytes.len().min(lead + LONGEST));
    let first = longest.unwrap_or_default().utf8_chunks().next();
    let length = first.map_or(0, |chunk| {
        let letter = chunk.valid().chars().next();
        letter.map_or(chunk.invalid().len(), char::len_utf8)
    });
    at.max(lead + length)
}

/// The nearest byte before `at` that can begin a character which reaches to `at`.
fn lead_before(bytes: &[u8], at: usize) -> Option<usize> {
    let from = at.saturating_sub(LONGEST - 1);
    let near = bytes.get(from..at)?;
    let lead = near.iter().rposition(|byte| byte & 0xc0 != 0x80)?;
    Some(from + lead)
}

/// At most `most` characters; the last is `…` where the text is longer.
#[must_use]
pub fn shorten(text: &str, most: usize) -> String {
    if text.chars().nth(most).is_none() {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Whether a letter is not seen, or changes how those around it are seen: control characters but for line ends and tabs, marks of direction, and letters
/// without a width. Unlike a terminal's (`oar`), these have no exceptions for scripts and emoji that need joiners.
#[must_use]
pub const fn is_hidden(letter: char) -> bool {
    matches!(letter,
        '\0'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}' // controls
        | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' // direction, and no width
        | '\u{ad}' | '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

/// A text with each letter that [`is_hidden`] as `\u{202E}`, so that a person sees all of it.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |letter, seen| {
        let _ = write!(seen, "\\u{{{:04X}}}", u32::from(letter)); // into a String: it cannot fail
    })
}

/// The same for the text of JSON, with JSON's own escapes: it stays the same JSON.
#[must_use]
pub fn visible_json(json: &str) -> Cow<'_, str> {
    escaped(json, |letter, seen| {
        let mut units = [0; 2];
        for unit in letter.encode_utf16(&mut units) {
            let _ = write!(seen, "\\u{unit:04x}");
        }
    })
}

fn escaped(text: &str, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut seen = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_hidden(letter) {
            escape(letter, &mut seen);
        } else {
            seen.push(letter);
        }
    }
    Cow::Owned(seen)
}

#[cfg(test)]
mod tests;
