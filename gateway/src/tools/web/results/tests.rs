use super::*;
use proptest::prelude::*;
use serde_json::json;

fn fields() -> Fields {
    Fields {
        results: "/results".to_owned(),
        title: "/title".to_owned(),
        link: "/url".to_owned(),
        text: "/content".to_owned(),
    }
}

fn found(title: &str, url: &str, text: &str) -> Found {
    Found {
        title: title.to_owned(),
        url: url.to_owned(),
        text: text.to_owned(),
    }
}

fn read_json(answer: &Value, most: usize) -> Result<Vec<Found>, NoList> {
    read(answer.to_string().as_bytes(), &fields(), most)
}

#[test]
fn the_first_results_that_can_be_fetched() {
    let answer = json!({"query": "q", "number_of_results": 0, "results": [
        {"title": "One", "url": "https://one.example/a#part", "content": "about\none", "engine": "x"},
        {"title": "Again", "url": "https://one.example/a"},
        {"title": "Script", "url": "javascript:alert(1)"},
        {"title": "Inside", "url": "http://169.254.169.254/latest"},
        {"title": "Named", "url": "https://user:pw@two.example/"},
        {"title": "Odd port", "url": "https://two.example:8443/"},
        {"title": "No address"},
        {"title": 7, "url": "HTTP://Two.Example", "content": null},
        "text", null, [],
        {"title": "Three", "url": "https://three.example/"},
    ]});
    let two = [
        found("One", "https://one.example/a", "about one"),
        found("", "http://two.example/", ""),
    ];
    assert_eq!(read_json(&answer, 2).unwrap(), two);
    assert_eq!(read_json(&answer, 10).unwrap().len(), 3);
    assert_eq!(read_json(&json!({"results": []}), 10), Ok(Vec::new()));
}

#[test]
fn other_vendors_have_other_places() {
    let brave = Fields {
        results: "/web/results".to_owned(),
        text: "/description".to_owned(),
        ..fields()
    };
    let answer = json!({"web": {"results": [{"title": "T", "url": "https://a.example/", "description": "D"}]}});
    let read_it = read(answer.to_string().as_bytes(), &brave, 10).unwrap();
    assert_eq!(read_it, [found("T", "https://a.example/", "D")]);
    let bare = Fields {
        results: String::new(),
        ..fields()
    };
    let answer = json!([{"url": "https://a.example/"}]);
    assert_eq!(
        read(answer.to_string().as_bytes(), &bare, 10)
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn what_is_no_list_is_said() {
    let deep = format!(
        "{{\"results\":{}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    for (body, expected) in [
        (&b"<!DOCTYPE html>"[..], NoList::Json),
        (b"", NoList::Json),
        (b"{\"results\": [", NoList::Json),
        (deep.as_bytes(), NoList::Json),
        (b"{\"results\": {}}", NoList::Pointer("/results".to_owned())),
        (b"[]", NoList::Pointer("/results".to_owned())),
        (b"null", NoList::Pointer("/results".to_owned())),
    ] {
        assert_eq!(read(body, &fields(), 10), Err(expected));
    }
}

#[test]
fn bytes_that_are_no_text_and_halves_of_characters_are_replaced() {
    let body = b"{\"results\": [{\"url\": \"https://a.example/\", \"title\": \"a\xff\", \"content\": \"\\ud800b\"}]}";
    let read = read(body, &fields(), 10).unwrap();
    assert_eq!(
        read,
        [found("a\u{fffd}", "https://a.example/", "\u{fffd}b")]
    );
}

#[test]
fn the_list_is_numbered() {
    let list = [
        found("One", "https://one.example/", "first"),
        found("Two", "https://two.example/", ""),
    ];
    assert_eq!(
        show(&list),
        "[1] One\nURL: https://one.example/\n    first\n\n[2] Two\nURL: https://two.example/\n    \n\n"
    );
    assert_eq!(show(&[]), "The search found nothing.\n");
    assert_eq!(addresses(&show(&[])).count(), 0);
}

#[test]
fn a_list_is_never_longer_than_an_answer_of_a_tool() {
    let results: Vec<Value> = (0..20)
        .map(|number| {
            json!({
                "url": format!("https://a{number}.example/{}", "p".repeat(2000)),
                "title": "\u{10348}".repeat(5000),
                "content": "\u{10348}".repeat(50_000),
            })
        })
        .collect();
    let found = read_json(&json!({ "results": results }), 10).unwrap();
    assert_eq!(found.len(), 10);
    assert!(
        show(&found).len() <= oarmaster_protocol::tool::MAX_TOOL_TEXT,
        "{}",
        show(&found).len()
    );
}

/// Texts that try to look like a result of their own.
fn forged() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-z\\[\\]0-9 \r\n\t\u{b}\u{c}\u{85}\u{2028}\u{2029}]{0,20}(\r?[\n\u{2028}]URL: https://evil\\.example/[a-z]{1,5}\n){0,3}",
    ]
}

proptest! {
    /// What is read back are the addresses of the results, whatever their texts say.
    #[test]
    fn only_addresses_are_read_back(texts in prop::collection::vec((forged(), forged()), 0..5)) {
        let results: Vec<Value> = texts.iter().enumerate().map(|(number, (title, content))| {
            json!({"title": title, "content": content, "url": format!("https://good.example/{number}")})
        }).collect();
        let found = read_json(&json!({ "results": results }), 10).unwrap();
        let shown = show(&found);
        let expected: Vec<String> = (0..texts.len()).map(|number| format!("https://good.example/{number}")).collect();
        prop_assert_eq!(addresses(&shown).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&body, &fields(), 10);
    }
}
