//! Vocabularies and their meaning, read from the doc comments of the source: what a constant means is written once, where it is defined.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// One word of a vocabulary.
#[derive(Debug, PartialEq, Eq)]
pub struct Word {
    pub name: String,
    pub meaning: String,
}

/// The string constants of a file in one module (`None`: before the first one), in their order.
pub fn constants(root: &Path, file: &str, module: Option<&str>) -> Result<Vec<Word>> {
    let text = read(root, file)?;
    let words = parse_constants(&text, module);
    ensure!(!words.is_empty(), "{file} has no documented constants");
    Ok(words)
}

/// The variants of an enum, in their order.
pub fn variants(root: &Path, file: &str, name: &str) -> Result<Vec<Word>> {
    let text = read(root, file)?;
    let words = parse_variants(&text, name);
    ensure!(!words.is_empty(), "{file} has no documented enum {name}");
    Ok(words)
}

fn read(root: &Path, file: &str) -> Result<String> {
    fs::read_to_string(root.join(file)).with_context(|| format!("failed to read {file}"))
}

/// The lines of a module's body: from `pub mod NAME {` to the brace in its column, or everything before the first such line.
fn body<'a>(text: &'a str, module: Option<&str>) -> Vec<&'a str> {
    match module {
        None => text
            .lines()
            .take_while(|line| !line.starts_with("pub mod ") && !line.starts_with("pub fn "))
            .collect(),
        Some(name) => {
            let head = format!("pub mod {name} {{");
            text.lines()
                .skip_while(|line| *line != head)
                .skip(1)
                .take_while(|line| *line != "}")
                .collect()
        }
    }
}

pub fn parse_constants(text: &str, module: Option<&str>) -> Vec<Word> {
    let mut words = Vec::new();
    let mut doc = Vec::new();
    for line in body(text, module) {
        let line = line.trim();
        if let Some(part) = line.strip_prefix("///") {
            doc.push(part.trim());
            continue;
        }
        if line.starts_with("pub const ")
            && let Some((_, value)) = line.split_once("= \"")
            && let Some(name) = value.strip_suffix("\";")
        {
            words.push(Word {
                name: name.to_owned(),
                meaning: doc.join(" "),
            });
        }
        doc.clear();
    }
    words
}

pub fn parse_variants(text: &str, name: &str) -> Vec<Word> {
    let head = format!("pub enum {name} {{");
    let mut words = Vec::new();
    let mut doc = Vec::new();
    let lines = text
        .lines()
        .skip_while(|line| *line != head)
        .skip(1)
        .take_while(|line| *line != "}");
    for line in lines {
        let line = line.trim();
        if let Some(part) = line.strip_prefix("///") {
            doc.push(part.trim());
            continue;
        }
        if let Some(variant) = line.strip_suffix(',')
            && variant.chars().all(char::is_alphanumeric)
        {
            words.push(Word {
                name: variant.to_owned(),
                meaning: doc.join(" "),
            });
        }
        doc.clear();
    }
    words
}
