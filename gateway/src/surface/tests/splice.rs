use super::{least, parse, with};
use crate::provider::wire::{Embedder, Wire};
use crate::request::Request;
use crate::surface::Surface;
use oarmaster_dialect::chat::Flavour;
use oarmaster_dialect::json::{Fields, quote};
use proptest::prelude::*;
use serde_json::{Value, json};

/// What each surface's own words are.
const OWN: [(Surface, Wire); 5] = [
    (Surface::Chat, Wire::Chat(Flavour::Compatible)),
    (Surface::Responses, Wire::Responses { thinks: false }),
    (Surface::Messages, Wire::Messages),
    (Surface::CountTokens, Wire::Messages),
    (
        Surface::Embeddings,
        Wire::Embeddings(Embedder::OpenAi(Flavour::OpenAi)),
    ),
];

fn said(request: &Request, wire: Wire, limit: Option<u64>) -> String {
    let sent = wire
        .say(request, "m", limit.unwrap_or(0), limit.is_some())
        .unwrap();
    let [body] = sent.bodies.as_slice() else {
        panic!("{} bodies", sent.bodies.len());
    };
    String::from_utf8(body.to_vec()).unwrap()
}

#[test]
fn a_limit_is_written_where_the_surface_has_it() {
    for (surface, wire) in OWN {
        let mut body = least(surface);
        body.as_object_mut().unwrap().remove("max_tokens");
        let request = parse(surface, &body).unwrap();
        let name = match surface {
            Surface::Chat | Surface::Messages => Some("max_tokens"),
            Surface::Responses => Some("max_output_tokens"),
            Surface::CountTokens | Surface::Embeddings => None,
        };
        let limit = request.output_limit(Some(77), 1000);
        assert_eq!(
            (limit, request.lacks_limit()),
            if name.is_some() {
                (77, true)
            } else {
                (0, false)
            }
        );
        let sent: Value = serde_json::from_str(&said(&request, wire, Some(77))).unwrap();
        if let Some(name) = name {
            assert_eq!(sent[name], 77, "{surface:?}");
        }
        assert_eq!(
            sent.to_string().contains("77"),
            name.is_some(),
            "{surface:?}: {sent}"
        );
    }
}

#[test]
fn betas_go_to_anthropic_and_are_named_where_they_do_not() {
    let mut request = parse(Surface::Messages, &least(Surface::Messages)).unwrap();
    request.beta = Some("context-management-2025-06-27".parse().unwrap());
    let own = Wire::Messages.say(&request, "m", 9, false).unwrap();
    assert_eq!((own.beta, own.dropped), (request.beta.clone(), Vec::new()));
    let other = Wire::Gemini.say(&request, "m", 9, false).unwrap();
    assert_eq!(
        (other.beta, other.dropped),
        (None, vec!["anthropic-beta".to_owned()])
    );
}

#[test]
fn many_inputs_are_bounded_each_by_its_own_body() {
    let input: Vec<String> = (0..250).map(|_| "x".repeat(1000)).collect();
    let request = parse(
        Surface::Embeddings,
        &with(Surface::Embeddings, "input", &json!(input)),
    )
    .unwrap();
    let sent = Wire::Embeddings(Embedder::Gemini)
        .say(&request, "m", 0, false)
        .unwrap();
    assert_eq!(sent.bodies.len(), 3);
    let largest = sent.bodies.iter().map(bytes::Bytes::len).max().unwrap();
    let bound = usize::try_from(sent.input_bound(&request)).unwrap();
    assert!(bound >= largest && bound < 150_000, "{bound}");
    let one = Wire::Embeddings(Embedder::OpenAi(Flavour::OpenAi))
        .say(&request, "m", 0, false)
        .unwrap();
    assert!(one.input_bound(&request) > 250_000);
}

/// JSON as callers write it, with its spaces, escapes and forms of numbers.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?[0-9]{1,20}",
        "[0-9]{1,3}\\.[0-9]{1,20}([eE][+-]?[0-9]{1,2})?",
        Just(r#""a\u00e9\ud800\/ \n""#.to_owned()),
        Just(r#"[ 1.50 ,{ "b" : null}]"#.to_owned()),
        Just(r#"{"a":{"b" : [true,  false]}}"#.to_owned()),
        "[a-z\u{e9}\u{1f600} ]{0,20}".prop_map(|text| quote(&text)),
    ]
    .prop_filter("a number", |text| {
        serde_json::from_str::<Value>(text).is_ok() || text.contains("ud800")
    })
}

proptest! {
    /// The provider of a caller's own dialect gets every field that is not ours to set with the bytes and in the place that it came with.
    #[test]
    fn other_fields_keep_their_bytes(
        values in proptest::collection::vec(value(), 0..6), at in 0usize..6, surface in 0usize..5,
    ) {
        let (surface, wire) = OWN[surface];
        let base = Fields::parse(least(surface).to_string().as_bytes()).unwrap();
        let mut fields: Vec<(String, String)> = base
            .names()
            .map(|name| (name.to_owned(), base.get(name).unwrap().get().to_owned()))
            .collect();
        for (number, value) in values.into_iter().enumerate() {
            fields.insert(at.min(fields.len()), (format!("field_{number}"), value));
        }
        let write = |fields: &[(String, String)]| {
            let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{}:{value}", quote(name))).collect();
            format!("{{{}}}", fields.join(","))
        };
        let request = Request::parse(surface, write(&fields).as_bytes()).unwrap();
        for (name, value) in &mut fields {
            if name == "model" {
                *value = "\"m\"".to_owned();
            }
        }
        if surface == Surface::Responses {
            fields.push(("store".to_owned(), "false".to_owned()));
        }
        prop_assert_eq!(said(&request, wire, None), write(&fields));
    }
}

/// A server that nobody knows may know but one of the names of a limit.
#[test]
fn a_limit_that_a_budget_relies_on_has_the_name_that_every_server_knows() {
    let body = with(Surface::Chat, "max_completion_tokens", &json!(5));
    let request = parse(Surface::Chat, &body).unwrap();
    let wire = Wire::Chat(Flavour::Compatible);
    for (held, name, other) in [
        (true, "max_tokens", "max_completion_tokens"),
        (false, "max_completion_tokens", "max_tokens"),
    ] {
        let sent = wire.say(&request, "m", 5, held).unwrap();
        let sent: Value = serde_json::from_slice(&sent.bodies[0]).unwrap();
        assert_eq!((&sent[name], &sent[other]), (&json!(5), &Value::Null));
    }
}

#[test]
fn no_answer_at_all_can_be_asked_of_anthropic_alone() {
    let request = parse(
        Surface::Messages,
        &with(Surface::Messages, "max_tokens", &json!(0)),
    );
    let request = request.unwrap();
    assert!(Wire::Messages.say(&request, "m", 0, true).is_ok());
    for wire in [
        Wire::Chat(Flavour::Compatible),
        Wire::Gemini,
        Wire::Converse,
    ] {
        assert!(wire.say(&request, "m", 0, true).is_err(), "{wire:?}");
    }
}
