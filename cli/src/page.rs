//! A page of labelled lines, as `oar get` and its like print one object.

use crate::text::clean;
use std::fmt::Write as _;

/// Width of the labels.
const LABEL: usize = 12;

/// Lines with a label before each.
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    /// Adds a value. Its further lines stand below its first: no text of somebody else looks like a label.
    pub fn put(&mut self, label: &str, value: &str) {
        let below = format!("\n{}", " ".repeat(LABEL + 1));
        let value = value.trim_end().replace('\n', &below);
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{label:<LABEL$} {value}");
    }

    /// The page, fit for a terminal.
    pub fn text(&self) -> String {
        clean(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_a_value_looks_like_a_label() {
        let mut page = Page::default();
        page.put("Question", "Go?\nApprovers    nobody\u{1b}[2J\n\n");
        page.put("Phase", "Waiting");
        assert_eq!(
            page.text(),
            "Question     Go?\n             Approvers    nobody\\x1b[2J\nPhase        Waiting\n"
        );
    }
}
