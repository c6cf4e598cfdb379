use super::{Json, filled, tokens};
use proptest::prelude::*;

fn read(text: &str) -> Json<'_> {
    Json::parse(text).unwrap()
}

#[test]
fn fields_are_found_and_the_last_of_two_counts() {
    let [a, b, c, d] = read(r#" {"a": 1, "x": [{}], "b": null, "\u0063": "d", "a": [2 ]} "#)
        .pick(["a", "b", "c", "d"]);
    assert_eq!(a.unwrap().text(), "[2 ]");
    assert!(b.is_none() && d.is_none());
    assert_eq!(filled(c).as_deref(), Some("d"));
    assert!(read("[1]").get("a").is_none());
}

#[test]
fn lists_are_taken_until_enough() {
    let mut seen = Vec::new();
    read(r#"[1, null, "b", 3, 4]"#).each(|element| {
        seen.push(element.text());
        seen.len() < 3
    });
    assert_eq!(seen, ["1", "\"b\"", "3"]);
    assert_eq!(read("[{}]").first().unwrap().text(), "{}");
    assert!(read("[]").first().is_none() && read("7").first().is_none());
}

#[test]
fn counts_are_whole_and_not_negative() {
    for (text, count) in [
        ("0", Some(0)),
        ("12", Some(12)),
        ("12.0", Some(12)),
        ("1e3", Some(1000)),
        ("\"7\"", Some(7)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", None),
        ("1e300", None),
        ("-1", None),
        ("-0.5", None),
        ("1.5", None),
        ("\"\"", None),
        ("\"NaN\"", None),
        ("true", None),
        ("{}", None),
    ] {
        assert_eq!(read(text).count(), count, "{text}");
    }
    assert_eq!(tokens(None), Some(0));
    assert_eq!(tokens(Json::parse("-4")), None);
}

#[test]
fn deep_nesting_is_only_bytes() {
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    // serde_json gives up or passes over it; neither takes stack.
    let _ = Json::parse(&deep).map(|json| json.get("a").map(Json::first));
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*") {
        if let Some(json) = Json::parse(&text) {
            let _ = (json.pick(["a", "b"]), json.first(), json.string(), json.count());
        }
    }
}
