use super::two;
use crate::chat::Flavour;
use crate::embeddings::{EmbedRequest, Embedded, Input, bedrock, cohere, gemini, openai};
use crate::error::{Feature, NotAnAnswer, Unsupported};
use crate::json::Fields;
use crate::request::Written;
use crate::testing::{arbitrary, check_fixture, fixture};
use proptest::prelude::*;

type Write = fn(&EmbedRequest, &str) -> Result<Vec<Written>, Unsupported>;
type Read = fn(&str) -> Result<Embedded, NotAnAnswer>;

const READERS: [(&str, Read); 4] = [
    ("gemini", gemini::read_answer),
    ("cohere", cohere::read_answer),
    ("openai", openai::read_answer),
    ("bedrock-cohere", bedrock::read_answer),
];
const WORDS: &[&str] = &[
    "data",
    "embedding",
    "embeddings",
    "values",
    "float",
    "index",
    "usage",
    "prompt_tokens",
    "meta",
    "billed_units",
    "input_tokens",
    "usageMetadata",
    "promptTokenCount",
    "inputTextTokenCount",
    "AACAPw==",
    "AA==",
];

const TITAN: &str = "amazon.titan-embed-text-v2:0";

#[test]
fn bodies_are_the_fixtures() {
    let writers: [(&str, &str, Write); 5] = [
        ("gemini", "gemini-embedding-001", gemini::write_requests),
        ("cohere", "embed-v4.0", cohere::write_requests),
        ("openai", "text-embedding-3-small", openai::write_requests),
        ("titan", TITAN, bedrock::write_requests),
        (
            "bedrock-cohere",
            "us.cohere.embed-v4:0",
            bedrock::write_requests,
        ),
    ];
    for (name, model, write) in writers {
        let bodies = write(&two(), model).unwrap();
        check_fixture(&format!("embeddings/request-{name}.json"), &bodies[0].body);
        let dropped: &[&str] = if name == "openai" {
            &["new_field"]
        } else {
            &["new_field", "user"]
        };
        assert_eq!(bodies[0].dropped, dropped, "{name}");
    }
}

#[test]
fn many_texts_are_several_bodies() {
    let mut request = two();
    request.dimensions = None;
    request.input = Input::Texts(vec!["a".to_owned(); 201]);
    let bodies = |write: Write, model| write(&request, model).unwrap().len();
    assert_eq!(bodies(gemini::write_requests, "m"), 3);
    assert_eq!(bodies(cohere::write_requests, "m"), 3);
    assert_eq!(bodies(openai::write_requests, "m"), 1);
    assert_eq!(bodies(bedrock::write_requests, TITAN), 201);
    assert_eq!(
        bodies(bedrock::write_requests, "cohere.embed-english-v3"),
        3
    );
    let body = &gemini::write_requests(&request, "tunedModels/m").unwrap()[2].body;
    assert_eq!(
        body,
        r#"{"requests":[{"model":"tunedModels/m","content":{"parts":[{"text":"a"}]}}]}"#
    );
}

#[test]
fn paths_name_the_model() {
    assert_eq!(
        gemini::path("gemini-embedding-001"),
        "/v1beta/models/gemini-embedding-001:batchEmbedContents"
    );
    assert_eq!(
        bedrock::path(TITAN),
        "/model/amazon.titan-embed-text-v2%3A0/invoke"
    );
}

