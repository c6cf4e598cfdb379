//! Text of strangers, for a model and for whoever reads the transcript: without characters that steer instead of being read.

/// Whether a character has no place in such a text: it steers a terminal, reorders what stands around it, or is seen by a model and by nobody else.
pub const fn is_hidden(letter: char) -> bool {
    matches!(
        letter,
        '\u{0}'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}' // control characters but tab and line end
            | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' // direction (Unicode's Bidi_Control)
            | '\u{2028}' | '\u{2029}' // line ends that few show as such
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}' // tags: ASCII that nobody sees
    )
}

/// The text in one line, of at most so many characters.
#[must_use]
pub fn line(text: &str, most: usize) -> String {
    let mut line = String::new();
    let mut left = most;
    let mut space = false;
    for letter in text.chars() {
        if letter.is_whitespace() || is_hidden(letter) {
            space = !line.is_empty();
            continue;
        }
        if left <= usize::from(space) {
            line.push('…');
            break;
        }
        if std::mem::take(&mut space) {
            line.push(' ');
            left -= 1;
        }
        line.push(letter);
        left -= 1;
    }
    line
}

/// The text with its lines.
#[must_use]
pub fn lines(text: &str) -> String {
    let mut letters = text.chars().peekable();
    let mut clean = String::with_capacity(text.len());
    while let Some(letter) = letters.next() {
        match letter {
            '\r' if letters.peek() != Some(&'\n') => clean.push('\n'),
            letter if is_hidden(letter) => {}
            letter => clean.push(letter),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_steers_is_taken_out() {
        for (text, in_line, in_lines) in [
            ("a  b\tc\n\nd ", "a b c d", "a  b\tc\n\nd "),
            ("a\r\nb\rc", "a b c", "a\nb\nc"),
            ("\u{1b}[31mred\u{7}", "[31mred", "[31mred"),
            ("gpj.\u{202e}exe\u{2069}", "gpj. exe", "gpj.exe"),
            ("a\u{e0069}\u{e0067}b", "a b", "ab"),
            ("\u{feff}a\u{2028}b\u{85}c", "a b c", "abc"),
            (
                "👩\u{200d}👧 שלום",
                "👩\u{200d}👧 שלום",
                "👩\u{200d}👧 שלום",
            ),
            ("", "", ""),
        ] {
            assert_eq!(line(text, 100), in_line, "{text:?}");
            assert_eq!(lines(text), in_lines, "{text:?}");
        }
    }

    #[test]
    fn a_line_has_a_bound() {
        for (text, most, expected) in [
            ("abc", 3, "abc"),
            ("abc ", 3, "abc"),
            ("abcd", 3, "abc…"),
            ("ab cd", 3, "ab…"),
            ("é é é", 3, "é é…"),
            ("a", 0, "…"),
        ] {
            assert_eq!(line(text, most), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left(text in any::<String>(), most in 0..200usize) {
            let line = line(&text, most);
            prop_assert!(!line.chars().any(|letter| is_hidden(letter) || letter == '\n' || letter == '\t'));
            prop_assert!(line.chars().count() <= most + 1);
            prop_assert!(!lines(&text).chars().any(is_hidden));
        }
    }
}
