//! What a call came to, as text for the model. Pure.

use super::super::bounded;
use super::text::clean;
use oarmaster_protocol::tool::ToolAnswer;
use rmcp::model::{CallToolResponse, CallToolResult, ContentBlock, ResourceContents};

/// The answer to a call, by `hide` without what nobody is to see.
pub fn of(response: CallToolResponse, hide: impl Fn(String) -> String) -> ToolAnswer {
    match response {
        CallToolResponse::Complete(result) => complete(result, hide),
        CallToolResponse::InputRequired(_) => ToolAnswer::failed(
            "The server asks for more than the arguments, which cannot be given here.",
        ),
        _ => ToolAnswer::failed(
            "The server began a task of its own and gave no result, which cannot be waited for here.",
        ),
    }
}

fn complete(result: CallToolResult, hide: impl Fn(String) -> String) -> ToolAnswer {
    let mut parts: Vec<String> = result.content.into_iter().map(part).collect();
    // Servers repeat it as text for clients that do not know it.
    if parts.is_empty() {
        parts.extend(result.structured_content.map(|value| value.to_string()));
    }
    let text = match parts.join("\n") {
        empty if empty.is_empty() => "The server answered without content.".to_owned(),
        text => text,
    };
    ToolAnswer {
        ok: !result.is_error.unwrap_or(false),
        // In this order: a part of a key at the end would be one nobody finds.
        text: bounded(hide(text)),
        heard: None,
    }
}

fn part(content: ContentBlock) -> String {
    match content {
        ContentBlock::Text(text) => clean(&text.text),
        ContentBlock::Image(image) => left_out("an image", &image.mime_type),
        ContentBlock::Audio(audio) => left_out("audio", &audio.mime_type),
        ContentBlock::Resource(embedded) => match embedded.resource {
            ResourceContents::TextResourceContents { uri, text, .. } => {
                format!("[{}]\n{}", clean(&uri), clean(&text))
            }
            ResourceContents::BlobResourceContents { uri, mime_type, .. } => {
                let kind = mime_type.unwrap_or_default();
                left_out(&format!("the data of {}", clean(&uri)), &kind)
            }
            _ => OTHER.to_owned(),
        },
        ContentBlock::ResourceLink(link) => {
            format!("[{}: {}]", clean(&link.name), clean(&link.uri))
        }
        _ => OTHER.to_owned(),
    }
}

/// What newer versions of the protocol may have.
const OTHER: &str = "[content of another kind was left out]";

fn left_out(what: &str, kind: &str) -> String {
    format!("[{what} ({}) was left out]", clean(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oarmaster_protocol::tool::MAX_TOOL_TEXT;
    use serde_json::{Value, json};

    fn answer(result: Value) -> ToolAnswer {
        let result = serde_json::from_value(result).unwrap();
        of(CallToolResponse::Complete(result), |text| text)
    }

    #[test]
    fn content_becomes_text_and_what_is_none_is_named() {
        let text = |text: &str| json!({"type": "text", "text": text});
        for (result, ok, wanted) in [
            (
                json!({"content": [text("a"), text("b\u{1b}")]}),
                true,
                "a\nb",
            ),
            (
                json!({"content": [text("no")], "isError": true}),
                false,
                "no",
            ),
            (
                json!({"content": [], "structuredContent": {"n": 1}}),
                true,
                r#"{"n":1}"#,
            ),
            (
                json!({"content": [text("one")], "structuredContent": {"n": 1}}),
                true,
                "one",
            ),
            (
                json!({"content": []}),
                true,
                "The server answered without content.",
            ),
            (
                json!({"content": [{"type": "image", "data": "aGk=", "mimeType": "image/png"}]}),
                true,
                "[an image (image/png) was left out]",
            ),
            (
                json!({"content": [{"type": "resource", "resource": {"uri": "file:///a", "text": "hi"}}]}),
                true,
                "[file:///a]\nhi",
            ),
            (
                json!({"content": [{"type": "resource_link", "uri": "file:///a", "name": "a"}]}),
                true,
                "[a: file:///a]",
            ),
        ] {
            let found = answer(result);
            assert_eq!((found.ok, &*found.text), (ok, wanted));
        }
    }

    #[test]
    fn a_long_answer_is_cut() {
        let long = json!({"content": [{"type": "text", "text": "\u{e9}".repeat(MAX_TOOL_TEXT)}]});
        let found = answer(long);
        assert!(found.text.len() <= MAX_TOOL_TEXT && found.text.ends_with("passes on.]"));
    }
}
