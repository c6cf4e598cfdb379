use super::{least, parse, with};
use crate::request::Request;
use crate::surface::Surface;
use oarmaster_protocol::task::ErrorCode;
use serde_json::{Value, json};

fn check(surface: Surface, body: &Value) -> Result<(), String> {
    let error = parse(surface, body).unwrap().check_bounded().err();
    error.map_or(Ok(()), |error| {
        assert_eq!(error.code, ErrorCode::UnboundedCost, "{}", error.message);
        Err(error.message)
    })
}

#[test]
fn the_least_request_of_each_surface_is_bounded_and_an_unknown_field_is_not() {
    for surface in Surface::ALL {
        assert_eq!(check(surface, &least(surface)), Ok(()), "{surface:?}");
        for name in [
            "new_field",
            "service_tier",
            "speed",
            "inference_geo",
            "mcp_servers",
            "context_management",
            "web_search_options",
        ] {
            let error = check(surface, &with(surface, name, &json!("priority"))).unwrap_err();
            assert!(error.contains(name), "{surface:?}: {error}");
        }
    }
}

#[test]
fn some_fields_are_bounded_by_their_value() {
    let clears = json!({"edits": [{"type": "clear_thinking_20251015", "keep": "all"}, {"type": "clear_tool_uses_20250919"}]});
    let writes =
        json!({"edits": [{"type": "clear_thinking_20251015"}, {"type": "compact_20260112"}]});
    for (surface, name, value, bounded) in [
        (Surface::Chat, "service_tier", json!("default"), true),
        (Surface::Chat, "service_tier", json!("flex"), false),
        (Surface::Responses, "service_tier", json!("default"), true),
        (
            Surface::Messages,
            "service_tier",
            json!("standard_only"),
            true,
        ),
        (Surface::Messages, "service_tier", json!("auto"), false),
        (Surface::Messages, "context_management", clears, true),
        (Surface::Messages, "context_management", writes, false),
        (Surface::Messages, "context_management", json!({}), true),
        (
            Surface::Messages,
            "thinking",
            json!({"type": "enabled", "budget_tokens": 1024}),
            true,
        ),
        (
            Surface::Messages,
            "cache_control",
            json!({"type": "ephemeral", "ttl": "1h"}),
            true,
        ),
        (Surface::Embeddings, "dimensions", json!(5), true),
    ] {
        assert_eq!(
            check(surface, &with(surface, name, &value)).is_ok(),
            bounded,
            "{surface:?} {name} {value}"
        );
    }
}

#[test]
fn tools_with_a_price_of_their_own_are_refused() {
    for (surface, kind, bounded) in [
        (Surface::Chat, json!("function"), true),
        (Surface::Chat, Value::Null, false),
        (Surface::Responses, json!("custom"), true),
        (Surface::Responses, json!("web_search"), false),
        (Surface::Responses, json!("mcp"), false),
        (Surface::Messages, Value::Null, true),
        (Surface::Messages, json!("custom"), true),
        (Surface::Messages, json!("web_search_20250305"), false),
        // It adds a prompt of its own.
        (Surface::Messages, json!("computer_20250124"), false),
        (Surface::CountTokens, json!("bash_20250124"), false),
    ] {
        let tools = json!([{"type": kind, "name": "f", "input_schema": {}}]);
        assert_eq!(
            check(surface, &with(surface, "tools", &tools)).is_ok(),
            bounded,
            "{surface:?} {kind}"
        );
    }
}

