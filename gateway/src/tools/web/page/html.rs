//! HTML as text, from its tokens alone: there is no tree, so nothing is nested too deep, and each byte is looked at a bounded number of times.

use super::super::target::Target;
use super::write::Writer;
use super::{MAX_TITLE, Page};
use crate::tools::clean::{line, lines};
use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer};
use std::collections::HashMap;
use std::collections::btree_map::BTreeMap;

/// Most addresses of a page that are numbered.
const MAX_LINKS: usize = 1000;
/// What begins the part of a page that is its own.
const MAIN: &[u8] = b"<main";
/// Characters of a `<main>` that is taken for all of the page's content.
const ENOUGH: usize = 200;
/// Deepest list that is counted.
const MAX_LISTS: usize = 64;
/// Longest text in the place of a picture, in characters.
const MAX_PICTURE: usize = 200;

/// What has no text for readers.
const SKIPPED: [&[u8]; 12] = [
    b"script",
    b"style",
    b"template",
    b"svg",
    b"math",
    b"iframe",
    b"object",
    b"select",
    b"textarea",
    b"noembed",
    b"noframes",
    b"noscript",
];

/// Reads a page: its `<main>` where that has something to read, else all of it.
pub fn read(html: &str, url: &Target) -> Page {
    let mut tags = html.as_bytes().windows(MAIN.len());
    if tags.any(|tag| tag.eq_ignore_ascii_case(MAIN)) {
        let main = Reader::new(url, true).run(html);
        if main.text.chars().nth(ENOUGH).is_some() {
            return main;
        }
    }
    Reader::new(url, false).run(html)
}

struct Reader<'a> {
    url: &'a Target,
    /// What addresses within the page are relative to.
    base: Target,
    writer: Writer,
    page: Page,
    numbers: HashMap<Target, usize>,
    /// Only what stands in `<main>`, and whether that is here.
    only_main: bool,
    in_main: bool,
    /// What is skipped, and how often it was begun.
    skipped: Option<(Vec<u8>, usize)>,
    /// The title, while it is read.
    title: Option<String>,
    /// The link that is open: its address, and where its text begins.
    link: Option<(Target, usize)>,
    /// Lists that are open: the number of the next item, where they have numbers.
    lists: Vec<Option<u32>>,
    /// Cells of the row so far.
    cells: usize,
}

impl<'a> Reader<'a> {
    fn new(url: &'a Target, only_main: bool) -> Self {
        Self {
            url,
            base: url.clone(),
            writer: Writer::default(),
            page: Page::default(),
            numbers: HashMap::new(),
            only_main,
            in_main: false,
            skipped: None,
            title: None,
            link: None,
            lists: Vec::new(),
            cells: 0,
        }
    }

    fn run(mut self, html: &str) -> Page {
        let mut emitter = DefaultEmitter::default();
        emitter.naively_switch_states(true);
        for token in Tokenizer::new_with_emitter(html, emitter) {
            match token {
                Ok(Token::StartTag(tag)) => self.start(&tag),
                Ok(Token::EndTag(tag)) => self.end(&tag.name),
                Ok(Token::String(text)) => self.text(&String::from_utf8_lossy(&text)),
                Ok(_) | Err(_) => {} // a text in memory does not fail
            }
            if self.writer.is_full() {
                break;
            }
        }
        self.close_link();
        self.page.is_cut = self.writer.is_full();
        self.page.text = self.writer.finish();
        let end = self.page.text.len();
        self.page.links.retain(|(at, _)| *at <= end);
        self.page
    }

    const fn is_shown(&self) -> bool {
        self.in_main || !self.only_main
    }

    fn text(&mut self, text: &str) {
        if self.skipped.is_some() {
            return;
        }
        if let Some(title) = &mut self.title {
            // What is longer is cut in any case.
            if title.len() < 8 * MAX_TITLE {
                title.extend(text.chars().take(2 * MAX_TITLE));
            }
        } else if self.is_shown() {
            self.writer.words(&lines(text));
        }
    }

