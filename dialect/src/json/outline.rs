//! The outline of JSON that was found valid: where the elements of a list and the fields of an object are. What is in them is skipped as
//! fast as quotes are found, since long texts are most of a request.

use super::after_string;

/// The elements of a list, each as it stands there; `None` for what is no list.
#[must_use]
pub fn elements(json: &str) -> Option<impl Iterator<Item = &str>> {
    let mut cursor = Cursor::open(json, b'[')?;
    Some(std::iter::from_fn(move || cursor.value()))
}

/// The fields of an object, each with its name in quotes and its value as they stand there; `None` for what is no object.
#[must_use]
pub fn members(json: &str) -> Option<impl Iterator<Item = (&str, &str)>> {
    let mut cursor = Cursor::open(json, b'{')?;
    Some(std::iter::from_fn(move || {
        let name = cursor.value()?;
        Some((name, cursor.value()?))
    }))
}

struct Cursor<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Behind the first byte, which must be this one.
    fn open(json: &'a str, first: u8) -> Option<Self> {
        let json = json.trim_start();
        (json.as_bytes().first() == Some(&first)).then_some(Self { json, at: 1 })
    }

    /// The next value, behind what stands between two of them; `None` at the end.
    fn value(&mut self) -> Option<&'a str> {
        let bytes = self.json.as_bytes();
        while matches!(
            bytes.get(self.at)?,
            b' ' | b'\t' | b'\r' | b'\n' | b',' | b':'
        ) {
            self.at += 1;
        }
        let from = self.at;
        let end = match bytes.get(from)? {
            b'"' => after_string(bytes, from + 1),
            b'{' | b'[' => after_nested(bytes, from),
            b'}' | b']' => return None,
            _ => after_word(bytes, from),
        };
        self.at = end;
        self.json.get(from..end)
    }
}

/// Where a list or an object ends that begins at `at`.
fn after_nested(json: &[u8], mut at: usize) -> usize {
    let mut depth = 0usize;
    while let Some(byte) = json.get(at) {
        at += 1;
        match byte {
            b'"' => at = after_string(json, at),
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => return at,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    json.len()
}

/// Where a number or a word ends that begins at `at`.
fn after_word(json: &[u8], at: usize) -> usize {
    let rest = json.get(at..).unwrap_or_default();
    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n');
    at + rest.iter().position(ends).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::{elements, members};
    use proptest::prelude::*;
    use serde_json::value::RawValue;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    fn anything() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[\\PC\"\\\\{}\\[\\],: \n]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a\"\\\\{}:]{0,3}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_outline_is_what_serde_finds(value in anything(), pretty: bool) {
            let text = if pretty { format!(" {value:#}") } else { value.to_string() };
            let list: Option<Vec<&RawValue>> = serde_json::from_str(&text).ok();
            let list = list.map(|list| list.into_iter().map(RawValue::get).collect::<Vec<_>>());
            prop_assert_eq!(elements(&text).map(Iterator::collect::<Vec<_>>), list);
            let object: Option<BTreeMap<String, &RawValue>> = serde_json::from_str(&text).ok();
            let object = object.map(|object| {
                object.into_iter().map(|(name, value)| (name, value.get())).collect()
            });
            let found = members(&text).map(|fields| {
                let read = |(name, value)| (serde_json::from_str(name).unwrap(), value);
                fields.map(read).collect::<BTreeMap<String, &str>>()
            });
            prop_assert_eq!(found, object);
        }

        #[test]
        fn what_is_no_json_ends_too(text in "[\"\\\\{}\\[\\],: a1]{0,40}") {
            for found in [elements(&text).map(Iterator::count), members(&text).map(Iterator::count)] {
                prop_assert!(found.unwrap_or_default() <= text.len());
            }
        }
    }

    #[test]
    fn brackets_and_escapes_in_texts_are_no_outline() {
        let text = json!(["]", "\\", "\"]", {"a": "}"}, [1, [2]], null]).to_string();
        assert_eq!(elements(&text).map(Iterator::count), Some(6));
        assert_eq!(elements("{}").map(Iterator::count), None);
        assert_eq!(members("[]").map(Iterator::count), None);
    }
}
