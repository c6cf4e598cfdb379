use crate::chat::{Flavour, adapt, read_request, write_request};
use crate::json::Fields;
use crate::request::{
    CacheTtl, Effort, Media, MediaKind, MediaSource, Part, Reasoning, ToolResult, Turn,
};
use crate::testing::{asked, check_fixture, fixture};
use crate::{Content, Feature, Request, Role};
use serde_json::{Number, Value, json};

const ALL: [(&str, Flavour); 6] = [
    ("openai", Flavour::OpenAi),
    ("azure", Flavour::Azure),
    ("mistral", Flavour::Mistral),
    ("groq", Flavour::Groq),
    ("openrouter", Flavour::OpenRouter),
    ("compatible", Flavour::Compatible),
];

fn caller() -> Request {
    read_request(fixture("chat/caller.json").as_bytes()).unwrap()
}

fn written(request: &Request, flavour: Flavour) -> (Value, Vec<String>) {
    let written = write_request(request, "up", flavour).unwrap();
    (
        serde_json::from_str(&written.body).unwrap(),
        written.dropped,
    )
}

#[test]
fn writes_for_each_vendor() {
    let request = caller();
    let mut dropped = Vec::new();
    for (name, flavour) in ALL {
        let written = write_request(&request, "anthropic/model-1", flavour).unwrap();
        check_fixture(&format!("chat/request-{name}.json"), &written.body);
        dropped.push(format!("{name}: {}", written.dropped.join(", ")));
    }
    insta::assert_snapshot!(dropped.join("\n"));
}

#[test]
fn writes_documents_and_sounds_where_they_are_taken() {
    let request = read_request(fixture("chat/caller-media.json").as_bytes()).unwrap();
    for (name, flavour) in ALL {
        match write_request(&request, "up", flavour) {
            Ok(written) => check_fixture(&format!("chat/request-media-{name}.json"), &written.body),
            Err(unsupported) => {
                assert_eq!(name, "groq");
                assert_eq!(unsupported.feature, Feature::Documents);
            }
        }
    }
}

#[test]
fn what_a_caller_sends_comes_out_again() {
    // What this dialect can say is read back as it was, for the flavour that takes the most.
    let first = caller();
    let body = write_request(&first, "anthropic/claude", Flavour::OpenRouter)
        .unwrap()
        .body;
    let second = read_request(body.as_bytes()).unwrap();
    assert_eq!(first.sampling, second.sampling);
    assert_eq!(first.reasoning, second.reasoning);
    assert_eq!(format!("{:?}", first.tools), format!("{:?}", second.tools));
    assert_eq!(
        format!("{:?}", first.format),
        format!("{:?}", second.format)
    );
    let mut expected = first.turns.clone();
    for part in expected.iter_mut().flat_map(|turn| &mut turn.parts) {
        if let Content::ToolCall(call) = &mut part.content {
            call.signature = None; // OpenRouter keeps it in reasoning_details
        }
    }
    assert_eq!(expected, second.turns);
}

fn with_media(kind: MediaKind, source: MediaSource) -> Request {
    let media = Media {
        kind,
        source,
        name: None,
        detail: None,
    };
    Request {
        turns: vec![Turn {
            role: Role::User,
            parts: vec![Content::Media(media).into()],
        }],
        ..asked()
    }
}

fn data(mime: &str) -> MediaSource {
    MediaSource::Data {
        mime: mime.to_owned(),
        base64: "AA==".to_owned(),
    }
}

#[test]
fn refuses_what_would_change_the_answer() {
    let url = || MediaSource::Url("https://example.com/x".to_owned());
    let result = Request {
        turns: vec![Turn {
            role: Role::User,
            parts: vec![
                Content::ToolResult(ToolResult {
                    id: "a".to_owned(),
                    content: vec![
                        with_media(MediaKind::Image, url()).turns[0].parts[0]
                            .content
                            .clone(),
                    ],
                    is_error: false,
                })
                .into(),
            ],
        }],
        ..asked()
    };
    let choices = |choices| {
        let mut request = asked();
        request.sampling.choices = Some(choices);
        request
    };
    let mut logprobs = asked();
    logprobs.sampling.logprobs = Some(0);
    let mut vendor = asked();
    vendor
        .only_here
        .push((Feature::VendorTools, "x".to_owned()));
    let cases = [
        (with_media(MediaKind::Document, url()), Feature::Documents),
        (with_media(MediaKind::Audio, url()), Feature::Audio),
        (
            with_media(MediaKind::Audio, data("audio/flac")),
            Feature::Audio,
        ),
        (
            with_media(MediaKind::Image, data("image/heic")),
            Feature::ImageType,
        ),
        (result, Feature::MediaInToolResults),
        (choices(2), Feature::Choices),
        (logprobs, Feature::Logprobs),
        (vendor, Feature::VendorTools),
    ];
    for (request, feature) in cases {
        let unsupported = write_request(&request, "m", Flavour::OpenAi).unwrap_err();
        assert_eq!(unsupported.feature, feature, "{unsupported}");
    }
    assert!(write_request(&choices(1), "m", Flavour::OpenAi).is_ok());
    assert!(
        write_request(
            &with_media(MediaKind::Document, url()),
            "m",
            Flavour::Mistral
        )
        .is_ok()
    );
}

#[test]
fn keeps_numbers_in_range_and_says_so() {
    let mut request = asked();
    request.sampling.temperature = Number::from_f64(1.7);
    request.sampling.top_k = Some(40);
    request.sampling.stop = ["a", "b", "c", "d", "e"].map(str::to_owned).into();
    let (body, dropped) = written(&request, Flavour::Mistral);
    assert_eq!(body["temperature"], json!(1.5));
    assert_eq!(body["top_k"], json!(40));
    assert_eq!(dropped, ["temperature"]);
    let (body, dropped) = written(&request, Flavour::OpenAi);
    assert_eq!(body["temperature"], json!(1.7));
    assert_eq!(body["stop"], json!(["a", "b", "c", "d"]));
    assert_eq!(dropped, ["top_k", "stop"]);
}

