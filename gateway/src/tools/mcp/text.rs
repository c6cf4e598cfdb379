//! Texts of servers: what a person could not see in them is taken out.

use crate::tools::clean::is_hidden;

/// The text without characters that are not seen, or reorder what is: controls but for line feeds and tabs, signs of direction, joiners of nothing, and the
/// tags and selectors in which text can be hidden. The sixteen selectors that emoji have stay: more than one after another do not.
pub fn clean(text: &str) -> String {
    let mut before = false;
    let seen = |letter: &char| {
        let selector = matches!(letter, '\u{fe00}'..='\u{fe0f}');
        let second = std::mem::replace(&mut before, selector) && selector;
        !second && !is_unseen(*letter)
    };
    text.chars().filter(seen).collect()
}

/// The same, of at most so many characters.
pub fn short(text: &str, most: usize) -> String {
    oarmaster_protocol::text::shorten(&clean(text), most)
}

fn is_unseen(letter: char) -> bool {
    is_hidden(letter)
        || matches!(
            letter,
            '\u{ad}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{2060}'..='\u{206f}'
                | '\u{e0100}'..='\u{e01ef}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_goes_and_the_rest_stays() {
        let hidden: String = "obey"
            .chars()
            .map(|c| char::from_u32(0xe0000 + c as u32).unwrap())
            .collect();
        let text =
            format!("Reads\u{1b}[31m a\u{202e} file.{hidden}\r\n\tसंस्कृत क्\u{200d}ष 👩\u{200d}💻");
        assert_eq!(
            clean(&text),
            "Reads[31m a file.\n\tसंस्कृत क्\u{200d}ष 👩\u{200d}💻"
        );
        let selectors = "a\u{fe0f}\u{fe00}\u{fe0e}\u{e0100}b";
        assert_eq!(clean(selectors), "a\u{fe0f}b");
        assert!(short(&"x".repeat(100), 10).chars().count() <= 10);
    }
}