#[test]
fn what_would_change_the_answer_is_refused() {
    let refused =
        |write: Write, request: &EmbedRequest, model| write(request, model).unwrap_err().feature;
    let mut tokens = two();
    tokens.input = Input::Tokens(vec![vec![1]]);
    for (write, model) in [
        (gemini::write_requests as Write, "m"),
        (cohere::write_requests, "embed-v4.0"),
        (bedrock::write_requests, TITAN),
        (bedrock::write_requests, "cohere.embed-v4:0"),
    ] {
        assert_eq!(refused(write, &tokens, model), Feature::TokenInput);
    }
    let body = &openai::write_requests(&tokens, "m").unwrap()[0].body;
    assert!(body.contains(r#""input":[[1]]"#));

    assert_eq!(
        refused(cohere::write_requests, &two(), "embed-english-v3.0"),
        Feature::Dimensions
    );
    let mut odd = two();
    odd.dimensions = Some(300);
    assert_eq!(
        refused(bedrock::write_requests, &odd, TITAN),
        Feature::Dimensions
    );
    assert_eq!(
        refused(bedrock::write_requests, &odd, "amazon.titan-embed-text-v1"),
        Feature::Embeddings
    );
}

#[test]
fn answers_are_read() {
    for (name, read_answer) in READERS {
        let answer = read_answer(&fixture(&format!("embeddings/answer-{name}.json"))).unwrap();
        assert_eq!(answer.vectors, [[0.5, -0.25], [1.0, 0.0]], "{name}");
        let tokens = (name != "bedrock-cohere").then_some(6);
        assert_eq!(answer.input_tokens, tokens, "{name}");
    }
    let titan = bedrock::read_answer(&fixture("embeddings/answer-titan.json")).unwrap();
    assert_eq!((titan.vectors.len(), titan.input_tokens), (1, Some(3)));
}

#[test]
fn a_body_that_goes_on_has_mistrals_names_for_mistral_alone() {
    let body = r#"{"model":"m","input":[ "a" ],"dimensions":256,"user":"u"}"#;
    for (flavour, becomes, dropped) in [
        (Flavour::OpenAi, body, &[][..]),
        (Flavour::Compatible, body, &[]),
        (
            Flavour::Mistral,
            r#"{"model":"m","input":[ "a" ],"output_dimension":256}"#,
            &["user"],
        ),
    ] {
        let mut fields = Fields::parse(body.as_bytes()).unwrap();
        assert_eq!(openai::adapt(&mut fields, flavour), dropped);
        assert_eq!(fields.to_json(), becomes);
    }
    let mut fields = Fields::parse(br#"{"user":null}"#).unwrap();
    assert!(openai::adapt(&mut fields, Flavour::Mistral).is_empty());
}

#[test]
fn an_answer_that_goes_on_is_counted() {
    let read = openai::read_passed(&fixture("embeddings/answer-openai.json"));
    let whole = openai::read_answer(&fixture("embeddings/answer-openai.json")).unwrap();
    let (vectors, counted) = read.unwrap();
    assert_eq!(vectors, whole.vectors.len());
    assert_eq!(
        (counted.model, counted.input_tokens),
        (whole.model, whole.input_tokens)
    );
    for body in ["", "[]", "{}", r#"{"data":[]}"#, r#"{"data":{}}"#] {
        assert!(openai::read_passed(body).is_err(), "{body}");
    }
    let paid = openai::read_passed(r#"{"data":[],"usage":{"prompt_tokens":5}}"#).unwrap_err();
    assert_eq!(paid.usage.map(|usage| usage.input), Some(5));
}

#[test]
fn answers_are_joined() {
    let one = |tokens| Embedded {
        model: Some("m".to_owned()),
        vectors: vec![vec![1.0]],
        input_tokens: tokens,
    };
    let both = Embedded::join(vec![one(Some(3)), one(Some(4))], 2).unwrap();
    assert_eq!((both.vectors.len(), both.input_tokens), (2, Some(7)));
    let unknown = Embedded::join(vec![one(Some(3)), one(None)], 2).unwrap();
    assert_eq!(unknown.input_tokens, None);
    let error = Embedded::join(vec![one(Some(3))], 2).unwrap_err();
    assert_eq!(error.usage.map(|usage| usage.input), Some(3));
    let huge = Embedded::join(vec![one(Some(u64::MAX)), one(Some(9))], 2).unwrap();
    assert_eq!(huge.usage(), None);
}

#[test]
fn what_is_no_vector_is_no_answer() {
    for embedding in [
        "[]",
        "null",
        "\"AA==\"",
        "\"?\"",
        "\"AADAfw==\"",
        "[1e999]",
        "[1e39]",
        "[\"1\"]",
        "[null]",
        "{}",
    ] {
        let body = format!(r#"{{"data":[{{"embedding":{embedding}}}]}}"#);
        assert!(openai::read_answer(&body).is_err(), "{embedding}");
    }
    for indices in [[0, 0], [1, 2], [5, 0]] {
        let [one, two] = indices.map(|index| format!(r#"{{"embedding":[1],"index":{index}}}"#));
        assert!(openai::read_answer(&format!(r#"{{"data":[{one},{two}]}}"#)).is_err());
    }
    for body in ["", "null", "[]", "{}", r#"{"embeddings":{"int8":[[1]]}}"#] {
        for (name, read_answer) in READERS {
            assert!(read_answer(body).is_err(), "{name} {body}");
        }
    }
}

proptest! {
    #[test]
    fn no_json_panics(value in arbitrary(WORDS)) {
        for (_, read_answer) in READERS {
            let _ = read_answer(&value.to_string());
        }
    }
}
