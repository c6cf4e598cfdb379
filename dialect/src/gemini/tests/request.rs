use crate::error::Feature;
use crate::gemini::{path, write_request};
use crate::request::{
    Content, Effort, Format, MediaKind, MediaSource, Request, Role, ToolChoice, ToolResult,
};
use crate::signature::{Signature, Signer};
use crate::testing::{
    DOCUMENT, PICTURE, asks, burdened, call, check_fixture, conversation, data, media, schema,
    text, thinking, thought, tool, tool_use, turn,
};

const OLD: &str = "gemini-2.0-flash";
const FLASH: &str = "gemini-2.5-flash";
const PRO: &str = "gemini-2.5-pro";
const NEW: &str = "gemini-3-pro-preview";

fn written(request: &Request, model: &str) -> String {
    write_request(request, model).unwrap().body
}

fn refused(request: &Request, model: &str) -> Feature {
    write_request(request, model).unwrap_err().feature
}

fn config(request: &Request, model: &str) -> (String, Vec<String>) {
    let written = write_request(request, model).unwrap();
    let body: serde_json::Value = serde_json::from_str(&written.body).unwrap();
    (
        body["generationConfig"]["thinkingConfig"].to_string(),
        written.dropped,
    )
}

#[test]
fn the_model_and_the_method_are_in_the_path() {
    for (model, stream, expected) in [
        (
            FLASH,
            false,
            "/v1beta/models/gemini-2.5-flash:generateContent",
        ),
        (
            FLASH,
            true,
            "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        ),
        ("models/x", false, "/v1beta/models/x:generateContent"),
        (
            "tunedModels/x",
            false,
            "/v1beta/tunedModels/x:generateContent",
        ),
        (
            "../a?b#c/d é",
            false,
            "/v1beta/models/..%2Fa%3Fb%23c%2Fd%20%C3%A9:generateContent",
        ),
        ("..", false, "/v1beta/models/%2E%2E:generateContent"),
    ] {
        assert_eq!(path(model, stream), expected);
    }
}

#[test]
fn bodies_are_the_fixtures() {
    check_fixture("gemini/request-text.json", &written(&conversation(), FLASH));
    check_fixture("gemini/request-tools.json", &written(&tool_use(), FLASH));

    let mut signed = tool_use();
    signed.tool_choice = ToolChoice::Named("clock".to_owned());
    signed.format = schema();
    let more = call("d", "clock", "{}");
    let mut first = call("e", "clock", "{}");
    first.signature = Some(Signature::new(Signer::Google, "c2lnLTE="));
    let parts = [first, more].map(Content::ToolCall);
    signed.turns.push(turn(Role::Assistant, parts));
    check_fixture("gemini/request-tools-signed.json", &written(&signed, NEW));

    let picture = || media(MediaKind::Image, data("image/png", PICTURE));
    let mut seen = asks("What is this?");
    seen.turns[0].parts.extend([
        picture().into(),
        media(
            MediaKind::Image,
            MediaSource::Url("https://a.example/b.JPG?c=d.png".to_owned()),
        )
        .into(),
        media(
            MediaKind::Image,
            MediaSource::Url("https://a.example/b".to_owned()),
        )
        .into(),
        media(MediaKind::Document, data("application/pdf", DOCUMENT)).into(),
        media(MediaKind::Audio, data("audio/wav", PICTURE)).into(),
    ]);
    seen.turns.push(turn(
        Role::Assistant,
        [Content::ToolCall(call("a", "look", "{}"))],
    ));
    let result = ToolResult {
        id: "a".to_owned(),
        content: vec![text("Here."), picture()],
        is_error: false,
    };
    seen.turns
        .push(turn(Role::User, [Content::ToolResult(result)]));
    check_fixture("gemini/request-media.json", &written(&seen, NEW));

    let mut formatted = thinking(Some(Effort::Medium), None, Some(true));
    formatted.format = schema();
    check_fixture("gemini/request-schema.json", &written(&formatted, PRO));
    check_fixture(
        "gemini/request-level.json",
        &written(&thinking(Some(Effort::Low), None, Some(true)), NEW),
    );
}

#[test]
fn a_jpg_is_a_jpeg() {
    let mut request = asks("Hi");
    let picture = media(MediaKind::Image, data("image/jpg", PICTURE));
    request.turns[0].parts.push(picture.into());
    let body = written(&request, FLASH);
    assert!(body.contains("image/jpeg") && !body.contains("image/jpg"));
}

#[test]
fn what_has_no_place_is_named() {
    let written = write_request(&burdened(), FLASH).unwrap();
    check_fixture("gemini/request-clamped.json", &written.body);
    assert_eq!(
        written.dropped.join(" "),
        "metadata parallel_tool_calls user tools.strict temperature top_p top_k seed presence_penalty frequency_penalty stop cache_control"
    );
    assert_eq!(
        write_request(&conversation(), FLASH).unwrap().dropped,
        [""; 0]
    );
}

#[test]
fn what_would_change_the_answer_is_refused() {
    let mut request = asks("Hi");
    request.sampling.choices = Some(2);
    assert_eq!(refused(&request, NEW), Feature::Choices);
    request.sampling.choices = None;
    request.sampling.logprobs = Some(0);
    assert_eq!(refused(&request, NEW), Feature::Logprobs);

    let mut request = asks("Hi");
    request.tools = vec![tool("weather")];
    request.format = Format::Json;
    assert_eq!(refused(&request, PRO), Feature::JsonObject);
    assert!(write_request(&request, NEW).is_ok());
    request.only_here = vec![(Feature::VendorTools, "web_search".to_owned())];
    assert_eq!(refused(&request, NEW), Feature::VendorTools);

    let url = || MediaSource::Url("https://a.example/b.png".to_owned());
    for (kind, source, model, feature) in [
        (MediaKind::Image, url(), OLD, Feature::ImageUrls),
        (MediaKind::Document, url(), OLD, Feature::Documents),
        (
            MediaKind::Image,
            data("image/gif", PICTURE),
            NEW,
            Feature::ImageType,
        ),
    ] {
        let mut request = asks("Hi");
        request.turns[0].parts.push(media(kind, source).into());
        assert_eq!(refused(&request, model), feature);
    }
    let result = |source| {
        let mut request = asks("Hi");
        request.turns[0].parts = vec![
            Content::ToolResult(ToolResult {
                id: "a".to_owned(),
                content: vec![media(MediaKind::Image, source)],
                is_error: false,
            })
            .into(),
        ];
        request
    };
    let inline = result(data("image/png", PICTURE));
    assert_eq!(refused(&inline, PRO), Feature::MediaInToolResults);
    assert_eq!(refused(&result(url()), NEW), Feature::MediaInToolResults);
}

#[test]
fn effort_becomes_a_budget_or_a_level() {
    let table = [
        (FLASH, Effort::None, r#"{"thinkingBudget":0}"#, false),
        (
            FLASH,
            Effort::Minimal,
            r#"{"includeThoughts":true,"thinkingBudget":1024}"#,
            false,
        ),
        (
            FLASH,
            Effort::High,
            r#"{"includeThoughts":true,"thinkingBudget":24576}"#,
            false,
        ),
        (
            PRO,
            Effort::None,
            r#"{"includeThoughts":true,"thinkingBudget":128}"#,
            true,
        ),
        (
            PRO,
            Effort::ExtraHigh,
            r#"{"includeThoughts":true,"thinkingBudget":24576}"#,
            true,
        ),
        (
            NEW,
            Effort::None,
            r#"{"includeThoughts":true,"thinkingLevel":"LOW"}"#,
            true,
        ),
        (
            NEW,
            Effort::Minimal,
            r#"{"includeThoughts":true,"thinkingLevel":"LOW"}"#,
            true,
        ),
        (
            NEW,
            Effort::Medium,
            r#"{"includeThoughts":true,"thinkingLevel":"MEDIUM"}"#,
            false,
        ),
        (
            NEW,
            Effort::ExtraHigh,
            r#"{"includeThoughts":true,"thinkingLevel":"HIGH"}"#,
            true,
        ),
        (
            "gemini-3-flash",
            Effort::None,
            r#"{"includeThoughts":true,"thinkingLevel":"MINIMAL"}"#,
            true,
        ),
        (
            "gemini-flash-latest",
            Effort::Minimal,
            r#"{"includeThoughts":true,"thinkingLevel":"MINIMAL"}"#,
            false,
        ),
        (
            "gemini-10.1-pro",
            Effort::High,
            r#"{"includeThoughts":true,"thinkingLevel":"HIGH"}"#,
            false,
        ),
        (OLD, Effort::High, "null", true),
        (OLD, Effort::None, "null", false),
        ("gemma-3", Effort::Low, "null", true),
    ];
    for (model, effort, expected, named) in table {
        let (config, dropped) = config(&thinking(Some(effort), None, Some(true)), model);
        assert_eq!(config, expected, "{model} {effort:?}");
        assert_eq!(
            dropped.contains(&"reasoning_effort".to_owned()),
            named,
            "{model} {effort:?}"
        );
    }
}

#[test]
fn budgets_stay_within_the_model() {
    for (model, budget, expected, named) in [
        (PRO, 1, "{\"thinkingBudget\":128}", true),
        (PRO, 99_999, "{\"thinkingBudget\":32768}", true),
        (FLASH, 0, "{\"thinkingBudget\":0}", false),
        (FLASH, u64::MAX, "{\"thinkingBudget\":24576}", true),
        ("gemini-2.5-flash-lite", 9, "{\"thinkingBudget\":512}", true),
        (NEW, 5_000, "{\"thinkingBudget\":5000}", false),
        (OLD, 5_000, "null", true),
    ] {
        let (config, dropped) = config(&thinking(None, Some(budget), None), model);
        assert_eq!(
            (config.as_str(), !dropped.is_empty()),
            (expected, named),
            "{model}"
        );
    }
    // Never both.
    let (config, dropped) = config(&thinking(Some(Effort::Low), Some(9), None), NEW);
    assert_eq!(config, r#"{"thinkingLevel":"LOW"}"#);
    assert_eq!(dropped, ["thinking.budget_tokens"]);
}

#[test]
fn only_signatures_of_gemini_go_back() {
    let mut request = asks("Hi");
    request.turns.push(turn(
        Role::Assistant,
        [
            thought("Hm.", Some("EqoB")),
            text("Yes."),
            Content::Reasoning(crate::request::Thought {
                signature: Some(Signature::new(Signer::Google, "c2ln")),
                ..crate::request::Thought::default()
            }),
        ],
    ));
    assert_eq!(
        written(&request, NEW),
        r#"{"contents":[{"role":"user","parts":[{"text":"Hi"}]},{"role":"model","parts":[{"text":"Yes."},{"text":"","thoughtSignature":"c2ln"}]}]}"#
    );
}

#[test]
fn instructions_alone_are_what_the_user_says() {
    let request = Request {
        turns: vec![turn(Role::System, [text("Greet.")])],
        ..Request::default()
    };
    let body = r#"{"contents":[{"role":"user","parts":[{"text":"Greet."}]}]}"#;
    assert_eq!(written(&request, FLASH), body);
    assert_eq!(written(&Request::default(), FLASH), r#"{"contents":[]}"#);
}
