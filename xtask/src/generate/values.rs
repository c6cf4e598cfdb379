//! The page of the chart's values, from the comments in its values.yaml.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::reference::cell;

const VALUES: &str = "charts/oarmaster/values.yaml";

/// A key of values.yaml.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// Names from the root on.
    pub path: Vec<String>,
    /// The comment above it, and what follows it as an example.
    pub meaning: String,
}

/// The page.
pub fn page(root: &Path) -> Result<String> {
    let text = fs::read_to_string(root.join(VALUES))
        .with_context(|| format!("failed to read {VALUES}"))?;
    let values: Value =
        serde_saphyr::from_str(&text).with_context(|| format!("failed to read {VALUES}"))?;
    let keys = keys(&text);
    let mut page = String::from(
        "# Values of the chart oarmaster\n\nHelm refuses any other (`values.schema.json`). How they are set for kinds of clusters: [operations](../operations/README.md).\n\n\
         | value | default | meaning |\n|---|---|---|\n",
    );
    for (index, Key { path, meaning }) in keys.iter().enumerate() {
        let value = at(&values, path).with_context(|| format!("{} is nowhere", path.join(".")))?;
        let next = keys.get(index + 1).map(|key| key.path.as_slice());
        let around = next.is_some_and(|next| next.len() > path.len());
        // What is around others says nothing by itself.
        if around && meaning.is_empty() {
            continue;
        }
        let default = if around {
            String::new()
        } else {
            format!("`{value}`")
        };
        let same = path
            .last()
            .filter(|name| path.len() == 2 && values.get(name.as_str()).is_some());
        let meaning = match same {
            Some(name) if meaning.is_empty() => format!("as `{name}`, of these pods"),
            _ => meaning.clone(),
        };
        writeln!(
            page,
            "| `{}` | {} | {} |",
            path.join("."),
            cell(&default),
            cell(&meaning)
        )?;
    }
    Ok(page)
}

fn at<'a>(values: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(values, |value, name| value.get(name))
}

/// The keys, in their order, each on a line of its own. A comment is about the key below it; one that begins with `- `, or that nothing
/// follows before an empty line, is an example of the one above.
pub fn keys(text: &str) -> Vec<Key> {
    let mut found: Vec<Key> = Vec::new();
    let mut above: Vec<&str> = Vec::new();
    let mut open: Vec<(usize, String)> = Vec::new();
    let mut example = false;
    for line in text.lines().chain([""]) {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        if let Some(comment) = trimmed.strip_prefix('#') {
            let begins = comment.starts_with(" - ");
            example = begins || (example && comment.starts_with("   "));
            match found.last_mut() {
                Some(key) if example => add(&mut key.meaning, &format!("`{}`", comment.trim())),
                _ => above.push(comment.trim()),
            }
            continue;
        }
        example = false;
        if trimmed.is_empty() {
            if let Some(key) = found.last_mut() {
                for comment in above.drain(..) {
                    add(&mut key.meaning, &format!("`{comment}`"));
                }
            }
            above.clear();
            continue;
        }
        let name = trimmed.split_once(':').map(|(name, _)| name);
        let Some(name) = name.filter(|name| !name.starts_with('-')) else {
            continue; // an element of a list
        };
        open.retain(|(held, _)| *held < indent);
        open.push((indent, name.to_owned()));
        found.push(Key {
            path: open.iter().map(|(_, name)| name.clone()).collect(),
            meaning: above.join(" "),
        });
        above.clear();
    }
    found
}

fn add(text: &mut String, more: &str) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(more);
}

#[cfg(test)]
mod tests;
