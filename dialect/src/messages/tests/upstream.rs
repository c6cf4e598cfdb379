use super::*;
use crate::error::Feature;
use crate::messages::{read_count_request, read_request, write_count_request, write_request};
use crate::request::{
    Content, Format, Media, MediaKind, MediaSource, Part, Request, Role, Thought, Tool, ToolCall,
    ToolChoice, ToolResult, Turn, Written,
};
use crate::signature::{Signature, Signer};
use serde_json::value::RawValue;

pub(super) const OLD: &str = "claude-sonnet-4-5-20250929";
pub(super) const NEW: &str = "claude-opus-5";

pub(crate) fn turn(role: Role, content: Vec<Content>) -> Turn {
    let parts = content.into_iter().map(Part::from).collect();
    Turn { role, parts }
}

pub(crate) fn says(text: &str) -> Content {
    Content::Text(text.to_owned())
}

pub(crate) fn calls(id: &str, name: &str, arguments: &str) -> Content {
    Content::ToolCall(ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
        signature: None,
    })
}

pub(crate) fn answers(id: &str, text: &str) -> Content {
    Content::ToolResult(ToolResult {
        id: id.to_owned(),
        content: vec![says(text)],
        is_error: false,
    })
}

pub(crate) fn tool(name: &str, parameters: Option<&str>) -> Tool {
    Tool {
        name: name.to_owned(),
        description: None,
        parameters: parameters.map(|text| RawValue::from_string(text.to_owned()).unwrap()),
        strict: None,
        cache: None,
    }
}

pub(crate) fn asks(turns: Vec<Turn>) -> Request {
    Request {
        model: "pool".to_owned(),
        turns,
        ..Request::default()
    }
}

pub(crate) fn hello() -> Request {
    asks(vec![turn(Role::User, vec![says("hi")])])
}

pub(super) fn write(request: &Request, model: &str) -> Written {
    write_request(request, model, 10_000).unwrap()
}

pub(super) fn value(written: &Written) -> serde_json::Value {
    serde_json::from_str(&written.body).unwrap()
}

fn unsupported(request: &Request) -> Feature {
    write_request(request, OLD, 10_000).unwrap_err().feature
}

#[test]
fn fixtures() {
    for (caller, model, name) in [
        ("caller-agent", OLD, "request-agent"),
        ("caller-agent", NEW, "request-agent-new"),
        ("caller-media", "claude-opus-4-6", "request-media"),
    ] {
        let body = fixture(&format!("messages/{caller}.json"));
        let request = read_request(body.as_bytes()).unwrap();
        let written = write_request(&request, model, 8192).unwrap();
        check_fixture(&format!("messages/{name}.json"), written.body.as_bytes());
    }
    let body = fixture("messages/caller-count.json");
    let request = read_count_request(body.as_bytes()).unwrap();
    let written = write_count_request(&request, NEW).unwrap();
    check_fixture("messages/request-count.json", written.body.as_bytes());
    check_fixture("messages/request-foreign.json", foreign().body.as_bytes());
}

