use super::two;
use crate::embeddings::openai::read_answer;
use crate::embeddings::{Embedded, Encoding, Input, MAX_INPUTS, read_request, write_answer};
use crate::testing::{arbitrary, check_fixture};
use proptest::prelude::*;

const WORDS: &[&str] = &[
    "model",
    "input",
    "dimensions",
    "encoding_format",
    "user",
    "float",
    "base64",
];

fn input(json: &str) -> Result<Input, String> {
    let body = format!(r#"{{"model":"m","input":{json}}}"#);
    match read_request(body.as_bytes()) {
        Ok(request) => Ok(request.input),
        Err(error) => Err(error.message),
    }
}

#[test]
fn requests_are_read() {
    let body = br#"{"model":"pool","input":["one \ud83d\ude00","two"],"dimensions":256,"encoding_format":"base64","user":"u","new_field":1,"other":null}"#;
    assert_eq!(read_request(body).unwrap(), two());
    let texts = |texts: &[&str]| {
        Ok(Input::Texts(
            texts.iter().map(|text| (*text).to_owned()).collect(),
        ))
    };
    assert_eq!(input(r#""a""#), texts(&["a"]));
    assert_eq!(input(r#"[ "\ud800" ]"#), texts(&["\u{fffd}"]));
    assert_eq!(input("[1, 2]"), Ok(Input::Tokens(vec![vec![1, 2]])));
    assert_eq!(
        input("[ [1],[4294967295,3]]"),
        Ok(Input::Tokens(vec![vec![1], vec![u32::MAX, 3]]))
    );
}

#[test]
fn what_is_wrong_is_named() {
    let list = |element: &str, count: usize| format!("[{}]", vec![element; count].join(","));
    assert!(input(&list(r#""a""#, MAX_INPUTS)).is_ok());
    assert!(input(&list("1", 10_000)).is_ok());
    let none_of =
        "field input is none of a text, a list of texts, a list of tokens, a list of such lists";
    for (json, message) in [
        (
            "null".to_owned(),
            "field input is missing; write a text or a list",
        ),
        ("7".to_owned(), none_of),
        ("{}".to_owned(), none_of),
        ("[null]".to_owned(), none_of),
        ("[-1]".to_owned(), none_of),
        ("\"\"".to_owned(), "field input is empty; write a text"),
        (
            "[ ]".to_owned(),
            "field input is empty; write at least one text",
        ),
        (
            r#"["a",""]"#.to_owned(),
            "field input[1] is empty; leave it out",
        ),
        (
            "[[1],[]]".to_owned(),
            "field input[1] is empty; leave it out",
        ),
        (r#"["a",1]"#.to_owned(), "field input[1] is not a string"),
        ("[1,\"a\"]".to_owned(), "field input[1] is not a token"),
        ("[1,4294967296]".to_owned(), "field input[1] is not a token"),
        (
            "[[1],[1.5]]".to_owned(),
            "field input[1] is not a list of tokens",
        ),
        (
            list(r#""a""#, MAX_INPUTS + 1),
            "field input has more than 2048 elements; send several requests",
        ),
        (
            list("[1]", MAX_INPUTS + 1),
            "field input has more than 2048 elements; send several requests",
        ),
    ] {
        assert_eq!(input(&json), Err(message.to_owned()));
    }
    for (field, message) in [
        (r#""model":7"#, "field model is not a string"),
        (
            r#""model":"""#,
            "field model is empty; write the name of a model",
        ),
        (
            r#""user":"u""#,
            "field model is missing; write the name of a model",
        ),
        (
            r#""model":"m","dimensions":0"#,
            "field dimensions is not a whole number of at least 1",
        ),
        (
            r#""model":"m","dimensions":-1"#,
            "field dimensions is not a whole number of at least 1",
        ),
        (
            r#""model":"m","encoding_format":"hex""#,
            "field encoding_format is neither \"float\" nor \"base64\"",
        ),
        (r#""model":"m","user":{}"#, "field user is not a string"),
    ] {
        let body = format!(r#"{{{field},"input":"a"}}"#);
        assert_eq!(read_request(body.as_bytes()).unwrap_err().message, message);
    }
    assert!(read_request(b"[]").is_err());
}

#[test]
fn answers_are_the_fixtures() {
    let answer = Embedded {
        model: None,
        vectors: vec![vec![0.5, -0.25], vec![1.0, 0.1]],
        input_tokens: Some(6),
    };
    check_fixture(
        "embeddings/surface-float.json",
        &write_answer(&answer, "pool", Encoding::Float),
    );
    check_fixture(
        "embeddings/surface-base64.json",
        &write_answer(&answer, "pool", Encoding::Base64),
    );
}

proptest! {
    #[test]
    fn no_json_panics(value in arbitrary(WORDS)) {
        let _ = read_request(value.to_string().as_bytes());
        let _ = input(&value.to_string());
    }

    #[test]
    fn no_bytes_panic(bytes in any::<Vec<u8>>()) {
        let _ = read_request(&bytes);
    }

    /// What callers get is what the provider gave, to the last bit, in either encoding.
    #[test]
    fn vectors_come_through(
        vectors in proptest::collection::vec(proptest::collection::vec(proptest::num::f32::NORMAL | proptest::num::f32::ZERO | proptest::num::f32::SUBNORMAL, 1..5), 1..4),
        tokens in proptest::option::of(0..9u64),
    ) {
        let answer = Embedded { model: Some("m".to_owned()), vectors, input_tokens: tokens };
        for encoding in [Encoding::Float, Encoding::Base64] {
            let read = read_answer(&write_answer(&answer, "pool", encoding)).unwrap();
            prop_assert_eq!(&read.vectors, &answer.vectors);
            prop_assert_eq!(read.input_tokens, Some(tokens.unwrap_or_default()));
        }
    }
}
