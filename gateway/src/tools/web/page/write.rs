//! The text of a page as it is written: white space as it is shown, blocks in lines of their own.

/// Longest text in bytes: that of a page of which every byte is text.
const MAX_TEXT: usize = 2 << 20;
/// Deepest indentation of a list that is shown.
const MAX_INDENT: usize = 8;

/// Writes a text.
#[derive(Debug, Default)]
pub struct Writer {
    text: String,
    /// Line ends that are due before the next word.
    breaks: usize,
    /// Whether a space is.
    space: bool,
    /// Within preformatted text.
    pre: bool,
    is_full: bool,
}

impl Writer {
    /// What was written.
    pub fn finish(mut self) -> String {
        let end = self.text.trim_end().len();
        self.text.truncate(end);
        self.text
    }

    /// How much was written.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether no more is taken.
    pub const fn is_full(&self) -> bool {
        self.is_full
    }

    /// At least so many line ends before what follows.
    pub fn breaks(&mut self, lines: usize) {
        self.breaks = self.breaks.max(lines);
        self.space &= lines == 0;
    }

    /// Keeps white space from here on, or not.
    pub fn pre(&mut self, pre: bool) {
        self.pre = pre;
    }

    /// Whether white space is kept.
    pub const fn is_pre(&self) -> bool {
        self.pre
    }

    /// Text of the page.
    pub fn words(&mut self, text: &str) {
        if self.pre {
            if !text.is_empty() {
                self.flush();
                self.put(text);
            }
            return;
        }
        let is_space = |letter: char| letter.is_ascii_whitespace();
        for (index, word) in text.split(is_space).enumerate() {
            self.space |= index > 0;
            if !word.is_empty() {
                self.flush();
                self.put(word);
            }
        }
    }

    /// A mark of ours, right behind the last word.
    pub fn mark(&mut self, mark: &str) {
        self.put(mark);
    }

    /// What an item of a list begins with.
    pub fn item(&mut self, depth: usize, mark: &str) {
        self.breaks(1);
        self.flush();
        let indent = "  ".repeat(depth.clamp(1, MAX_INDENT) - 1);
        self.put(&indent);
        self.put(mark);
    }

    fn flush(&mut self) {
        let breaks = std::mem::take(&mut self.breaks);
        let space = std::mem::take(&mut self.space);
        if self.text.is_empty() {
            return;
        }
        if breaks > 0 {
            let there = self.text.bytes().rev().take_while(|byte| *byte == b'\n');
            let there = there.take(breaks).count();
            self.put(&"\n".repeat(breaks - there));
        } else if space && !self.text.ends_with([' ', '\n']) {
            self.put(" ");
        }
    }

    fn put(&mut self, text: &str) {
        if self.text.len() + text.len() > MAX_TEXT {
            self.is_full = true;
        } else if !self.is_full {
            self.text.push_str(text);
        }
    }
}
