//! Fills the `{{name}}` places of the files in `e2e/cluster`.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::cache;

/// Reads `e2e/cluster/<path>` and fills its places.
pub fn read(path: &str, values: &[(&str, String)]) -> Result<String> {
    let full = cache::checkout().join("e2e/cluster").join(path);
    let text =
        fs::read_to_string(&full).with_context(|| format!("failed to read {}", full.display()))?;
    fill(&text, values).with_context(|| format!("failed to fill {}", full.display()))
}

/// Replaces each place by its value. A value of more than one line is indented
/// like its place; a place without a value is an error.
pub fn fill(text: &str, values: &[(&str, String)]) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let indent: String = line.chars().take_while(|c| *c == ' ').collect();
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, after)) = after.split_once("}}") else {
                bail!("a place is not closed in `{line}`");
            };
            let Some((_, value)) = values.iter().find(|(known, _)| *known == name) else {
                bail!("there is no value for `{name}`");
            };
            out.push_str(before);
            out.push_str(&value.replace('\n', &format!("\n{indent}")));
            rest = after;
        }
        out.push_str(rest);
        out.push('\n');
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_and_lines_indented() {
        let values = [("a", "1".to_owned()), ("b", "x\ny".to_owned())];
        assert_eq!(
            fill("k: {{a}}{{a}}\n  {{b}}\n", &values).unwrap(),
            "k: 11\n  x\n  y\n"
        );
    }

    #[test]
    fn an_unknown_or_open_place_is_an_error() {
        assert!(
            fill("{{nope}}", &[])
                .unwrap_err()
                .to_string()
                .contains("nope")
        );
        assert!(
            fill("{{a", &[])
                .unwrap_err()
                .to_string()
                .contains("not closed")
        );
    }
}
