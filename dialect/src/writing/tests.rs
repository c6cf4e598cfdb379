use super::{Arguments, Dropped, path_segment};
use crate::json::MAX_DEPTH;
use proptest::prelude::*;
use serde_json::{Number, Value};

#[test]
fn arguments_are_an_object() {
    for (text, object) in [
        ("", "{}"),
        (" \n", "{}"),
        (r#" {"b" :1, "a":1.0e2} "#, r#"{"b" :1, "a":1.0e2}"#),
        (r#"{"a":"\ud800"}"#, r#"{"a":"\ufffd"}"#),
        ("[1]", r#"{"invalid_arguments":"[1]"}"#),
        ("null", r#"{"invalid_arguments":"null"}"#),
        (r#"{"a":1"#, r#"{"invalid_arguments":"{\"a\":1"}"#),
        (
            r#"{"a":1,"a":2}"#,
            r#"{"invalid_arguments":"{\"a\":1,\"a\":2}"}"#,
        ),
    ] {
        assert_eq!(Arguments::new(text).to_json(), object, "{text}");
    }
    let deep = format!(
        "{{\"a\":{}{}}}",
        "[".repeat(MAX_DEPTH),
        "]".repeat(MAX_DEPTH)
    );
    assert!(matches!(Arguments::new(&deep), Arguments::Invalid { .. }));
}

#[test]
fn fields_are_dropped_once() {
    let mut dropped = Dropped::new(&["user".to_owned(), "metadata".to_owned()]);
    for field in ["seed", "user", "seed"] {
        dropped.add(field);
    }
    let near = dropped.clamp(Number::from_f64(-3.0).as_ref(), 0.0..=1.0, "temperature");
    assert_eq!(near, Number::from_f64(0.0));
    assert_eq!(
        dropped.clamp(Some(&1.into()), 0.0..=1.0, "top_p"),
        Some(1.into())
    );
    assert_eq!(dropped.at_most(Some(9), 7, "top_k"), Some(7));
    assert_eq!(dropped.first(&[1, 2], 2, "stop"), [1, 2]);
    assert_eq!(
        dropped.into_list(),
        ["user", "metadata", "seed", "temperature", "top_k"]
    );
}

proptest! {
    /// Whatever a model writes, the body is JSON.
    #[test]
    fn any_arguments_are_json(text in "\\PC*|[{}\\[\\]\",:a1 \\\\]*") {
        let written = Arguments::new(&text).to_json();
        prop_assert!(serde_json::from_str::<Value>(&written).unwrap().is_object());
    }

    #[test]
    fn a_segment_is_one(text in "\\PC+") {
        let segment = path_segment(&text);
        prop_assert!(segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
        prop_assert!(segment != "." && segment != "..");
    }
}
