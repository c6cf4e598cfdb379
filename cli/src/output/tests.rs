use super::*;
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