#[test]
fn what_has_more_tokens_than_bytes_is_refused_wherever_it_stands() {
    let text = json!({"type": "text", "text": "x"});
    let image = json!({"type": "image", "source": {"type": "url", "url": "https://x"}});
    let result = |inner: &Value| json!({"type": "tool_result", "tool_use_id": "a", "content": [text, inner]});
    let user = |part: &Value| json!([{"role": "user", "content": [text, part]}]);
    let input = |kind: &str| json!({"type": kind, "text": "x", "image_url": "https://x"});
    let output = |inner: &Value| json!([{"type": "function_call_output", "call_id": "c", "output": [inner]}]);
    for (surface, field, value, bounded) in [
        (Surface::Messages, "messages", user(&text), true),
        (
            Surface::Messages,
            "messages",
            user(&json!({"type": "thinking", "thinking": "x"})),
            true,
        ),
        (Surface::Messages, "messages", user(&image), false),
        (Surface::Messages, "messages", user(&result(&text)), true),
        (Surface::Messages, "messages", user(&result(&image)), false),
        (
            Surface::Messages,
            "messages",
            user(&json!({"type": "document", "source": {}})),
            false,
        ),
        (
            Surface::Messages,
            "messages",
            user(&json!({"text": "x"})),
            false,
        ),
        (Surface::Messages, "system", json!([text]), true),
        (Surface::Messages, "system", json!([text, image]), false),
        (Surface::Messages, "system", json!("x"), true),
        (Surface::Chat, "messages", user(&text), true),
        (
            Surface::Chat,
            "messages",
            user(&json!({"type": "image_url"})),
            false,
        ),
        (
            Surface::Responses,
            "input",
            user(&input("input_text")),
            true,
        ),
        (
            Surface::Responses,
            "input",
            user(&input("input_image")),
            false,
        ),
        (
            Surface::Responses,
            "input",
            output(&input("input_text")),
            true,
        ),
        (
            Surface::Responses,
            "input",
            output(&input("input_file")),
            false,
        ),
        (
            Surface::Responses,
            "input",
            json!([{"type": "reasoning", "summary": [], "encrypted_content": "x"}]),
            true,
        ),
        (
            Surface::Responses,
            "input",
            json!([{"type": "web_search_call"}]),
            false,
        ),
    ] {
        let end = check(surface, &with(surface, field, &value));
        assert_eq!(end.is_ok(), bounded, "{surface:?} {field} {value}: {end:?}");
    }
    let odd = with(Surface::Messages, "messages", &json!([7]));
    let error = parse(Surface::Messages, &odd)
        .unwrap()
        .check_bounded()
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidRequest);
}

#[test]
fn what_stands_for_something_kept_or_for_no_words_is_refused() {
    let assistant = json!([{"role": "assistant", "audio": {"id": "audio_1"}}]);
    let reference = json!([{"id": "msg_1"}]);
    let spoken = json!([{"role": "user", "content": "x"}]);
    for (surface, field, value, bounded) in [
        (Surface::Chat, "messages", &spoken, true),
        (Surface::Chat, "messages", &assistant, false),
        (Surface::Responses, "input", &spoken, true),
        (Surface::Embeddings, "input", &json!("x"), true),
        (Surface::Embeddings, "input", &json!(["x", "y"]), true),
        (Surface::Embeddings, "input", &json!([1, 2]), true),
        (Surface::Embeddings, "input", &json!([[1], [2]]), true),
        (
            Surface::Embeddings,
            "input",
            &json!([{"image": "https://x"}]),
            false,
        ),
        (
            Surface::Embeddings,
            "input",
            &json!(["x", {"image": "https://x"}]),
            false,
        ),
    ] {
        assert_eq!(
            check(surface, &with(surface, field, value)).is_ok(),
            bounded,
            "{surface:?} {value}"
        );
    }
    // Of these nothing is kept here, budget or not, however they are written.
    let escaped = r#"{"model": "p", "input": [{"type": "item\u005freference", "id": "msg_1"}]}"#;
    let plain = with(Surface::Responses, "input", &reference).to_string();
    for body in [escaped, &plain] {
        let error = Request::parse(Surface::Responses, body.as_bytes()).unwrap_err();
        assert!(
            error.message.contains("none is kept here"),
            "{}",
            error.message
        );
    }
}

#[test]
fn parts_within_parts_have_an_end() {
    let deep = |levels: usize| {
        let text = json!({"type": "text", "text": "x"});
        let content = (0..levels).fold(
            text,
            |inner, _| json!({"type": "tool_result", "tool_use_id": "t", "content": [inner]}),
        );
        let body = json!({"model": "p", "max_tokens": 9, "messages": [{"role": "user", "content": [content]}]});
        Request::parse(Surface::Messages, body.to_string().as_bytes())
            .unwrap()
            .check_bounded()
    };
    assert!(deep(2).is_ok());
    let error = deep(60).unwrap_err();
    assert!(error.message.contains("levels deep"), "{error:?}");
}
