use super::*;
use proptest::prelude::*;
use serde_json::json;

#[test]
fn json_keeps_the_data_and_nothing_acts() {
    let value = json!({"text": "a\u{1b}[2J\u{9b}x\u{7f}\u{202e}ü", "list": [1, 2]});
    let text = json(&value).unwrap();
    assert!(text.chars().all(|letter| letter == '\n' || !acts(letter)));
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&text).unwrap(),
        value
    );
    assert!(!json_line(&value).unwrap().contains('\n'));
}

#[test]
fn yaml_keeps_the_data_and_nothing_acts() {
    for value in [
        json!({"text": "plain\ntwo lines\n", "no": "no", "n": "1"}),
        json!({"text": "a\u{1b}[2Jb\u{9b}\u{202e}\nc"}),
    ] {
        let text = yaml(&value).unwrap();
        assert!(
            text.chars()
                .all(|letter| matches!(letter, '\n' | '\t') || !acts(letter)),
            "{text}"
        );
        assert_eq!(
            serde_saphyr::from_str::<serde_json::Value>(&text).unwrap(),
            value
        );
    }
}

/// Every scalar value: what any reader takes from the data is what was there, and nothing acts on a terminal.
#[test]
fn every_scalar_value_stays_in_data() {
    let every: Vec<char> = ('\0'..=char::MAX).collect();
    for part in every.chunks(200_000) {
        let value = json!({"text": part.iter().collect::<String>()});
        for text in [
            json(&value).unwrap(),
            json_line(&value).unwrap(),
            yaml(&value).unwrap(),
        ] {
            assert!(
                text.chars()
                    .all(|letter| matches!(letter, '\n' | '\t') || !is_escaped(letter))
            );
            assert!(serde_saphyr::from_str::<serde_json::Value>(&text).unwrap() == value);
        }
        assert!(
            serde_json::from_str::<serde_json::Value>(&json(&value).unwrap()).unwrap() == value
        );
    }
}

/// Texts that YAML could take for something else: indicators, indentation, numbers, line ends in any place.
fn tricky() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<char>().prop_map(String::from),
        "[ \\n\\t]{1,3}",
        "[-?:,\\[\\]{}#&*!|>'\"%@`~=<.]{1,2}",
        "[0-9eExo_.+-]{1,4}",
        Just("yes".to_owned()),
        Just("null".to_owned()),
        "[a-zא-ת\u{e01}-\u{e3a}ء-ي]{1,6}",
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_stays_in_data(texts in proptest::collection::vec(tricky(), 1..4), key in tricky()) {
        let value = json!({"list": texts, "fields": {key: texts[0]}, "text": texts[0]});
        for text in [json(&value).unwrap(), yaml(&value).unwrap()] {
            let read: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
            prop_assert_eq!(&read, &value, "{}", text);
        }
    }
}

#[test]
fn a_table_is_as_wide_as_it_must_be() {
    let rows = vec![
        vec!["fix".to_owned(), "Running".to_owned()],
        vec!["a-long-name".to_owned(), "x\ny".to_owned()],
    ];
    assert_eq!(
        lay_out(&["NAME", "PHASE"], &rows),
        "NAME          PHASE\nfix           Running\na-long-name   x y\n"
    );
}
