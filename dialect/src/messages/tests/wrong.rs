use crate::messages::read_request;
use crate::request::{Content, Role};

pub(super) fn refusal(body: &str) -> String {
    read_request(body.as_bytes()).unwrap_err().message
}

#[test]
fn text_stays_what_it_is() {
    let body = r#"{"model":"m","max_tokens":1,"messages":[{"role":"system","content":"\ud83e\udd80 \ud800 \u0000"},{"role":"user","content":""}]}"#;
    let request = read_request(body.as_bytes()).unwrap();
    let text = |turn: usize| request.turns[turn].parts[0].content.clone();
    assert_eq!(text(0), Content::Text("🦀 \u{fffd} \0".to_owned()));
    assert_eq!(text(1), Content::Text(String::new()));
    assert_eq!(request.turns[0].role, Role::System);
}

#[test]
fn wrong_bodies_say_where() {
    for (body, message) in [
        (
            r"[]",
            "the body is not valid JSON: invalid type: sequence, expected an object at line 1 column 0",
        ),
        (
            r#"{"max_tokens":1,"messages":[]}"#,
            "field model is missing: write a string",
        ),
        (
            r#"{"model":"m","max_tokens":1}"#,
            "field messages is missing or empty: write at least one message",
        ),
        (
            r#"{"model":"m","max_tokens":-1,"messages":[{"role":"user","content":"x"}]}"#,
            "field max_tokens is not a whole number from 0 on",
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":{}}"#,
            "field messages is not a list",
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[1]}"#,
            "field messages[0] is not an object",
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"tool","content":"x"}]}"#,
            "field messages[0].role is none of user, assistant and system",
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"user"}]}"#,
            "field messages[0].content is missing: write a string or a list of blocks",
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":5}]}"#,
            "field messages[0].content is neither a string nor a list of blocks",
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"text"}]}]}"#,
            "field messages[0].content[0].text is missing: write a string",
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"tool_use","id":"i","name":"n","input":{}}]}]}"#,
            "field messages[0].content[0].type has a place only in the assistant's messages",
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"i","name":"n","input":"x"}]}]}"#,
            "field messages[0].content[0].input is not an object",
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"disk"}}]}]}"#,
            "field messages[0].content[0].source.type is none of base64, url and file",
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"text"}}]}]}"#,
            "field messages[0].content[0].source.url must begin with https://",
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"2h"}}]}]}"#,
            "field messages[0].content[0].cache_control.ttl is neither 5m nor 1h",
        ),
        (
            r#"{"model":"m","max_tokens":1,"system":[{"type":"image"}],"messages":[{"role":"user","content":"x"}]}"#,
            "field system[0].type is not text, the only kind of a system prompt",
        ),
        (
            r#"{"model":"m","max_tokens":1,"tools":[{"name":"f"}],"messages":[{"role":"user","content":"x"}]}"#,
            "field tools[0].input_schema is missing: write an object",
        ),
        (
            r#"{"model":"m","max_tokens":1,"tool_choice":{"type":"all"},"messages":[{"role":"user","content":"x"}]}"#,
            "field tool_choice.type is none of auto, any, tool and none",
        ),
        (
            r#"{"model":"m","max_tokens":1,"stop_sequences":[1],"messages":[{"role":"user","content":"x"}]}"#,
            "field stop_sequences is not a list of strings",
        ),
        (
            r#"{"model":"m","max_tokens":1,"thinking":{"type":"enabled"},"messages":[{"role":"user","content":"x"}]}"#,
            "field thinking.budget_tokens is missing: write a whole number from 1024 on",
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"tool_result","tool_use_id":"b"}]}]}]}"#,
            "field messages[0].content[0].content holds a tool_result, which has a place only in a message",
        ),
        (
            r#"{"model":"m","model":"n"}"#,
            "the body is not valid JSON: field \"model\" occurs twice at line 1 column 25",
        ),
    ] {
        assert_eq!(refusal(body), message);
    }
    assert!(read_request(b"{\"model\":\"\xff\"}").is_err());
}
