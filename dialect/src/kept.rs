//! What is looked for in a body that goes on as it came, before any of it is read: most bodies hold nothing that would have to be edited.

use crate::json::{Fields, raw};
use memchr::memmem;
use serde_json::value::RawValue;

/// The strings that are a value of this field, anywhere in JSON text and with their escapes. JSON within a string has none: its quotes are escaped.
pub(crate) fn strings<'a>(json: &'a str, field: &str) -> impl Iterator<Item = &'a str> {
    let key = format!("\"{field}\"");
    let found: Vec<usize> = memmem::find_iter(json.as_bytes(), &key)
        .map(|at| at + key.len())
        .collect();
    found.into_iter().filter_map(move |after| {
        let value = json.get(after..)?.trim_start().strip_prefix(':')?;
        let value = value.trim_start().strip_prefix('"')?;
        value.split('"').next()
    })
}

/// What becomes of an element of a list.
pub(crate) enum Edit {
    /// It stays as it came.
    Keep,
    /// This takes its place.
    Become(String),
    /// It is left out.
    LeaveOut,
}

/// Edits the elements of a list; `None` where nothing changed, or the list is none.
pub(crate) fn each(
    list: &RawValue,
    mut edit: impl FnMut(&RawValue) -> Edit,
) -> Option<Vec<String>> {
    let elements: Vec<&RawValue> = serde_json::from_str(list.get()).ok()?;
    let mut changed = false;
    let mut kept = Vec::with_capacity(elements.len());
    for element in elements {
        match edit(element) {
            Edit::Keep => kept.push(element.get().to_owned()),
            Edit::Become(json) => {
                changed = true;
                kept.push(json);
            }
            Edit::LeaveOut => changed = true,
        }
    }
    changed.then_some(kept)
}

/// Replaces a field by a list of what is JSON already.
pub(crate) fn set_list(fields: &mut Fields, name: &str, elements: &[String]) {
    // What was read as JSON is JSON.
    if let Ok(value) = raw(format!("[{}]", elements.join(","))) {
        fields.set(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::strings;

    #[test]
    fn fields_are_found_in_json_and_not_in_its_strings() {
        let json = r#"[{"id" : "a","id":7,"x":"id","s":"{\"id\":\"no\"}"},{"id":"b\"c"},{"id"}"#;
        let found: Vec<_> = strings(json, "id").collect();
        assert_eq!(found, ["a", r"b\"]);
        assert_eq!(strings("\"id\"", "id").count(), 0);
    }
}
