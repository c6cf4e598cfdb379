use crate::cohere::write_request;
use crate::error::Feature;
use crate::json::raw;
use crate::request::{
    Content, Effort, Format, MediaKind, MediaSource, Request, Role, ToolChoice, ToolResult,
};
use crate::testing::{
    DOCUMENT, PICTURE, asks, burdened, check_fixture, conversation, data, media, schema, thinking,
    tool, tool_use,
};

const MODEL: &str = "command-a-plus-05-2026";

fn written(request: &Request) -> String {
    write_request(request, MODEL).unwrap().body
}

fn refused(request: &Request) -> Feature {
    write_request(request, MODEL).unwrap_err().feature
}

fn thinking_of(request: &Request, model: &str) -> (String, bool) {
    let written = write_request(request, model).unwrap();
    let body: serde_json::Value = serde_json::from_str(&written.body).unwrap();
    (body["thinking"].to_string(), !written.dropped.is_empty())
}

#[test]
fn bodies_are_the_fixtures() {
    check_fixture("cohere/request-text.json", &written(&conversation()));
    let mut tools = tool_use();
    tools.stream = true;
    tools.tools[0].parameters = None;
    tools
        .tools
        .iter_mut()
        .for_each(|tool| tool.strict = Some(true));
    check_fixture("cohere/request-tools.json", &written(&tools));
    tools.tool_choice = ToolChoice::Named("weather".to_owned());
    check_fixture("cohere/request-named.json", &written(&tools));

    let mut seen = asks("What is this?");
    let url = MediaSource::Url("https://a.example/b".to_owned());
    for (source, detail) in [
        (data("image/png", PICTURE), Some("low")),
        (url, Some("original")),
    ] {
        let mut picture = media(MediaKind::Image, source);
        if let Content::Media(media) = &mut picture {
            media.detail = detail.map(str::to_owned);
        }
        seen.turns[0].parts.push(picture.into());
    }
    check_fixture("cohere/request-media.json", &written(&seen));

    let mut formatted = thinking(Some(Effort::Medium), None, Some(true));
    formatted.format = schema();
    check_fixture("cohere/request-schema.json", &written(&formatted));
}

#[test]
fn a_jpg_is_a_jpeg() {
    let mut request = asks("Hi");
    let picture = media(MediaKind::Image, data("image/jpg", PICTURE));
    request.turns[0].parts.push(picture.into());
    let body = written(&request);
    assert!(body.contains("image/jpeg") && !body.contains("image/jpg"));
}

#[test]
fn what_has_no_place_is_named() {
    let written = write_request(&burdened(), MODEL).unwrap();
    check_fixture("cohere/request-clamped.json", &written.body);
    assert_eq!(
        written.dropped.join(" "),
        "metadata tools.strict parallel_tool_calls user cache_control temperature top_p top_k seed stop presence_penalty frequency_penalty"
    );
    assert_eq!(
        write_request(&conversation(), MODEL).unwrap().dropped,
        [""; 0]
    );
}

#[test]
fn what_would_change_the_answer_is_refused() {
    let mut request = asks("Hi");
    request.sampling.choices = Some(2);
    assert_eq!(refused(&request), Feature::Choices);
    request.sampling.choices = None;
    request.sampling.logprobs = Some(0);
    assert_eq!(refused(&request), Feature::Logprobs);

    let mut request = asks("Hi");
    request.format = Format::Schema {
        name: None,
        description: None,
        schema: raw("true".to_owned()).unwrap(),
        strict: None,
    };
    assert_eq!(refused(&request), Feature::Schema);
    request.format = Format::Json;
    request.tools = vec![tool("weather")];
    assert_eq!(refused(&request), Feature::JsonObject);
    request.format = Format::Text;
    request.tool_choice = ToolChoice::Named("other".to_owned());
    assert_eq!(refused(&request), Feature::ToolChoice);

    let picture = || media(MediaKind::Image, data("image/png", PICTURE));
    let result = ToolResult {
        id: "a".to_owned(),
        content: vec![picture()],
        is_error: false,
    };
    for (content, feature) in [
        (
            media(MediaKind::Image, data("image/tiff", PICTURE)),
            Feature::ImageType,
        ),
        (
            media(MediaKind::Document, data("application/pdf", DOCUMENT)),
            Feature::Documents,
        ),
        (
            media(MediaKind::Audio, data("audio/wav", PICTURE)),
            Feature::Audio,
        ),
        (Content::ToolResult(result), Feature::MediaInToolResults),
    ] {
        let mut request = asks("Hi");
        request.turns[0].parts.push(content.into());
        assert_eq!(refused(&request), feature);
    }
}

#[test]
fn effort_becomes_a_budget() {
    for (effort, budget, expected) in [
        (Some(Effort::None), None, r#"{"type":"disabled"}"#),
        (Some(Effort::High), Some(0), r#"{"type":"disabled"}"#),
        (
            Some(Effort::Low),
            None,
            r#"{"token_budget":1024,"type":"enabled"}"#,
        ),
        (Some(Effort::High), None, r#"{"type":"enabled"}"#),
        (
            Some(Effort::Low),
            Some(7),
            r#"{"token_budget":7,"type":"enabled"}"#,
        ),
        (None, None, "null"),
    ] {
        let request = thinking(effort, budget, None);
        assert_eq!(thinking_of(&request, MODEL), (expected.to_owned(), false));
    }
    let old = "command-r-08-2024";
    assert_eq!(
        thinking_of(&thinking(Some(Effort::High), None, None), old),
        ("null".to_owned(), true)
    );
    assert_eq!(
        thinking_of(&thinking(Some(Effort::None), None, None), old),
        ("null".to_owned(), false)
    );
}

#[test]
fn instructions_alone_are_what_the_user_says() {
    let mut request = asks("Greet.");
    request.turns[0].role = Role::System;
    assert_eq!(written(&request), written(&asks("Greet.")));
}

#[test]
fn a_choice_without_tools_is_left_out() {
    let mut request = asks("Hi");
    request.tool_choice = ToolChoice::Required;
    let body = r#"{"model":"command-a-plus-05-2026","messages":[{"role":"user","content":"Hi"}],"stream":false}"#;
    assert_eq!(written(&request), body);
}
