use crate::request::{Media, MediaKind, MediaSource, Thought, Turn};
use crate::responses::{read_request, write_request};
use crate::signature::{Signature, Signer};
use crate::testing::{asked, check_fixture, fixture};
use crate::{Content, Feature, Request, Role};
use serde_json::{Number, Value, json};

fn with(extra: &Value) -> String {
    let mut body = json!({"model": "m", "input": "hi"});
    for (name, value) in extra.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.to_string()
}

fn caller() -> Request {
    read_request(fixture("responses/caller.json").as_bytes()).unwrap()
}

#[test]
fn reads_what_a_caller_of_the_sdk_sends() {
    insta::assert_debug_snapshot!(caller());
}

#[test]
fn writes_what_the_sdk_reads() {
    let written = write_request(&caller(), "gpt-5").unwrap();
    check_fixture("responses/request.json", &written.body);
    assert_eq!(written.dropped, ["metadata", "text.verbosity"]);
    // What chat completions can say comes over.
    let mut chat = crate::chat::read_request(fixture("chat/caller.json").as_bytes()).unwrap();
    chat.sampling.stop.clear();
    let written = write_request(&chat, "gpt-5").unwrap();
    check_fixture("responses/request-chat.json", &written.body);
    insta::assert_snapshot!(written.dropped.join(", "));
}

#[test]
fn what_a_caller_sends_comes_out_again() {
    let first = caller();
    let body = write_request(&first, &first.model).unwrap().body;
    let second = read_request(body.as_bytes()).unwrap();
    assert_eq!(first.turns, second.turns);
    assert_eq!(first.sampling, second.sampling);
    assert_eq!(first.reasoning, second.reasoning);
    assert_eq!(first.tool_choice, second.tool_choice);
    assert_eq!(format!("{:?}", first.tools), format!("{:?}", second.tools));
    assert_eq!(
        format!("{:?}", first.format),
        format!("{:?}", second.format)
    );
    assert_eq!(
        (first.max_output, first.parallel_tools),
        (second.max_output, second.parallel_tools)
    );
}

#[test]
fn another_vendors_thoughts_stay_away() {
    let request = |thought| Request {
        turns: vec![Turn {
            role: Role::Assistant,
            parts: vec![
                Content::Reasoning(thought).into(),
                Content::Text("x".to_owned()).into(),
            ],
        }],
        ..asked()
    };
    let thought = |by, id: Option<&str>| Thought {
        text: "hm".to_owned(),
        signature: Some(Signature {
            id: id.map(str::to_owned),
            ..Signature::new(by, "gAAAAAB")
        }),
        redacted: false,
    };
    let foreign = write_request(&request(thought(Signer::Anthropic, Some("x"))), "m").unwrap();
    assert_eq!(foreign.dropped, ["reasoning"]);
    assert!(!foreign.body.contains("hm") && !foreign.body.contains("include"));
    let ours = write_request(&request(thought(Signer::OpenAi, Some("rs_68af"))), "m").unwrap();
    assert!(ours.body.contains("rs_68af") && ours.dropped.is_empty());
    let words = write_request(&request(Thought::said("hm")), "m").unwrap();
    assert_eq!(words.dropped, ["reasoning"]);
    let streamed = write_request(&request(thought(Signer::OpenAi, None)), "m").unwrap();
    let body: Value = serde_json::from_str(&streamed.body).unwrap();
    let expected = json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "gAAAAAB"});
    assert_eq!(body["input"][0], expected);
    assert_eq!(body["include"], json!(["reasoning.encrypted_content"]));
}

#[test]
fn names_that_we_made_up_are_forgotten() {
    let body = with(
        &json!({"input": [{"type": "reasoning", "id": "rs_gateway_x_0", "summary": [], "encrypted_content": "c2ln"}]}),
    );
    let request = read_request(body.as_bytes()).unwrap();
    let Content::Reasoning(thought) = &request.turns[0].parts[0].content else {
        panic!("no thought");
    };
    let expected = Signature::new(Signer::OpenAi, "c2ln");
    assert_eq!(thought.signature, Some(expected));
}

#[test]
fn refuses_and_drops_what_it_cannot_say() {
    let mut request = asked();
    request.sampling.stop = vec!["x".to_owned()];
    let refused = write_request(&request, "m").unwrap_err();
    assert_eq!(refused.feature, Feature::StopSequences);
    request.sampling.stop.clear();
    request.sampling.seed = Some(1);
    request.sampling.temperature = Number::from_f64(2.5);
    let written = write_request(&request, "m").unwrap();
    assert_eq!(written.dropped, ["temperature", "seed"]);
    let audio = Media {
        kind: MediaKind::Audio,
        source: MediaSource::Url("https://x".to_owned()),
        name: None,
        detail: None,
    };
    let mut sound = asked();
    sound.turns[0].parts.push(Content::Media(audio).into());
    assert_eq!(
        write_request(&sound, "m").unwrap_err().feature,
        Feature::Audio
    );
    let mut choices = asked();
    choices.sampling.choices = Some(2);
    assert_eq!(
        write_request(&choices, "m").unwrap_err().feature,
        Feature::Choices
    );
}