    fn start(&mut self, tag: &StartTag<()>) {
        let name = tag.name.as_slice();
        if let Some((skipped, depth)) = &mut self.skipped {
            *depth += usize::from(skipped == name && !tag.self_closing);
            return;
        }
        if SKIPPED.contains(&name) {
            if !(tag.self_closing && matches!(name, b"svg" | b"math")) {
                self.skipped = Some((name.to_vec(), 1));
            }
            return;
        }
        match name {
            b"title" => self.title = Some(String::new()),
            b"base" => {
                if let Some(base) = self.address(tag, b"href") {
                    self.base = base;
                }
            }
            b"link" => self.canonical(tag),
            b"main" => self.in_main = true,
            _ => {}
        }
        if !self.is_shown() {
            return;
        }
        match name {
            b"a" => {
                self.close_link();
                let at = self.writer.len();
                self.link = self.address(tag, b"href").map(|to| (to, at));
            }
            b"img" => {
                let said = attribute(tag, b"alt").unwrap_or_default();
                let said = line(&said, MAX_PICTURE);
                if !said.is_empty() {
                    self.writer.words(&format!("[image: {said}]"));
                }
            }
            b"br" if self.writer.is_pre() => self.writer.words("\n"),
            b"hr" => {
                self.writer.breaks(2);
                self.writer.words("---");
                self.writer.breaks(2);
            }
            b"li" => self.item(),
            b"td" | b"th" => {
                if self.cells > 0 {
                    self.writer.words(" | ");
                }
                self.cells += 1;
            }
            b"ul" | b"ol" | b"menu" => {
                self.writer
                    .breaks(if self.lists.is_empty() { 2 } else { 1 });
                if self.lists.len() < MAX_LISTS {
                    self.lists.push((name == b"ol").then_some(1));
                }
            }
            b"pre" => {
                self.fence();
                self.writer.pre(true);
            }
            b"code" if !self.writer.is_pre() => self.writer.words("`"),
            _ => {
                self.writer.breaks(breaks(name));
                if name == b"tr" {
                    self.cells = 0;
                }
                if let Some(level) = heading(name) {
                    self.writer.words(&"#".repeat(level));
                    self.writer.words(" ");
                }
            }
        }
    }

    fn end(&mut self, name: &[u8]) {
        if let Some((skipped, depth)) = &mut self.skipped {
            *depth -= usize::from(skipped == name);
            if *depth == 0 {
                self.skipped = None;
            }
            return;
        }
        if name == b"title"
            && let Some(title) = self.title.take()
        {
            // The first one is the page's.
            if self.page.title.is_empty() {
                self.page.title = line(&title, MAX_TITLE);
            }
            return;
        }
        if self.is_shown() {
            match name {
                b"a" => self.close_link(),
                b"ul" | b"ol" | b"menu" => {
                    self.lists.pop();
                    self.writer
                        .breaks(if self.lists.is_empty() { 2 } else { 1 });
                }
                b"pre" if self.writer.is_pre() => {
                    self.writer.pre(false);
                    self.fence();
                }
                b"code" if !self.writer.is_pre() => self.writer.mark("`"),
                _ => self.writer.breaks(breaks(name)),
            }
        }
        if name == b"main" {
            self.in_main = false;
        }
    }

    fn item(&mut self) {
        let depth = self.lists.len();
        let mark = match self.lists.last_mut() {
            Some(Some(number)) => {
                let mark = format!("{number}. ");
                *number = number.saturating_add(1);
                mark
            }
            Some(None) | None => "- ".to_owned(),
        };
        self.writer.item(depth, &mark);
    }

    fn fence(&mut self) {
        self.writer.breaks(1);
        self.writer.words("```");
        self.writer.breaks(1);
    }

    fn canonical(&mut self, tag: &StartTag<()>) {
        let rel = attribute(tag, b"rel").unwrap_or_default();
        let mut words = rel.split_ascii_whitespace();
        if self.page.canonical.is_none() && words.any(|word| word.eq_ignore_ascii_case("canonical"))
        {
            let said = self.address(tag, b"href");
            self.page.canonical = said.filter(|said| said != self.url);
        }
    }

    /// Numbers a link that has a text.
    fn close_link(&mut self) {
        let Some((target, begun)) = self.link.take() else {
            return;
        };
        if self.writer.len() == begun || target == *self.url {
            return;
        }
        let known = self.numbers.len();
        let index = match self.numbers.get(&target) {
            Some(index) => *index,
            None if known < MAX_LINKS => {
                self.numbers.insert(target.clone(), known);
                self.page.targets.push(target);
                known
            }
            None => return,
        };
        // The first source is the page itself.
        self.writer.mark(&format!("[{}]", index + 2));
        self.page.links.push((self.writer.len(), index));
    }

    fn address(&self, tag: &StartTag<()>, name: &[u8]) -> Option<Target> {
        self.base.join(&attribute(tag, name)?).ok()
    }
}

fn attribute(tag: &StartTag<()>, name: &[u8]) -> Option<String> {
    let attributes: &BTreeMap<_, _> = &tag.attributes;
    let value = attributes.get(name)?;
    Some(String::from_utf8_lossy(value).into_owned())
}

fn heading(name: &[u8]) -> Option<usize> {
    match name {
        [b'h', level @ b'1'..=b'6'] => Some(usize::from(level - b'0')),
        _ => None,
    }
}

/// Line ends before and after an element, as browsers show it: two leave a line empty.
fn breaks(name: &[u8]) -> usize {
    match name {
        b"p" | b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" | b"blockquote" | b"table" | b"dl"
        | b"figure" | b"article" | b"section" | b"main" | b"header" | b"footer" | b"nav"
        | b"aside" | b"form" | b"fieldset" | b"details" => 2,
        b"div" | b"br" | b"li" | b"tr" | b"caption" | b"dt" | b"dd" | b"figcaption"
        | b"summary" | b"address" | b"option" | b"legend" | b"thead" | b"tbody" | b"tfoot"
        | b"hgroup" | b"search" | b"center" | b"body" => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
