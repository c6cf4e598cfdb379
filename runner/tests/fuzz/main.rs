//! Answers of a model, bent in every way, to an agent with tools: every attempt ends, within its limits; each tool call has one result; what is
//! said to the model is well-formed; only an answer that is whole is an output; and whoever goes on from the journal has the same conversation.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)] // a helper of tests is a test

#[path = "../../../gateway/tests/fuzz/edits.rs"]
#[allow(dead_code)] // the gateway's targets use the rest
mod edits;
#[path = "../../../gateway/tests/fuzz/run.rs"]
mod run;
mod world;

use edits::{edited, edits, slipped, slips};
use proptest::prelude::*;
use proptest::sample::select;
use run::{Case, fuzz};
use serde_json::{Value, json};

/// Answers that models give.
fn corpus() -> Vec<Value> {
    let call = |id: Value, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    let called = |calls: Value, finish: &str| json!({"choices": [{"message": {"role": "assistant", "content": null, "tool_calls": calls}, "finish_reason": finish}], "usage": {"prompt_tokens": 10, "completion_tokens": 5}});
    let said = |text: &str, finish: &str| json!({"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}], "usage": {"prompt_tokens": 10, "completion_tokens": 5}});
    let ls = call(json!("a"), "Shell", r#"{"command":"ls"}"#);
    let write = call(json!("b"), "WriteFile", r#"{"path":"x","content":"y"}"#);
    let edit = call(
        json!("c"),
        "EditFile",
        r#"{"path":"x","diff":"@@ -1,1 +1,1 @@\n-y\n+z\n"}"#,
    );
    let leave = call(json!("d"), "RunCode", r#"{"language":"python","code":"1"}"#);
    let helper = call(json!("e"), "Delegate", r#"{"agent":"helper","prompt":"p"}"#);
    vec![
        called(json!([ls]), "tool_calls"),
        called(json!([write, edit]), "tool_calls"),
        called(json!([ls, ls, leave]), "length"),
        called(json!([helper, write]), "stop"),
        called(
            json!([call(json!("f"), "Shell", r#"{"command":"l"#)]),
            "length",
        ),
        called(json!([call(Value::Null, "shell", "{}")]), "tool_calls"),
        said("done", "stop"),
        said(r#"{"n": 1}"#, "stop"),
        said("```json\n{\"n\": 1}\n```", "stop"),
        said("half an ans", "length"),
        said("", "content_filter"),
        said("\u{0}\u{fffe} \u{202e}", "stop"),
        json!({"choices": [{"message": {"refusal": "No."}, "finish_reason": "stop"}]}),
        json!({"choices": [{"message": {"content": [{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]}, "finish_reason": "stop"}]}),
        json!({"choices": []}),
    ]
}

/// An answer as the pilot gets it: JSON, whatever was done to it.
fn answers() -> impl Strategy<Value = Vec<Value>> {
    let answer = (select(corpus()), edits(), slips()).prop_map(|(answer, edits, slips)| {
        let bytes = slipped(edited(answer.to_string().as_bytes(), &edits), &slips);
        let text = oarmaster_protocol::text::json(&bytes).text;
        serde_json::from_str(&text).unwrap_or(answer)
    });
    prop::collection::vec(answer, 1..7)
}

#[test]
fn turns() {
    let inputs = (answers(), any::<bool>(), any::<u32>());
    fuzz(600, &inputs, |(answers, schema, cut)| -> Case {
        world::attempt(&answers, schema, cut)
    });
}
