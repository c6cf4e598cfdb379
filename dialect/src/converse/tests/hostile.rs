use super::*;
use crate::converse::frames::Decoder;
use crate::converse::{Reader, path, read_answer, read_error, write_request};
use crate::messages::read_request;
use crate::messages::tests::{MODELS, USERS, blocks};
use crate::testing::arbitrary;
use proptest::prelude::*;

const WORDS: &[&str] = &[
    "output",
    "message",
    "content",
    "text",
    "toolUse",
    "toolUseId",
    "name",
    "input",
    "type",
    "reasoningContent",
    "reasoningText",
    "signature",
    "redactedContent",
    "citationsContent",
    "stopReason",
    "usage",
    "inputTokens",
    "outputTokens",
    "cacheDetails",
    "ttl",
    "1h",
    "contentBlockIndex",
    "delta",
    "start",
    "metrics",
    "role",
    "additionalModelResponseFields",
    "stop_sequence",
    "__type",
    "image",
    "format",
    "source",
    "bytes",
    "tool_use",
    "tool_result",
    "tool_use_id",
    "document",
    "base64",
    "media_type",
    "data",
    "id",
    "thinking",
];
const NAMES: &[&str] = &[
    "messageStart",
    "contentBlockStart",
    "contentBlockDelta",
    "contentBlockStop",
    "messageStop",
    "metadata",
    "xException",
    "",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_json_is_read(values in proptest::collection::vec((proptest::sample::select(NAMES), arbitrary(WORDS)), 1..8)) {
        let (mut reader, mut out) = (Reader::default(), Vec::new());
        for (name, value) in &values {
            let text = value.to_string();
            let _ = (read_answer(&text), read_error(&text), reader.read(name, &text, &mut out));
        }
        reader.end(&mut out);
        check_order(&out);
    }

    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..256), model in any::<String>()) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = (read_answer(&text), read_error(&text), Decoder::default().push(&bytes));
        let path = path(&model, true);
        prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic()) && path.matches('/').count() == 3);
    }

    #[test]
    fn any_message_is_written(
        model in blocks(MODELS), user in blocks(USERS), later in blocks(MODELS), tools in any::<bool>(),
        name in "anthropic.claude-(opus|fable)-[3-6](-[0-9])?|amazon.nova|x"
    ) {
        let tools = if tools { serde_json::json!([{"name": "f", "input_schema": {}}]) } else { serde_json::Value::Null };
        let body = serde_json::json!({"model": "m", "max_tokens": 9000, "tools": tools, "messages": [{"role": "assistant", "content": model},
            {"role": "user", "content": user}, {"role": "assistant", "content": later}]});
        let request = read_request(body.to_string().as_bytes()).unwrap();
        let written = write_request(&request, &name, 4096).unwrap();
        super::upstream::check_turns(&written.body);
    }
}