#[test]
fn says_how_much_to_think_in_the_vendors_words() {
    let with = |effort, budget| Request {
        reasoning: Some(Reasoning {
            effort,
            budget,
            shown: Some(false),
        }),
        ..asked()
    };
    let (body, dropped) = written(&with(Some(Effort::ExtraHigh), None), Flavour::Groq);
    assert_eq!(
        (body["reasoning_effort"].clone(), dropped),
        (json!("high"), vec!["reasoning_effort".to_owned()])
    );
    let (body, dropped) = written(&with(Some(Effort::ExtraHigh), None), Flavour::OpenAi);
    assert_eq!(
        (body["reasoning_effort"].clone(), dropped),
        (json!("xhigh"), vec![])
    );
    let (body, _) = written(&with(None, Some(4096)), Flavour::OpenAi);
    assert_eq!(body["reasoning_effort"], json!("medium"));
    let (body, dropped) = written(&with(None, Some(4096)), Flavour::OpenRouter);
    assert_eq!(
        (body["reasoning"].clone(), dropped),
        (json!({"max_tokens": 4096, "exclude": true}), vec![])
    );
}

#[test]
fn results_precede_what_the_person_says() {
    let mut request = asked();
    let result = ToolResult {
        id: "a".to_owned(),
        content: vec![],
        is_error: true,
    };
    request.turns[0]
        .parts
        .push(Content::ToolResult(result).into());
    request.turns[0].parts.push(Part {
        content: Content::Text("more".to_owned()),
        cache: Some(CacheTtl::Hour1),
    });
    let (body, dropped) = written(&request, Flavour::Compatible);
    let expected = json!([
        {"role": "tool", "tool_call_id": "a", "content": ""},
        {"role": "user", "content": "hi\n\nmore"},
    ]);
    assert_eq!(body["messages"], expected);
    assert_eq!(dropped, ["is_error", "cache_control"]);
    let (body, _) = written(&request, Flavour::OpenRouter);
    let cached = &body["messages"][1]["content"][1];
    assert_eq!(
        cached["cache_control"],
        json!({"type": "ephemeral", "ttl": "1h"})
    );
}

fn adapted(body: &str, flavour: Flavour) -> (String, Vec<String>) {
    let mut fields = Fields::parse(body.as_bytes()).unwrap();
    let dropped = adapt(&mut fields, flavour);
    (fields.to_json(), dropped)
}

#[test]
fn a_body_that_needs_no_edit_keeps_its_bytes() {
    let body = r#"{"model":"m","messages":[ {"role":"user","content":"a\u00e9\ud800"} ],"max_tokens":1.0e1,"x":[1.0,2]}"#;
    for flavour in [Flavour::OpenRouter, Flavour::Compatible] {
        assert_eq!(adapted(body, flavour), (body.to_owned(), vec![]));
    }
    let limits = r#"{"max_tokens":5,"max_completion_tokens":9,"seed":1}"#;
    assert_eq!(
        adapted(limits, Flavour::OpenAi).0,
        r#"{"max_completion_tokens":9,"seed":1}"#
    );
    assert_eq!(
        adapted(limits, Flavour::Compatible).0,
        r#"{"max_tokens":9,"seed":1}"#
    );
    assert_eq!(adapted(limits, Flavour::OpenRouter).0, limits);
    assert_eq!(
        adapted(r#"{"max_tokens":5}"#, Flavour::Azure).0,
        r#"{"max_completion_tokens":5}"#
    );
}

#[test]
fn takes_extensions_out_for_strict_vendors() {
    let body = r#"{"messages":[{"role":"assistant","content":[{"type":"text","text":"\ud800 1","cache_control":{}}],"reasoning_content":"r","reasoning_details":null,"tool_calls":[{"id":"a","extra_content":{}}]}],"tools":[{"type":"function","function":{"name":"f","parameters":{"reasoning":1.0}},"cache_control":{}}]}"#;
    let (openai, dropped) = adapted(body, Flavour::OpenAi);
    assert_eq!(
        openai,
        r#"{"messages":[{"role":"assistant","content":[{"type":"text","text":"\ud800 1"}],"tool_calls":[{"id":"a"}]}],"tools":[{"type":"function","function":{"name":"f","parameters":{"reasoning":1.0}}}]}"#
    );
    assert_eq!(
        dropped,
        [
            "messages.reasoning_content",
            "messages.content.cache_control",
            "messages.tool_calls.extra_content",
            "tools.cache_control"
        ]
    );
    let (groq, _) = adapted(body, Flavour::Groq);
    assert!(groq.contains(r#""reasoning":"r""#) && !groq.contains("reasoning_content"));
}

#[test]
fn edits_for_mistral_are_the_same_in_calls_and_results() {
    let body = r#"{"messages":[{"role":"developer","content":"x","name":"n"},{"role":"assistant","content":null,"refusal":"no","audio":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"abcdefgh1","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"call_1","content":"r"}],"seed":3,"tool_choice":"required","stream_options":{"include_usage":true},"user":"u","logit_bias":null,"service_tier":"flex"}"#;
    let (body, dropped) = adapted(body, Flavour::Mistral);
    insta::assert_snapshot!(format!("{body}\n{dropped:?}"));
    assert_eq!(crate::chat::mistral::id_of("call_1").len(), 9);
}
