//! Requests, and what they are made of.

use crate::json::raw;
use crate::request::{
    CacheTtl, Content, Effort, Format, Media, MediaKind, MediaSource, Part, Reasoning, Request,
    Role, Sampling, Thought, Tool, ToolCall, ToolResult, Turn,
};
use crate::signature::{Signature, Signer};
use serde_json::Number;

/// A base64 of some picture's bytes.
pub(crate) const PICTURE: &str = "iVBORw0KGgo=";
/// Of a document's.
pub(crate) const DOCUMENT: &str = "JVBERi0xLjQ=";

pub(crate) fn turn(role: Role, contents: impl IntoIterator<Item = Content>) -> Turn {
    Turn {
        role,
        parts: contents.into_iter().map(Part::from).collect(),
    }
}

pub(crate) fn text(text: &str) -> Content {
    Content::Text(text.to_owned())
}

pub(crate) fn asks(text_of_user: &str) -> Request {
    Request {
        model: "pool".to_owned(),
        turns: vec![turn(Role::User, [text(text_of_user)])],
        ..Request::default()
    }
}

pub(crate) fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
    ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
        signature: None,
    }
}

pub(crate) fn result(id: &str, answer: &str, is_error: bool) -> Content {
    Content::ToolResult(ToolResult {
        id: id.to_owned(),
        content: vec![text(answer)],
        is_error,
    })
}

pub(crate) fn thought(text: &str, signature: Option<&str>) -> Content {
    Content::Reasoning(Thought {
        text: text.to_owned(),
        signature: signature.map(|value| Signature::new(Signer::Anthropic, value)),
        ..Thought::default()
    })
}

pub(crate) fn media(kind: MediaKind, source: MediaSource) -> Content {
    Content::Media(Media {
        kind,
        source,
        name: None,
        detail: None,
    })
}

pub(crate) fn data(mime: &str, base64: &str) -> MediaSource {
    MediaSource::Data {
        mime: mime.to_owned(),
        base64: base64.to_owned(),
    }
}

/// A tool whose schema has its keys out of order.
pub(crate) fn tool(name: &str) -> Tool {
    Tool {
        name: name.to_owned(),
        description: Some("Says how the weather is.".to_owned()),
        parameters: Some(
            raw(
                r#"{"type":"object","required":["city"],"properties":{"city":{"type":"string"}}}"#
                    .to_owned(),
            )
            .unwrap(),
        ),
        strict: None,
        cache: None,
    }
}

pub(crate) fn schema() -> Format {
    Format::Schema {
        name: Some("weather".to_owned()),
        description: None,
        schema: raw(
            r#"{"type":"object","properties":{"wet":{"type":"boolean"}},"required":["wet"]}"#
                .to_owned(),
        )
        .unwrap(),
        strict: Some(true),
    }
}

pub(crate) fn number(value: f64) -> Option<Number> {
    Number::from_f64(value)
}

/// Instructions in two places, several turns, and every way to sample within all vendors' bounds.
pub(crate) fn conversation() -> Request {
    Request {
        turns: vec![
            turn(Role::System, [text("Be brief.")]),
            turn(Role::User, [text("Hello \u{1f600}\u{7f}"), text("")]),
            turn(
                Role::Assistant,
                [text("Hello."), Content::Refusal("No.".to_owned())],
            ),
            turn(Role::User, [text("Who are you?")]),
            turn(Role::User, [text("And where?")]),
            turn(Role::System, [text("Speak French.")]),
        ],
        max_output: Some(100),
        sampling: Sampling {
            temperature: number(0.5),
            top_p: number(0.9),
            top_k: Some(40),
            presence_penalty: number(0.25),
            frequency_penalty: number(0.75),
            seed: Some(7),
            stop: vec!["END".to_owned()],
            choices: Some(1),
            logprobs: None,
        },
        ..Request::default()
    }
}

/// Parallel calls, one without arguments and one with broken ones, and their results: text, an object, a failure.
pub(crate) fn tool_use() -> Request {
    let calls = [
        call("a", "weather", r#"{"city": "Köln",  "b": 1}"#),
        call("b", "clock", ""),
        call("c", "weather", r#"{"city": "#),
    ];
    let mut parts = vec![thought("I need the weather.", None), text("Let me see.")];
    parts.extend(calls.map(Content::ToolCall));
    Request {
        turns: vec![
            turn(Role::User, [text("Weather?")]),
            turn(Role::Assistant, parts),
            turn(Role::User, [result("a", r#"{"wet": true,"a":0}"#, false)]),
            turn(Role::User, [result("b", "12:00", false)]),
            turn(
                Role::User,
                [result("c", "no such city", true), text("Well?")],
            ),
        ],
        tools: vec![tool("weather"), tool("clock")],
        ..Request::default()
    }
}

/// What most vendors have no place for.
pub(crate) fn burdened() -> Request {
    let mut request = asks("Hi");
    request.turns[0].parts[0].cache = Some(CacheTtl::Minutes5);
    request.tools = vec![tool("weather"), tool("clock")];
    request.tools[0].strict = Some(true);
    request.parallel_tools = Some(false);
    request.user = Some("u".to_owned());
    request.left = vec!["metadata".to_owned()];
    request.sampling = Sampling {
        temperature: number(9.0),
        top_p: number(7.0),
        top_k: Some(u64::MAX),
        presence_penalty: number(-9.0),
        frequency_penalty: number(9.0),
        seed: Some(i64::MIN),
        stop: (0..9).map(|n| n.to_string()).collect(),
        ..Sampling::default()
    };
    request
}

pub(crate) fn thinking(
    effort: Option<Effort>,
    budget: Option<u64>,
    shown: Option<bool>,
) -> Request {
    let mut request = asks("Think.");
    request.reasoning = Some(Reasoning {
        effort,
        budget,
        shown,
    });
    request
}

/// A request with one word of a user.
pub(crate) fn asked() -> Request {
    crate::chat::read_request(br#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#)
        .unwrap()
}
