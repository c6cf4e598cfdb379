//! Holds what documents say of the code: each test that they name is there.

use std::fs;
use std::path::Path;

use crate::cache::checkout;

/// Documents with tables of tests, and more than so many in them.
const NAMING: [(&str, usize); 2] = [("docs/threat-model.md", 100), ("docs/behaviours.md", 90)];

/// The code spans in the last column of tables whose last column is called `test`.
fn named(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut of_tests = false;
    for line in text.lines() {
        let Some(row) = line
            .strip_prefix("| ")
            .and_then(|row| row.strip_suffix(" |"))
        else {
            of_tests &= line.starts_with('|'); // the line under the header
            continue;
        };
        let last = row.rsplit(" | ").next().unwrap_or_default();
        if last == "test" {
            of_tests = true;
        } else if of_tests {
            let spans: Vec<String> = last
                .split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect();
            assert!(!spans.is_empty(), "no test in the row: {line}");
            found.extend(spans);
        }
    }
    found
}

/// What is wrong with a name: `path`, or `path: test`; a path is of the checkout, or of `e2e/tests`.
fn problem(root: &Path, name: &str) -> Option<String> {
    let (path, test) = match name.split_once(": ") {
        Some((path, test)) => (path, Some(test)),
        None => (name, None),
    };
    let places = [root.join(path), root.join("e2e/tests").join(path)];
    let Some(file) = places.iter().find(|place| place.exists()) else {
        return Some(format!("{name}: there is no such file"));
    };
    let test = test?;
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return Some(format!("{name}: {error}")),
    };
    // A property stands within a macro.
    let there = text.lines().map(str::trim_start).any(|line| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        let name = line
            .strip_prefix("fn ")
            .and_then(|rest| rest.strip_prefix(test));
        name.is_some_and(|rest| rest.starts_with('('))
    });
    (!there).then(|| format!("{name}: no such test"))
}

#[test]
fn every_test_that_a_document_names_is_there() {
    let root = checkout();
    for (document, least) in NAMING {
        let text = fs::read_to_string(root.join(document)).unwrap();
        let names = named(&text);
        assert!(names.len() > least, "{document}: {}", names.len());
        let wrong: Vec<String> = names
            .iter()
            .filter_map(|name| problem(&root, name))
            .collect();
        assert!(wrong.is_empty(), "{document}:\n{}", wrong.join("\n"));
    }
}

#[test]
fn a_name_that_leads_nowhere_is_told() {
    let text = "| a | test |\n|---|---|\n| `x` | `api/guards.rs`, `b.rs: c` |\n\n| a | b |\n|---|---|\n| a | `not one` |\n";
    assert_eq!(named(text), ["api/guards.rs", "b.rs: c"]);
    let root = checkout();
    for (name, there) in [
        ("api/guards.rs", true),
        ("gateway/tests/fuzz", true),
        ("api/nowhere.rs", false),
        (
            "xtask/src/documents.rs: a_name_that_leads_nowhere_is_told",
            true,
        ),
        ("xtask/src/documents.rs: a_name_that_leads_nowhere", false),
        (
            "api/guards.rs: nobody_forges_a_pod_or_a_job_of_a_task",
            true,
        ),
    ] {
        assert_eq!(problem(&root, name).is_none(), there, "{name}");
    }
}
