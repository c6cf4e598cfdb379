use super::{MODELS, USERS, blocks, fixture};
use crate::json::Fields;
use crate::messages::adapt;
use proptest::prelude::*;
use serde_json::{Value, json};

const CLAUDE: &str = "claude-sonnet-4-5";

fn adapted(body: &str, model: &str) -> (String, Vec<String>) {
    let mut fields = Fields::parse(body.as_bytes()).unwrap();
    let dropped = adapt(&mut fields, model);
    (fields.to_json(), dropped)
}

/// What is left of a conversation of one assistant's turn with these blocks.
fn left(blocks: &Value, model: &str) -> (Value, Vec<String>) {
    let body = json!({"messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": blocks},
        {"role": "user", "content": "go on"},
    ]});
    let (body, dropped) = adapted(&body.to_string(), model);
    let body: Value = serde_json::from_str(&body).unwrap();
    (body["messages"].clone(), dropped)
}

#[test]
fn a_conversation_with_one_vendor_keeps_its_bytes() {
    for body in [
        r#"{"model":"m","thinking":{"type":"enabled", "budget_tokens":1024},"messages":[ {"role":"user","content":"a 1.50"},{"role":"assistant","content":[{"type":"thinking","thinking":"x","signature":"EqQB=="},{"type":"redacted_thinking","data":"Emw="},{"type":"tool_use","id":"toolu_01","name":"f","input":{"a":1.50}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_01","content":"\u00e9"}]} ]}"#,
        r#"{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBO"}}]}],"x":{"signature":"google:a"}}"#,
        r#"{"messages":"none"}"#,
        r#"{"messages":[1,null,[]]}"#,
        "{}",
    ] {
        assert_eq!(adapted(body, CLAUDE), (body.to_owned(), Vec::new()));
    }
}

#[test]
fn what_others_signed_is_left_out() {
    let thinking =
        |signature: &str| json!({"type": "thinking", "thinking": "x", "signature": signature});
    let text = json!({"type": "text", "text": "y"});
    for (block, claude, other) in [
        (thinking("EqQB=="), true, true),
        (thinking("google:EqQB=="), false, false),
        (thinking("openai:gAAA"), false, false),
        (thinking("call:google:Z29v"), false, false),
        // Not every server that speaks this dialect signs.
        (thinking(""), false, true),
        (
            json!({"type": "redacted_thinking", "data": "Emw="}),
            true,
            true,
        ),
        (
            json!({"type": "redacted_thinking", "data": "other:Emw="}),
            false,
            false,
        ),
        (
            json!({"type": "text", "text": "google:x", "signature": "google:x"}),
            true,
            true,
        ),
    ] {
        for (model, stays) in [(CLAUDE, claude), ("glm-5", other)] {
            let (messages, dropped) = left(&json!([block, text]), model);
            let expected = if stays {
                json!([block, text])
            } else {
                json!([text])
            };
            assert_eq!(messages[1]["content"], expected, "{model}");
            // The signature of a call is no thought.
            let is_thought = !stays && !block.to_string().contains("call:");
            assert_eq!(dropped == ["reasoning"], is_thought, "{model} {block}");
        }
    }
    let (messages, _) = left(&json!([thinking("google:x")]), CLAUDE);
    assert_eq!(
        messages.as_array().unwrap().len(),
        2,
        "nothing is left of it"
    );
}

#[test]
fn names_of_calls_are_made_anew_alike_where_they_are_not_taken() {
    let body = json!({"messages": [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "functions.f:0", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "functions.f:0", "content": "ok"}]},
    ]});
    let (body, dropped) = adapted(&body.to_string(), CLAUDE);
    let body: Value = serde_json::from_str(&body).unwrap();
    let id = body["messages"][0]["content"][0]["id"].as_str().unwrap();
    assert!(id.starts_with("toolu_"), "{id}");
    assert_eq!(body["messages"][1]["content"][0]["tool_use_id"], id);
    assert!(dropped.is_empty());
}

#[test]
fn a_turn_that_began_without_a_thought_goes_on_without_a_budget_of_them() {
    let ask = |blocks: Value, thinking: Value| {
        json!({"thinking": thinking, "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": blocks},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "ok"}]},
        ]})
    };
    let call = json!({"type": "tool_use", "id": "a", "name": "f", "input": {}});
    let thought = json!({"type": "thinking", "thinking": "x", "signature": "EqQB=="});
    let foreign = json!({"type": "thinking", "thinking": "x", "signature": "google:Z29v"});
    let enabled = json!({"type": "enabled", "budget_tokens": 2000});
    for (blocks, thinking, model, gone) in [
        (json!([call]), enabled.clone(), CLAUDE, true),
        (json!([foreign, call]), enabled.clone(), CLAUDE, true),
        (json!([thought, call]), enabled.clone(), CLAUDE, false),
        (
            json!([{"type": "text", "text": "x"}]),
            enabled.clone(),
            CLAUDE,
            false,
        ),
        (json!("text"), enabled.clone(), CLAUDE, false),
        (
            json!([call]),
            json!({"type": "adaptive"}),
            "claude-opus-4-7",
            false,
        ),
        (json!([call]), enabled, "claude-opus-4-7", false),
    ] {
        let (body, dropped) = adapted(&ask(blocks.clone(), thinking).to_string(), model);
        assert_eq!(
            !body.contains("budget_tokens") && model == CLAUDE,
            gone,
            "{blocks} {model}"
        );
        assert_eq!(
            dropped.contains(&"thinking".to_owned()),
            gone,
            "{blocks} {model}"
        );
    }
}

#[test]
fn callers_fixtures_pass() {
    for name in [
        "caller-agent.json",
        "caller-media.json",
        "caller-count.json",
    ] {
        let body = fixture(&format!("messages/{name}"));
        let (once, _) = adapted(&body, CLAUDE);
        assert_eq!(adapted(&once, CLAUDE), (once.clone(), Vec::new()), "{name}");
    }
}

proptest! {
    /// Whatever is said, a second edit finds nothing, and what is not of the conversation stays.
    #[test]
    fn edits_are_made_once(
        turns in proptest::collection::vec((blocks(MODELS), blocks(USERS)), 0..4),
        mark in proptest::sample::select(&["", "google:", "call:openai:"][..]),
    ) {
        let mut messages = Vec::new();
        for (model, user) in turns {
            for (role, blocks) in [("assistant", model), ("user", user)] {
                messages.push(json!({"role": role, "content": blocks}));
            }
        }
        let body = json!({"a": 1.5, "messages": messages, "z": "\u{e9}"}).to_string();
        let body = body.replace("\"signature\":\"", &format!("\"signature\":\"{mark}"));
        let (once, _) = adapted(&body, CLAUDE);
        prop_assert_eq!(adapted(&once, CLAUDE), (once.clone(), Vec::new()));
        let whole = once.starts_with(r#"{"a":1.5,"messages":["#) && once.ends_with("],\"z\":\"\u{e9}\"}");
        prop_assert!(whole, "{}", once);
    }
}
