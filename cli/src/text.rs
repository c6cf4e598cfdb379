//! Text from models and programs, made fit for a terminal; and how numbers read.

use std::fmt::Write as _;
use std::time::Duration;

/// Replaces what a terminal would act on (control characters, escape sequences) or show in another order (bidirectional marks), but
/// for line ends and tabs. Nothing is dropped.
pub fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\t' => clean.push(letter),
            _ if acts(letter) => {
                let code = u32::from(letter);
                // Writing to a String cannot fail.
                let _ = if code < 0x100 {
                    write!(clean, "\\x{code:02x}")
                } else {
                    write!(clean, "\\u{{{code:x}}}")
                };
            }
            _ => clean.push(letter),
        }
    }
    clean
}

/// Whether a terminal would do something else with it than show it in its place.
pub fn acts(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}' | '\u{2066}'..='\u{2069}' | '\u{61c}')
}

/// One line of at most `most` characters; line ends become `⏎`.
pub fn one_line(text: &str, most: usize) -> String {
    let line = clean(text.trim_end()).replace('\n', "⏎").replace('\t', " ");
    match line.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// How long something took or is ago: `850ms`, `12s`, `3m4s`, `5h`, `2d`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{}ms", duration.as_millis()),
        1..120 => format!("{seconds}s"),
        120..7200 if seconds.is_multiple_of(60) || seconds >= 600 => format!("{}m", seconds / 60),
        120..7200 => format!("{}m{}s", seconds / 60, seconds % 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long ago a time is.
pub fn age(time: jiff::Timestamp) -> String {
    duration(
        jiff::Timestamp::now()
            .duration_since(time)
            .try_into()
            .unwrap_or_default(),
    )
}

/// A time as people say it: `in 3h`, `5m ago`.
pub fn relative(time: jiff::Timestamp, now: jiff::Timestamp) -> String {
    let left = time.duration_since(now);
    let text = duration(left.unsigned_abs());
    if left.is_negative() {
        format!("{text} ago")
    } else {
        format!("in {text}")
    }
}

/// Bytes: `812 B`, `3 KiB`, `1.5 MiB`.
pub fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{} KiB", count.div_ceil(1024)),
        _ => format!("{:.1} MiB", count as f64 / 1_048_576.0),
    }
}

/// A number with a space between thousands.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A word for a POSIX shell.
pub fn quote(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:,@%+=".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests;
