use super::{Key, VALUES, at, keys};
use crate::cache::checkout;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

fn key(path: &[&str], meaning: &str) -> Key {
    Key {
        path: path.iter().map(|&name| name.to_owned()).collect(),
        meaning: meaning.to_owned(),
    }
}

#[test]
fn comments_are_of_the_key_that_they_stand_at() {
    let text = "# All.\n\n# One,\n# and more.\na:\n  # Two.\n  b: {c: 1}\n  # - d: e\n  #   f: g\n  # Three.\n  h:\n  - {i: j}\n  # k: l\n\nm: 1\n";
    assert_eq!(
        keys(text),
        [
            key(&["a"], "One, and more."),
            key(&["a", "b"], "Two. `- d: e` `f: g`"),
            key(&["a", "h"], "Three. `k: l`"),
            key(&["m"], ""),
        ]
    );
}

/// Paths of what a schema names.
fn named(schema: &Value, path: &str, into: &mut BTreeSet<String>) {
    let Some(properties) = schema["properties"].as_object() else {
        into.insert(path.to_owned());
        return;
    };
    for (name, below) in properties {
        // What other charts share is of no account here.
        if path.is_empty() && name == "global" {
            continue;
        }
        named(below, &format!("{path}/{name}"), into);
    }
}

#[test]
fn values_and_their_schema_name_the_same() {
    let text = fs::read_to_string(checkout().join(VALUES)).unwrap();
    let values: Value = serde_saphyr::from_str(&text).unwrap();
    let schema =
        fs::read_to_string(checkout().join("charts/oarmaster/values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let mut of_schema = BTreeSet::new();
    named(&schema, "", &mut of_schema);
    assert!(of_schema.len() > 80, "{}", of_schema.len());
    for path in &of_schema {
        assert!(values.pointer(path).is_some(), "{path} has no default");
    }
    for Key { path, .. } in keys(&text) {
        let pointer = format!("/{}", path.join("/"));
        assert!(at(&values, &path).is_some(), "{pointer}");
        let known = of_schema
            .iter()
            .any(|known| pointer.starts_with(known.as_str()) || known.starts_with(&pointer));
        assert!(known, "{pointer} is not in the schema");
    }
}
