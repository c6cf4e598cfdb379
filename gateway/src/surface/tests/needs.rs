use super::{least, parse};
use crate::surface::Surface;
use oarmaster_prices::Capability::{Audio, Documents, Images, JsonSchema, Tools};
use serde_json::{Value, json};

#[test]
fn what_a_request_needs_is_seen_on_every_surface() {
    let schema = json!({"type": "object"});
    let picture = "data:image/png;base64,AAAA";
    let file = json!({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}});
    let sound = json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}});
    let said = |content: Value| json!([{"role": "user", "content": content}]);
    let source = json!({"type": "base64", "media_type": "image/png", "data": "AAAA"});
    let chat = Surface::Chat;
    for (surface, changes, needed) in [
        (chat, json!({}), &[][..]),
        (
            chat,
            json!({"tools": [{"type": "function", "function": {"name": "f"}}]}),
            &[Tools],
        ),
        (
            chat,
            json!({"messages": said(json!([{"type": "image_url", "image_url": {"url": picture}}]))}),
            &[Images],
        ),
        (
            chat,
            json!({"messages": said(json!("is {\"type\": \"image_url\"} a picture?"))}),
            &[],
        ),
        (
            chat,
            json!({"messages": said(json!([file, sound]))}),
            &[Documents, Audio],
        ),
        (
            chat,
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}}),
            &[JsonSchema],
        ),
        (
            chat,
            json!({"response_format": {"type": "json_object"}}),
            &[],
        ),
        (
            Surface::Responses,
            json!({"input": said(json!([{"type": "input_image", "image_url": picture}]))}),
            &[Images],
        ),
        (
            Surface::Responses,
            json!({"text": {"format": {"type": "json_schema", "name": "a", "schema": schema}}}),
            &[JsonSchema],
        ),
        (
            Surface::Messages,
            json!({"messages": said(json!([{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": source}]}]))}),
            &[Images],
        ),
        (
            Surface::Messages,
            json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}, "tools": [{"name": "f", "input_schema": schema}]}),
            &[Tools, JsonSchema],
        ),
        (Surface::Embeddings, json!({}), &[]),
    ] {
        let mut body = least(surface);
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        let request = parse(surface, &body).unwrap();
        assert_eq!(
            request.needs(),
            needed.iter().copied().collect(),
            "{surface:?} {body}"
        );
    }
}