#[test]
fn names_what_only_this_dialect_has() {
    let item = |item: Value| json!({"input": [item]});
    let cases = [
        (
            json!({"previous_response_id": "resp_1"}),
            Feature::StoredState,
        ),
        (json!({"conversation": "conv_1"}), Feature::StoredState),
        (json!({"background": true}), Feature::StoredState),
        (
            json!({"prompt": {"id": "pmpt_1"}, "input": null}),
            Feature::StoredState,
        ),
        (
            json!({"tools": [{"type": "web_search"}]}),
            Feature::VendorTools,
        ),
        (
            json!({"tools": [{"type": "custom", "name": "x"}]}),
            Feature::VendorTools,
        ),
        (
            json!({"tool_choice": {"type": "mcp", "server_label": "x"}}),
            Feature::VendorTools,
        ),
        (
            item(json!({"type": "item_reference", "id": "msg_1"})),
            Feature::StoredState,
        ),
        (item(json!({"id": "msg_1"})), Feature::StoredState),
        (
            item(json!({"type": "web_search_call", "id": "ws_1"})),
            Feature::VendorTools,
        ),
        (
            item(json!({"role": "user", "content": [{"type": "input_image", "file_id": "f"}]})),
            Feature::StoredState,
        ),
        (
            item(json!({"role": "user", "content": [{"type": "input_file", "file_id": "f"}]})),
            Feature::StoredState,
        ),
        (
            item(json!({"role": "user", "content": [{"type": "input_video"}]})),
            Feature::VendorTools,
        ),
    ];
    for (extra, feature) in cases {
        let request = read_request(with(&extra).as_bytes()).unwrap();
        assert_eq!(request.only_here[0].0, feature, "{extra}");
    }
    for quiet in [
        json!({"background": false, "store": false, "truncation": "disabled"}),
        json!({}),
    ] {
        let request = read_request(with(&quiet).as_bytes()).unwrap();
        assert!(
            request.only_here.is_empty() && request.left.is_empty(),
            "{quiet}"
        );
    }
    let left = json!({"store": true, "truncation": "auto", "include": ["web_search_call.results", "x"], "max_tool_calls": 2,
        "reasoning": {"effort": "ultra", "mode": "pro"}, "metadata": {}});
    let mut left = read_request(with(&left).as_bytes()).unwrap().left;
    left.sort();
    let expected = [
        "include",
        "max_tool_calls",
        "metadata",
        "reasoning.effort",
        "reasoning.mode",
        "store",
        "truncation",
    ];
    assert_eq!(left, expected);
}

#[test]
fn asks_for_probabilities_and_tools_by_their_fields() {
    let body = with(&json!({
        "include": ["message.output_text.logprobs"],
        "tools": [{"type": "function", "name": "a"}, {"type": "function", "name": "b"}],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "b"}, {"type": "mcp"}]},
    }));
    let request = read_request(body.as_bytes()).unwrap();
    assert_eq!(request.sampling.logprobs, Some(0));
    assert_eq!(request.tools.len(), 1);
    let top = read_request(with(&json!({"top_logprobs": 3})).as_bytes()).unwrap();
    assert_eq!(top.sampling.logprobs, Some(3));
}

#[test]
fn says_what_is_wrong() {
    let item = |item: Value| with(&json!({"input": [item]}));
    let bodies = [
        r#"{"model":"m"}"#.to_owned(),
        with(&json!({"input": 5})),
        item(json!("x")),
        item(json!({"role": "robot", "content": "x"})),
        item(json!({"role": "user"})),
        item(json!({"type": "message", "content": "x"})),
        item(json!({"role": "user", "content": 7})),
        item(json!({"role": "user", "content": [{"type": "input_text"}]})),
        item(json!({"role": "user", "content": [{"type": "input_image"}]})),
        item(json!({"role": "user", "content": [{"type": "input_image", "image_url": "x"}]})),
        item(json!({"role": "user", "content": [{"type": "input_file"}]})),
        item(json!({"type": "function_call", "name": "f"})),
        item(json!({"type": "function_call_output", "call_id": "a"})),
        item(json!({"type": "function_call_output", "output": "a"})),
        item(json!({"type": "reasoning", "summary": "x"})),
        with(&json!({"tools": [{"name": "f"}]})),
        with(&json!({"tools": [{"type": "function"}]})),
        with(&json!({"tool_choice": {"type": "function"}})),
        with(&json!({"text": {"format": {"type": "json_schema", "name": "x"}}})),
        with(&json!({"text": {"format": {"type": "xml"}}})),
        with(&json!({"text": "x"})),
        with(&json!({"max_output_tokens": -1})),
        with(&json!({"reasoning": "high"})),
        with(&json!({"include": [1]})),
        with(&json!({"background": "x"})),
    ];
    let said: Vec<String> = bodies
        .iter()
        .map(|body| format!("{body}\n    {}", read_request(body.as_bytes()).unwrap_err()))
        .collect();
    insta::assert_snapshot!(said.join("\n"));
}
