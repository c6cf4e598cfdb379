use crate::chat::read_request;
use crate::testing::fixture;
use crate::{Content, Feature, Role};
use serde_json::{Value, json};

fn with(extra: &Value) -> String {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    for (name, value) in extra.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.to_string()
}

#[test]
fn reads_what_a_caller_of_the_sdk_sends() {
    let request = read_request(fixture("chat/caller.json").as_bytes()).unwrap();
    insta::assert_debug_snapshot!(request);
    let media = read_request(fixture("chat/caller-media.json").as_bytes()).unwrap();
    insta::assert_debug_snapshot!(media.turns);
}

#[test]
fn reads_functions_in_the_old_words() {
    let body = json!({
        "model": "m",
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "done"},
        ],
        "functions": [{"name": "f", "parameters": {"type": "object"}}],
        "function_call": {"name": "f"},
        "max_tokens": 5,
        "max_completion_tokens": 7,
        "stop": "END",
    });
    let request = read_request(body.to_string().as_bytes()).unwrap();
    assert_eq!(request.max_output, Some(7));
    assert_eq!(request.sampling.stop, ["END"]);
    let Content::ToolCall(call) = &request.turns[1].parts[0].content else {
        panic!("no call");
    };
    let Content::ToolResult(result) = &request.turns[2].parts[0].content else {
        panic!("no result");
    };
    assert_eq!(call.id, result.id);
    assert_eq!(request.tools_of_calls().get(result.id.as_str()), Some(&"f"));
    assert_eq!(request.turns[2].role, Role::User);
}

#[test]
fn narrows_the_tools_to_those_that_are_allowed() {
    let body = with(&json!({
        "tools": [{"type": "function", "function": {"name": "a"}}, {"type": "function", "function": {"name": "b"}}],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "b"}}]}},
    }));
    let request = read_request(body.as_bytes()).unwrap();
    let names: Vec<&str> = request
        .tools
        .iter()
        .map(|tool| tool.name.as_str())
        .collect();
    assert_eq!(names, ["b"]);
    assert_eq!(request.tool_choice, crate::request::ToolChoice::Required);
}

#[test]
fn keeps_schemas_and_halves_of_pairs_as_they_came() {
    let body = br#"{"model":"m","messages":[{"role":"user","content":"a\ud800b"}],
        "tools":[{"type":"function","function":{"name":"f","parameters":{"b":1.0, "a":1e2}}}]}"#;
    let request = read_request(body).unwrap();
    assert_eq!(
        request.turns[0].parts[0].content,
        Content::Text("a\u{fffd}b".to_owned())
    );
    let schema = request.tools[0].parameters.as_ref().unwrap();
    assert_eq!(schema.get(), r#"{"b":1.0, "a":1e2}"#);
}

#[test]
fn names_what_only_this_dialect_has() {
    let cases = [
        (
            json!({"tools": [{"type": "custom", "custom": {"name": "x"}}]}),
            Feature::VendorTools,
        ),
        (
            json!({"tool_choice": {"type": "custom", "custom": {"name": "x"}}}),
            Feature::VendorTools,
        ),
        (json!({"web_search_options": {}}), Feature::VendorTools),
        (
            json!({"modalities": ["text", "audio"], "audio": {"format": "wav", "voice": "ash"}}),
            Feature::Audio,
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]}),
            Feature::StoredState,
        ),
        (
            json!({"messages": [{"role": "assistant", "audio": {"id": "a"}}]}),
            Feature::StoredState,
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "video_url"}]}]}),
            Feature::VendorTools,
        ),
    ];
    for (extra, feature) in cases {
        let request = read_request(with(&extra).as_bytes()).unwrap();
        assert_eq!(request.only_here[0].0, feature, "{extra}");
        assert!(request.check_translatable("x").is_err());
    }
}

#[test]
fn leaves_what_does_not_change_the_answer() {
    let body = with(&json!({
        "metadata": {}, "logit_bias": {"1": 2}, "prediction": {"type": "content", "content": "x"}, "store": true, "verbosity": "low",
        "modalities": ["text"], "reasoning_effort": "ultra", "moderation": {"model": "x"}, "foo": 1, "seed": null,
        "messages": [{"role": "user", "content": "hi", "name": "ann"}],
    }));
    let mut left = read_request(body.as_bytes()).unwrap().left;
    left.sort();
    let expected = [
        "foo",
        "logit_bias",
        "messages.name",
        "metadata",
        "moderation",
        "prediction",
        "reasoning_effort",
        "store",
        "verbosity",
    ];
    assert_eq!(left, expected);
    let quiet = with(&json!({"store": false, "modalities": ["text"]}));
    assert!(read_request(quiet.as_bytes()).unwrap().left.is_empty());
}

#[test]
fn says_what_is_wrong() {
    let message = |message: Value| json!({"messages": [message]});
    let user = |part: Value| message(json!({"role": "user", "content": [part]}));
    let tool = |function: Value| json!({"tools": [{"type": "function", "function": function}]});
    let bodies = [
        "nonsense".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        r#"{"model":"m"}"#.to_owned(),
        with(&json!({"model": 1})),
        with(&json!({"messages": []})),
        with(&json!({"messages": "hi"})),
        with(&message(json!("hi"))),
        with(&message(json!({"content": "hi"}))),
        with(&message(json!({"role": "robot", "content": "hi"}))),
        with(&message(json!({"role": "user"}))),
        with(&message(json!({"role": "user", "content": 5}))),
        with(&message(json!({"role": "tool", "content": "x"}))),
        with(&message(
            json!({"role": "assistant", "tool_calls": [{"id": "a"}]}),
        )),
        with(&message(
            json!({"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}),
        )),
        with(&user(json!({}))),
        with(&user(json!({"type": "text"}))),
        with(&user(
            json!({"type": "image_url", "image_url": {"url": "ftp://x"}}),
        )),
        with(&user(
            json!({"type": "image_url", "image_url": {"url": "data:image/png,x"}}),
        )),
        with(&user(json!({"type": "file", "file": {}}))),
        with(&tool(json!({}))),
        with(&tool(json!({"name": "f", "parameters": []}))),
        with(&tool(json!({"name": "f", "strict": "yes"}))),
        with(&json!({"tools": {}})),
        with(&json!({"tool_choice": "some"})),
        with(&json!({"response_format": {"type": "xml"}})),
        with(&json!({"response_format": {"type": "json_schema"}})),
        with(&json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}})),
        with(&json!({"max_tokens": -1})),
        with(&json!({"max_tokens": 1.5})),
        with(&json!({"temperature": "hot"})),
        with(&json!({"seed": "x"})),
        with(&json!({"stop": [1]})),
        with(&json!({"stream": "yes"})),
        with(&json!({"stream_options": {"include_usage": 1}})),
        r#"{"model":"m","model":"n","messages":[]}"#.to_owned(),
    ];
    let said: Vec<String> = bodies
        .iter()
        .map(|body| {
            let invalid = read_request(body.as_bytes()).unwrap_err();
            format!("{body}\n    {invalid}")
        })
        .collect();
    insta::assert_snapshot!(said.join("\n"));
}
