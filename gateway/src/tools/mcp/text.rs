//! Texts of servers: what a person could not see in them is taken out.

/// The text without characters that are not seen, or reorder what is: controls but for line feeds and tabs, signs of direction, joiners of nothing, and the
/// tags in which text can be hidden.
pub fn clean(text: &str) -> String {
    text.chars().filter(|letter| !is_unseen(*letter)).collect()
}

/// The same, of at most so many characters.
pub fn short(text: &str, most: usize) -> String {
    oarmaster_protocol::text::shorten(&clean(text), most)
}

fn is_unseen(letter: char) -> bool {
    match letter {
        '\n' | '\t' => false,
        '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'
        | '\u{200e}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => true,
        letter => letter.is_control(),
    }
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
        assert!(short(&"x".repeat(100), 10).chars().count() <= 10);
    }
}
