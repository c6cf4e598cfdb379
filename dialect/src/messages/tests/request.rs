use super::*;
use crate::error::Feature;
use crate::messages::{read_count_request, read_request};
use crate::request::{
    CacheTtl, Content, Effort, Format, MediaKind, MediaSource, Reasoning, Request, Role, ToolChoice,
};

fn read(body: &str) -> Request {
    read_request(body.as_bytes()).unwrap()
}

/// A body with one field more.
fn with(field: &str) -> Request {
    let body = format!(
        r#"{{"model":"m","max_tokens":8,"messages":[{{"role":"user","content":"hi"}}],{field}}}"#
    );
    read(&body)
}

#[test]
fn agent() {
    let request = read(&fixture("messages/caller-agent.json"));
    assert_eq!(request.model, "team-pool");
    assert_eq!(request.max_output, Some(4096));
    assert_eq!(request.parallel_tools, Some(false));
    assert_eq!(request.tool_choice, ToolChoice::Auto);
    assert!(request.stream && request.stream_usage);
    assert_eq!(request.user.as_deref(), Some("user-7"));
    assert_eq!(request.left, ["service_tier"]);
    assert_eq!(request.sampling.stop, ["END", "\n\nHuman:"]);
    let roles: Vec<_> = request.turns.iter().map(|turn| turn.role).collect();
    assert_eq!(
        roles,
        [Role::System, Role::User, Role::Assistant, Role::User]
    );
    assert_eq!(request.turns[0].parts[1].cache, Some(CacheTtl::Hour1));
    assert_eq!(request.tools[1].cache, Some(CacheTtl::Minutes5));
    assert_eq!(request.tools[0].strict, Some(true));
    insta::assert_debug_snapshot!(request.turns[2..], @r#"
    [
        Turn {
            role: Assistant,
            parts: [
                Part {
                    content: Reasoning(
                        Thought {
                            text: "Look at the log first.",
                            signature: Some(
                                Signature {
                                    by: Anthropic,
                                    value: "EqQBCgIYAg==",
                                    id: None,
                                },
                            ),
                            redacted: false,
                        },
                    ),
                    cache: None,
                },
                Part {
                    content: Reasoning(
                        Thought {
                            text: "",
                            signature: Some(
                                Signature {
                                    by: Anthropic,
                                    value: "EmwKAhgB",
                                    id: None,
                                },
                            ),
                            redacted: true,
                        },
                    ),
                    cache: None,
                },
                Part {
                    content: Text(
                        "I look at two files.",
                    ),
                    cache: None,
                },
                Part {
                    content: ToolCall(
                        ToolCall {
                            id: "toolu_01A",
                            name: "read_file",
                            arguments: "{\"path\": \"a.rs\",  \"from\": 1.0}",
                            signature: None,
                        },
                    ),
                    cache: None,
                },
                Part {
                    content: ToolCall(
                        ToolCall {
                            id: "toolu_01B",
                            name: "read_file",
                            arguments: "{}",
                            signature: None,
                        },
                    ),
                    cache: None,
                },
            ],
        },
        Turn {
            role: User,
            parts: [
                Part {
                    content: Text(
                        "Here they are.",
                    ),
                    cache: None,
                },
                Part {
                    content: ToolResult(
                        ToolResult {
                            id: "toolu_01A",
                            content: [
                                Text(
                                    "fn main() {}",
                                ),
                            ],
                            is_error: false,
                        },
                    ),
                    cache: None,
                },
                Part {
                    content: ToolResult(
                        ToolResult {
                            id: "toolu_01B",
                            content: [
                                Text(
                                    "no such file",
                                ),
                                Media(
                                    Media {
                                        kind: Image,
                                        source: Data {
                                            mime: "image/png",
                                            base64: "iVBORw0KGgo=",
                                        },
                                        name: None,
                                        detail: None,
                                    },
                                ),
                            ],
                            is_error: true,
                        },
                    ),
                    cache: Some(
                        Minutes5,
                    ),
                },
            ],
        },
    ]
    "#);
}

#[test]
fn media() {
    let request = read(&fixture("messages/caller-media.json"));
    let parts = &request.turns[1].parts;
    let media: Vec<_> = parts
        .iter()
        .filter_map(|part| match &part.content {
            Content::Media(media) => Some(media),
            _ => None,
        })
        .collect();
    let kinds: Vec<_> = media.iter().map(|media| media.kind).collect();
    use MediaKind::{Document, Image};
    assert_eq!(
        kinds,
        [Image, Image, Document, Document, Document, Document]
    );
    assert_eq!(
        media[0].source,
        MediaSource::Url("https://example.com/a.png".to_owned())
    );
    assert_eq!(media[2].name.as_deref(), Some("Report.pdf"));
    let plain = |base64: &str| MediaSource::Data {
        mime: "text/plain".to_owned(),
        base64: base64.to_owned(),
    };
    assert_eq!(media[4].source, plain("R3LDtsOfZTogMyBt"));
    assert_eq!(media[5].source, plain("Q2hhcHRlciBvbmUu"));
    assert_eq!(parts[5].cache, Some(CacheTtl::Minutes5));
    assert_eq!(
        request.reasoning,
        Some(Reasoning {
            effort: Some(Effort::High),
            budget: None,
            shown: Some(true)
        })
    );
    let Format::Schema { schema, strict, .. } = &request.format else {
        panic!("{:?}", request.format);
    };
    assert!(
        schema
            .get()
            .starts_with(r#"{"type": "object", "properties": {"z""#)
    );
    assert_eq!(*strict, Some(true));
}

#[test]
fn count_needs_no_limit() {
    let body = fixture("messages/caller-count.json");
    let request = read_count_request(body.as_bytes()).unwrap();
    assert_eq!(request.max_output, None);
    assert_eq!(request.tool_choice, ToolChoice::Named("f".to_owned()));
    assert_eq!(
        super::wrong::refusal(&body),
        "field max_tokens is missing: write a whole number from 1 on"
    );
}

#[test]
fn thinking() {
    let asked = |field: &str| with(field).reasoning;
    let of = |effort, budget, shown| {
        Some(Reasoning {
            effort,
            budget,
            shown,
        })
    };
    assert_eq!(asked(r#""top_k":3"#), None);
    let enabled = r#""thinking":{"type":"enabled","budget_tokens":2000,"display":"omitted"}"#;
    assert_eq!(asked(enabled), of(None, Some(2000), Some(false)));
    assert_eq!(
        asked(r#""thinking":{"type":"adaptive"}"#),
        of(None, None, None)
    );
    let off = of(Some(Effort::None), None, None);
    assert_eq!(asked(r#""thinking":{"type":"disabled"}"#), off);
    assert_eq!(asked(r#""thinking":{"type":"between_tools"}"#), off);
    assert_eq!(
        asked(r#""output_config":{"effort":"max"}"#),
        of(Some(Effort::ExtraHigh), None, None)
    );
    let new =
        with(r#""output_config":{"effort":"utmost","task_budget":{}},"thinking":{"type":"dream"}"#);
    assert_eq!(new.reasoning, None);
    assert_eq!(
        new.left,
        [
            "output_config.task_budget",
            "output_config.effort",
            "thinking"
        ]
    );
}

#[test]
fn only_here() {
    for (field, feature, detail) in [
        (r#""container":"c""#, Feature::StoredState, "container"),
        (
            r#""mcp_servers":[{"type":"url"}]"#,
            Feature::VendorTools,
            "mcp_servers",
        ),
        (
            r#""inference_geo":"eu""#,
            Feature::StoredState,
            "inference_geo",
        ),
        (
            r#""tools":[{"type":"web_search_20250305","name":"web_search"}]"#,
            Feature::VendorTools,
            "web_search_20250305",
        ),
        (
            r#""tools":[{"name":"f","input_schema":{},"allowed_callers":["direct","code_execution_20250825"]}]"#,
            Feature::VendorTools,
            "code_execution_20250825",
        ),
    ] {
        assert_eq!(with(field).only_here, [(feature, detail.to_owned())]);
    }
    for (block, feature, detail) in [
        (
            r#"{"type":"search_result","source":"s","title":"t","content":[]}"#,
            Feature::Documents,
            "search_result",
        ),
        (
            r#"{"type":"image","source":{"type":"file","file_id":"f"}}"#,
            Feature::StoredState,
            "file",
        ),
        (
            r#"{"type":"document","source":{"type":"file","file_id":"f"}}"#,
            Feature::StoredState,
            "file",
        ),
        (
            r#"{"type":"container_upload","file_id":"f"}"#,
            Feature::StoredState,
            "container_upload",
        ),
        (
            r#"{"type":"server_tool_use","id":"s"}"#,
            Feature::VendorTools,
            "server_tool_use",
        ),
        (
            r#"{"type":"tool_result","tool_use_id":"t","content":[{"type":"tool_reference","tool_name":"f"}]}"#,
            Feature::VendorTools,
            "tool_reference",
        ),
    ] {
        let body = format!(
            r#"{{"model":"m","max_tokens":1,"messages":[{{"role":"user","content":[{block},{{"type":"text","text":"x"}}]}}]}}"#
        );
        assert_eq!(read(&body).only_here, [(feature, detail.to_owned())]);
    }
    assert!(with(r#""mcp_servers":[]"#).only_here.is_empty());
}

#[test]
fn old_and_unknown_fields() {
    let request = with(
        r#""temperature":0.30,"top_p":0.9,"top_k":40,"output_format":{"type":"json_schema","schema":{}},"speed":"fast","container":null,"brand_new":1"#,
    );
    assert_eq!(request.sampling.temperature.unwrap().to_string(), "0.3");
    assert_eq!(request.sampling.top_k, Some(40));
    assert!(matches!(request.format, Format::Schema { .. }));
    assert_eq!(request.left, ["brand_new", "speed"]);
    assert!(request.only_here.is_empty());
}

#[test]
fn cache_at_the_top_marks_the_last_part() {
    let request = with(r#""cache_control":{"type":"ephemeral","ttl":"1h"}"#);
    assert_eq!(request.turns[0].parts[0].cache, Some(CacheTtl::Hour1));
}
