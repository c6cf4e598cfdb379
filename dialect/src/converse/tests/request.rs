use super::upstream::{answers, asks, calls, hello, says, tool, turn};
use super::*;
use crate::converse::{path, write_request};
use crate::error::Feature;
use crate::messages::read_request;
use crate::request::{
    CacheTtl, Content, Effort, Format, Media, MediaKind, MediaSource, Part, Reasoning, Request,
    Role, Thought, ToolChoice, ToolResult, Written,
};
use crate::signature::{Signature, Signer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const NEW: &str = "anthropic.claude-opus-5";
const OLD: &str = "anthropic.claude-3-7-sonnet-20250219-v1:0";
const NOVA: &str = "amazon.nova-pro-v1:0";
const ARN: &str =
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-5";

fn write(request: &Request, model: &str) -> Written {
    write_request(request, model, 10_000).unwrap()
}

fn value(written: &Written) -> Value {
    serde_json::from_str(&written.body).unwrap()
}

fn media(kind: MediaKind, mime: &str, name: Option<&str>) -> Content {
    Content::Media(Media {
        kind,
        source: MediaSource::Data {
            mime: mime.to_owned(),
            base64: "iVBORw0KGgo=".to_owned(),
        },
        name: name.map(str::to_owned),
        detail: None,
    })
}

fn address(kind: MediaKind, url: &str) -> Content {
    Content::Media(Media {
        kind,
        source: MediaSource::Url(url.to_owned()),
        name: None,
        detail: None,
    })
}

#[test]
fn fixtures() {
    let body = fixture("messages/caller-agent.json");
    let request = read_request(body.as_bytes()).unwrap();
    for (model, name) in [
        (CLAUDE, "request-agent"),
        (NEW, "request-agent-new"),
        (NOVA, "request-agent-nova"),
    ] {
        let written = write(&request, model);
        check_fixture(&format!("converse/{name}.json"), written.body.as_bytes());
    }
    let models = [CLAUDE, NEW, NOVA, ARN];
    let paths = models.map(|model| json!([model, path(model, false), path(model, true)]));
    let paths = Value::from(paths.to_vec()).to_string();
    check_fixture("converse/paths.json", paths.as_bytes());
    check_fixture(
        "converse/request-media.json",
        write(&documents(), CLAUDE).body.as_bytes(),
    );
    check_fixture(
        "converse/request-settings.json",
        write(&settings(), CLAUDE).body.as_bytes(),
    );
    check_fixture(
        "converse/request-told.json",
        write(&told(), CLAUDE).body.as_bytes(),
    );
}

fn documents() -> Request {
    use MediaKind::{Audio, Document, Image};
    asks(vec![
        turn(
            Role::User,
            vec![
                media(Image, "image/jpg", None),
                media(Document, "application/pdf", Some("Q3  report/final.pdf")),
                media(
                    Document,
                    "text/plain; charset=utf-8",
                    Some("Q3 report-final-pdf"),
                ),
                media(Document, "text/markdown", None),
                media(
                    Document,
                    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
                    Some("größe"),
                ),
                address(Image, "s3://bucket/a.JPG"),
            ],
        ),
        turn(Role::Assistant, vec![calls("a", "f", "{}")]),
        turn(
            Role::User,
            vec![
                says("heard?"),
                media(Audio, "audio/mpeg", None),
                Content::ToolResult(ToolResult {
                    id: "a".to_owned(),
                    content: vec![media(Image, "image/webp", None), says(" "), says("seen")],
                    is_error: false,
                }),
            ],
        ),
    ])
    .with_tools()
}

impl Request {
    fn with_tools(self) -> Self {
        Self {
            tools: vec![tool("f", None)],
            ..self
        }
    }
}

fn settings() -> Request {
    let mut request = hello().with_tools();
    request.format = Format::Schema {
        name: Some("answer".to_owned()),
        description: Some("d".to_owned()),
        schema: RawValue::from_string(r#"{"type": "object", "z": 1, "a": "\u00e9"}"#.to_owned())
            .unwrap(),
        strict: Some(true),
    };
    request.tool_choice = ToolChoice::Named("f".to_owned());
    request.sampling.temperature = serde_json::Number::from_f64(0.25);
    request.sampling.top_k = Some(7);
    request.sampling.stop = vec!["END".to_owned(), String::new()];
    request.user = Some("team/alice@example.com".to_owned());
    request.max_output = Some(77);
    request
}

/// No tool may be called, and the history has calls.
fn told() -> Request {
    let failed = Content::ToolResult(ToolResult {
        id: "b".to_owned(),
        content: vec![media(MediaKind::Image, "image/png", None)],
        is_error: true,
    });
    let mut request = asks(vec![
        turn(Role::User, vec![says("x")]),
        turn(
            Role::Assistant,
            vec![calls("a", "f", "{\"a\":1}"), calls("b", "g", "")],
        ),
        turn(Role::User, vec![failed, answers("a", "one")]),
    ])
    .with_tools();
    request.tool_choice = ToolChoice::None;
    request
}

#[test]
fn what_each_model_takes() {
    let body = fixture("messages/caller-agent.json");
    let request = read_request(body.as_bytes()).unwrap();
    assert_eq!(
        write(&request, CLAUDE).dropped,
        ["service_tier", "parallel_tool_calls"]
    );
    assert_eq!(
        write(&request, NEW).dropped,
        [
            "service_tier",
            "parallel_tool_calls",
            "thinking.budget_tokens"
        ]
    );
    assert_eq!(
        write(&request, NOVA).dropped,
        [
            "service_tier",
            "reasoning",
            "cache_control.ttl",
            "cache_control",
            "parallel_tool_calls",
        ]
    );
    assert_eq!(write(&settings(), CLAUDE).dropped, ["stop"]);
    let sampled = |model| value(&write(&settings(), model))["additionalModelRequestFields"].clone();
    assert_eq!(sampled(CLAUDE), json!({"top_k": 7}));
    assert_eq!(sampled(NOVA), json!({"inferenceConfig": {"topK": 7}}));
    assert_eq!(sampled("meta.llama4"), Value::Null);
    assert_eq!(write(&settings(), "meta.llama4").dropped, ["stop", "top_k"]);
    assert_eq!(
        write(&settings(), NEW).dropped,
        ["temperature", "top_k", "stop"]
    );
}

#[test]
fn thinking() {
    let mut request = hello();
    request.reasoning = Some(Reasoning {
        effort: Some(Effort::Low),
        ..Reasoning::default()
    });
    let old = value(&write(&request, CLAUDE));
    assert_eq!(
        old["additionalModelRequestFields"]["thinking"],
        json!({"type": "enabled", "budget_tokens": 2000})
    );
    let new = value(&write(&request, NEW));
    assert_eq!(
        new["additionalModelRequestFields"]["thinking"],
        json!({"type": "adaptive"})
    );
    assert_eq!(new["outputConfig"], json!({"effort": "low"}));
}

#[test]
fn thoughts() {
    let signed_by = |by, text: &str, signature: Option<&str>, redacted| {
        Content::Reasoning(Thought {
            text: text.to_owned(),
            signature: signature.map(|value| Signature::new(by, value)),
            redacted,
        })
    };
    let thought =
        |text: &str, signature, redacted| signed_by(Signer::Anthropic, text, signature, redacted);
    let request = asks(vec![
        turn(Role::User, vec![says("x")]),
        turn(
            Role::Assistant,
            vec![
                thought("unsigned", None, false),
                thought("signed", Some("c2ln"), false),
                thought("", Some("EmwKAhgB"), true),
                thought("", Some("not base64!"), true),
                signed_by(Signer::OpenAi, "of OpenAI", Some("gAAAAABm"), false),
            ],
        ),
        turn(Role::User, vec![says("y")]),
    ]);
    let body = value(&write(&request, CLAUDE));
    assert_eq!(
        body["messages"][1]["content"],
        json!([
            {"reasoningContent": {"reasoningText": {"text": "signed", "signature": "c2ln"}}},
            {"reasoningContent": {"redactedContent": "EmwKAhgB"}},
        ])
    );
}

#[test]
fn caches() {
    let mut request = hello();
    request.turns.insert(0, turn(Role::System, vec![says("s")]));
    request.turns[0].parts[0].cache = Some(CacheTtl::Hour1);
    request.turns[1].parts.push(Part {
        content: says(" "),
        cache: Some(CacheTtl::Minutes5),
    });
    let point = |ttl: Option<&str>| match ttl {
        Some(ttl) => json!({"cachePoint": {"type": "default", "ttl": ttl}}),
        None => json!({"cachePoint": {"type": "default"}}),
    };
    for (model, hour) in [(CLAUDE, Some("1h")), (OLD, None), (NOVA, None)] {
        let body = value(&write(&request, model));
        assert_eq!(body["system"], json!([{"text": "s"}, point(hour)]));
        assert_eq!(
            body["messages"][0]["content"],
            json!([{"text": "hi"}, point(None)])
        );
    }
    assert_eq!(write(&request, OLD).dropped, ["cache_control.ttl"]);
    let written = write(&request, "mistral.x");
    assert_eq!(written.dropped, ["cache_control"]);
    assert!(!written.body.contains("cachePoint"));
}

#[test]
fn paths() {
    assert_eq!(path(NOVA, false), "/model/amazon.nova-pro-v1%3A0/converse");
    assert_eq!(
        path(ARN, true),
        "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.anthropic.claude-opus-5/converse-stream"
    );
    assert_eq!(path("../é", false), "/model/..%2F%C3%A9/converse");
}

#[test]
fn metadata() {
    let with = |user: &str| {
        let request = Request {
            user: Some(user.to_owned()),
            ..hello()
        };
        let written = write(&request, CLAUDE);
        (value(&written)["requestMetadata"].clone(), written.dropped)
    };
    assert_eq!(with("a@b"), (json!({"user_id": "a@b"}), vec![]));
    assert_eq!(with("{json}"), (Value::Null, vec!["user".to_owned()]));
    assert_eq!(
        with(&"x".repeat(257)),
        (Value::Null, vec!["user".to_owned()])
    );
}

#[test]
fn what_the_api_lacks() {
    use MediaKind::{Audio, Document, Image};
    let with = |change: &dyn Fn(&mut Request)| {
        let mut request = hello();
        change(&mut request);
        write_request(&request, CLAUDE, 10).unwrap_err().feature
    };
    let said = |content| vec![turn(Role::User, vec![content])];
    assert_eq!(with(&|r| r.sampling.choices = Some(2)), Feature::Choices);
    assert_eq!(with(&|r| r.sampling.logprobs = Some(5)), Feature::Logprobs);
    assert_eq!(with(&|r| r.format = Format::Json), Feature::JsonObject);
    assert_eq!(
        with(&|r| r.turns = said(address(Image, "https://x/a.png"))),
        Feature::ImageUrls
    );
    assert_eq!(
        with(&|r| r.turns = said(address(Document, "https://x/a.pdf"))),
        Feature::Documents
    );
    assert_eq!(
        with(&|r| r.turns = said(address(Image, "s3://x/a.svg"))),
        Feature::ImageType
    );
    assert_eq!(
        with(&|r| r.turns = said(media(Image, "image/tiff", None))),
        Feature::ImageType
    );
    assert_eq!(
        with(&|r| r.turns = said(media(Document, "application/zip", None))),
        Feature::Documents
    );
    assert_eq!(
        with(&|r| r.turns = said(media(Audio, "audio/midi", None))),
        Feature::Audio
    );
    let heard = ToolResult {
        id: "a".to_owned(),
        content: vec![media(Audio, "audio/wav", None)],
        is_error: false,
    };
    assert_eq!(
        with(&|r| r.turns = said(Content::ToolResult(heard.clone()))),
        Feature::MediaInToolResults
    );
    assert_eq!(
        with(&|r| r.only_here.push((Feature::StoredState, "x".to_owned()))),
        Feature::StoredState
    );
}