/// What other dialects' callers send.
fn foreign() -> Written {
    let mut request = asks(vec![
        turn(Role::System, vec![says("One."), says(" ")]),
        turn(
            Role::Assistant,
            vec![
                Content::Reasoning(Thought {
                    text: "unsigned".to_owned(),
                    ..Thought::default()
                }),
                Content::Reasoning(Thought {
                    text: "of OpenAI".to_owned(),
                    signature: Some(Signature::new(Signer::OpenAi, "gAAAAABm")),
                    ..Thought::default()
                }),
                says(""),
                calls("call_1|fc:2", "f", "{\"a\": 1}"),
                calls("call_2", "g", "not json"),
                calls("", "h", ""),
            ],
        ),
        turn(Role::System, vec![says("Two.")]),
        turn(Role::User, vec![answers("call_2", "")]),
        turn(
            Role::User,
            vec![says("and"), answers("call_1|fc:2", "ok"), answers("", "x")],
        ),
        turn(Role::Assistant, vec![Content::Refusal("No.".to_owned())]),
        turn(Role::User, vec![says("Why?")]),
    ]);
    request.tools = vec![
        tool("f", Some("{}")),
        tool("g", None),
        tool("h", Some(r#"{ "properties": {}}"#)),
    ];
    request.tool_choice = ToolChoice::Required;
    request.parallel_tools = Some(false);
    request.max_output = Some(99);
    request.sampling.temperature = serde_json::Number::from_f64(1.4);
    request.sampling.top_p = serde_json::Number::from_f64(0.5);
    request.sampling.seed = Some(1);
    request.sampling.presence_penalty = serde_json::Number::from_f64(0.5);
    request.sampling.stop = vec!["\n".to_owned(), "END".to_owned()];
    request.left = vec!["store".to_owned()];
    let written = write(&request, OLD);
    assert_eq!(
        written.dropped,
        [
            "store",
            "reasoning",
            "temperature",
            "top_p",
            "presence_penalty",
            "seed",
            "stop"
        ]
    );
    written
}

#[test]
fn a_conversation_begins_with_the_user() {
    for turns in [
        vec![turn(Role::System, vec![says("s")])],
        vec![turn(Role::User, vec![says("")])],
        vec![],
    ] {
        let body = value(&write(&asks(turns), OLD));
        let messages =
            serde_json::json!([{"role": "user", "content": [{"type": "text", "text": "."}]}]);
        assert_eq!(body["messages"], messages);
    }
}

#[test]
fn ids_stay_apart() {
    let ids = ["ok-1_A", "a.b", "a:b", "", &"x".repeat(64), &"x".repeat(65)];
    let mapped: Vec<_> = ids
        .iter()
        .map(|id| crate::messages::turns::call_id(id, b"").into_owned())
        .collect();
    assert_eq!(mapped[0], ids[0]);
    assert_eq!(mapped[4], ids[4]);
    for (at, id) in mapped.iter().enumerate() {
        assert!((1..=64).contains(&id.len()));
        assert!(
            id.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        );
        assert!(!mapped[..at].contains(id));
    }
}

#[test]
fn history_without_tools_names_them_and_forbids_them() {
    let request = asks(vec![
        turn(Role::User, vec![says("x")]),
        turn(
            Role::Assistant,
            vec![calls("a", "f", "{}"), calls("b", "f", "{}")],
        ),
        turn(Role::User, vec![answers("a", "1"), answers("b", "2")]),
    ]);
    let body = value(&write(&request, OLD));
    let tools = serde_json::json!([{"name": "f", "input_schema": {"type": "object"}}]);
    assert_eq!(body["tools"], tools);
    assert_eq!(body["tool_choice"], serde_json::json!({"type": "none"}));
    assert!(value(&write(&hello(), OLD)).get("tools").is_none());
}

#[test]
fn what_the_api_lacks() {
    let with = |change: &dyn Fn(&mut Request)| {
        let mut request = hello();
        change(&mut request);
        unsupported(&request)
    };
    let media = |kind, mime: &str, base64: &str| {
        turn(
            Role::User,
            vec![Content::Media(Media {
                kind,
                source: MediaSource::Data {
                    mime: mime.to_owned(),
                    base64: base64.to_owned(),
                },
                name: None,
                detail: Some("low".to_owned()),
            })],
        )
    };
    assert_eq!(with(&|r| r.sampling.choices = Some(2)), Feature::Choices);
    assert_eq!(with(&|r| r.sampling.logprobs = Some(0)), Feature::Logprobs);
    assert_eq!(with(&|r| r.format = Format::Json), Feature::JsonObject);
    assert_eq!(
        with(&|r| r.only_here.push((Feature::VendorTools, "x".to_owned()))),
        Feature::VendorTools
    );
    assert_eq!(
        with(&|r| r.turns = vec![media(MediaKind::Image, "image/bmp", "")]),
        Feature::ImageType
    );
    assert_eq!(
        with(&|r| r.turns = vec![media(MediaKind::Audio, "audio/wav", "")]),
        Feature::Audio
    );
    assert_eq!(
        with(&|r| r.turns = vec![media(MediaKind::Document, "application/zip", "")]),
        Feature::Documents
    );
    assert_eq!(
        with(&|r| r.turns = vec![media(MediaKind::Document, "text/csv", "/w==")]),
        Feature::Documents
    );
    let jpg = asks(vec![media(MediaKind::Image, "image/JPG", "QQ==")]);
    let written = write(&jpg, OLD);
    assert_eq!(written.dropped, ["detail"]);
    assert!(written.body.contains(r#""media_type":"image/jpeg""#));
    let csv = asks(vec![media(
        MediaKind::Document,
        "text/csv; charset=utf-8",
        "YSxi",
    )]);
    assert!(
        write(&csv, OLD)
            .body
            .contains(r#"{"type":"text","media_type":"text/plain","data":"a,b"}"#)
    );
    let schema = Format::Schema {
        name: None,
        description: None,
        schema: RawValue::from_string("{ }".to_owned()).unwrap(),
        strict: None,
    };
    let request = Request {
        format: schema,
        ..hello()
    };
    assert!(
        write(&request, OLD)
            .body
            .contains(r#""output_config":{"format":{"type":"json_schema","schema":{ }}}"#)
    );
    assert_eq!(
        write_request(&request, "claude-3-opus", 9)
            .unwrap_err()
            .feature,
        Feature::Schema
    );
}

/// What both APIs want of turns: they alternate, begin with the user's, and none is empty.
pub(crate) fn check_turns(body: &str) {
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    for (at, message) in body["messages"].as_array().unwrap().iter().enumerate() {
        let role = ["user", "assistant"][at % 2];
        assert_eq!(message["role"], role, "{body}");
        assert!(!message["content"].as_array().unwrap().is_empty(), "{body}");
    }
}
