//! What a server says of its tools, checked: only those that the Agent allows, under names that every model's API takes, with schemas and
//! descriptions of bounded size. Pure.

use super::text;
use oarmaster_crds::names::mcp_tool;
use oarmaster_protocol::assignment::McpServer;
use oarmaster_protocol::tool::{Offer, Offered};
use rmcp::model::Tool;
use serde_json::{Map, Value};

/// Longest name of a tool, for OpenAI and Anthropic.
const MAX_NAME: usize = 64;
/// Longest description in characters; a longer one is cut.
const MAX_DESCRIPTION: usize = 4096;
/// Largest schema in bytes, and its deepest nesting.
const MAX_SCHEMA: usize = 16 << 10;
const MAX_DEPTH: usize = 32;
/// Most bytes of all schemas of a server.
const MAX_SCHEMAS: usize = 128 << 10;

/// The tools that are allowed and can be offered, and what is in the way of the others; one in which `has_key` finds the server's key is none that can be.
pub fn checked(server: &McpServer, tools: &[Tool], has_key: impl Fn(&str) -> bool) -> Offer {
    let mut offer = Offer::default();
    let mut room = MAX_SCHEMAS;
    for name in &server.allow {
        match one(server, name, tools, &mut room) {
            Ok(tool) if has_key(&tool.description) || has_key(&tool.parameters.to_string()) => {
                let why = format!(
                    "{}: the server says its key where it describes {name}",
                    server.name
                );
                offer.missing.push(why);
            }
            Ok(tool) => offer.tools.push(tool),
            Err(why) => offer.missing.push(format!("{}: {why}", server.name)),
        }
    }
    offer
}

fn one(
    server: &McpServer,
    name: &str,
    tools: &[Tool],
    room: &mut usize,
) -> Result<Offered, String> {
    let mut named = tools.iter().filter(|tool| tool.name == name);
    let tool = match (named.next(), named.next()) {
        (Some(tool), None) => tool,
        (Some(_), Some(_)) => return Err(format!("the server has two tools named {name}")),
        (None, _) => return Err(format!("the server has no tool named {name}")),
    };
    let shown = mcp_tool(&server.name, name);
    if shown.len() > MAX_NAME {
        return Err(format!(
            "the name {shown} has more than {MAX_NAME} characters"
        ));
    }
    let parameters = schema(&tool.input_schema)
        .map_err(|why| format!("the schema of {name} {why}, so that it cannot be offered"))?;
    let size = parameters.to_string().len();
    *room = room
        .checked_sub(size)
        .ok_or_else(|| format!("there is no room for the schema of {name}"))?;
    let hints = tool.annotations.as_ref();
    let says = |hint: Option<bool>| hint.unwrap_or(false);
    let description = tool.description.as_deref().unwrap_or_default();
    Ok(Offered {
        name: shown,
        description: text::short(description, MAX_DESCRIPTION),
        parameters,
        read_only: says(hints.and_then(|hints| hints.read_only_hint)),
        idempotent: says(hints.and_then(|hints| hints.idempotent_hint)),
    })
}

/// A schema of arguments, with its texts cleaned.
fn schema(found: &Map<String, Value>) -> Result<Value, &'static str> {
    if found.get("type").and_then(Value::as_str) != Some("object") {
        return Err("is not that of an object");
    }
    let mut schema = Value::Object(found.clone());
    if schema.to_string().len() > MAX_SCHEMA {
        return Err("is too large");
    }
    // A stack of our own: the call stack is not to depend on its depth.
    let mut open = vec![(&mut schema, 0)];
    while let Some((value, depth)) = open.pop() {
        if depth > MAX_DEPTH {
            return Err("is nested too deeply");
        }
        match value {
            Value::Object(entries) => {
                for (key, value) in entries {
                    if text::clean(key) != *key {
                        return Err("has names with characters that are not seen");
                    }
                    if let Value::String(said) = value
                        && matches!(&**key, "description" | "title" | "$comment")
                    {
                        *said = text::short(said, MAX_DESCRIPTION);
                    }
                    let elsewhere = |to: &str| !to.starts_with('#');
                    if key == "$ref" && value.as_str().is_some_and(elsewhere) {
                        return Err("refers to another place");
                    }
                    open.push((value, depth + 1));
                }
            }
            Value::String(said) => *said = text::clean(said),
            Value::Array(items) => open.extend(items.iter_mut().map(|item| (item, depth + 1))),
            _ => {}
        }
    }
    Ok(schema)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn server(allow: &[&str]) -> McpServer {
        McpServer {
            name: "hub".into(),
            url: "https://mcp.example.com".into(),
            key: None,
            allow: allow.iter().map(|name| (*name).to_owned()).collect(),
            timeout_ms: 1000,
        }
    }

    fn tool(name: &str, schema: Value) -> Tool {
        serde_json::from_value(
            json!({"name": name, "description": "Does it.", "inputSchema": schema}),
        )
        .unwrap()
    }

    fn plain() -> Value {
        json!({"type": "object", "properties": {"q": {"type": "string"}}})
    }

    #[test]
    fn only_what_is_allowed_is_offered_under_a_name_of_its_own() {
        let tools = [
            tool("search", plain()),
            tool("drop", plain()),
            tool("a.b/c", plain()),
        ];
        let offer = checked(&server(&["search", "a.b/c"]), &tools, |_| false);
        assert_eq!(offer.missing, [""; 0]);
        let names: Vec<_> = offer.tools.iter().map(|tool| &*tool.name).collect();
        assert_eq!(names, ["hub__search", "hub__a_b_c"]);
        assert_eq!(offer.tools[0].parameters, plain());
        assert!(!offer.tools[0].may_repeat());
    }

    #[test]
    fn hints_are_taken_as_they_are_said() {
        for (hints, repeat) in [
            (json!({"readOnlyHint": true}), true),
            (json!({"idempotentHint": true}), true),
            (json!({"destructiveHint": false}), false),
            (json!({}), false),
        ] {
            let found = json!({"name": "search", "inputSchema": plain(), "annotations": hints});
            let tools = [serde_json::from_value(found).unwrap()];
            let offer = checked(&server(&["search"]), &tools, |_| false);
            assert_eq!(offer.tools[0].may_repeat(), repeat, "{hints}");
        }
    }

    #[test]
    fn what_cannot_be_offered_is_said() {
        let mut deep = json!({});
        for _ in 0..40 {
            deep = json!({ "items": deep });
        }
        let with = |key: &str, value: Value| {
            let mut schema = plain();
            schema[key] = value;
            schema
        };
        for (tools, why) in [
            (vec![], "hub: the server has no tool named search"),
            (vec![tool("search ", plain())], "no tool named search"),
            (vec![tool("search", plain()); 2], "two tools named search"),
            (
                vec![tool("search", json!({"type": "string"}))],
                "not that of an object",
            ),
            (vec![tool("search", json!({}))], "not that of an object"),
            (
                vec![tool("search", with("x", json!("x".repeat(MAX_SCHEMA))))],
                "too large",
            ),
            (vec![tool("search", with("x", deep))], "nested too deeply"),
            (
                vec![tool(
                    "search",
                    with("$ref", json!("https://evil.example/s.json")),
                )],
                "another place",
            ),
        ] {
            let offer = checked(&server(&["search"]), &tools, |_| false);
            assert!(offer.tools.is_empty());
            assert!(offer.missing[0].contains(why), "{:?}", offer.missing);
        }
        let long = "x".repeat(70);
        let offer = checked(&server(&[&long]), &[tool(&long, plain())], |_| false);
        assert!(offer.missing[0].contains("more than 64 characters"));
        // Together they are bounded, too.
        let names: Vec<String> = (0..12).map(|n| format!("t{n}")).collect();
        let large = || with("x", json!("x".repeat(MAX_SCHEMA - 200)));
        let tools: Vec<_> = names.iter().map(|name| tool(name, large())).collect();
        let allow: Vec<&str> = names.iter().map(String::as_str).collect();
        let offer = checked(&server(&allow), &tools, |_| false);
        assert_eq!((offer.tools.len(), offer.missing.len()), (8, 4));
    }

    #[test]
    fn texts_have_nothing_unseen_in_them() {
        let schema = json!({"type": "object", "properties": {"description": {"type": "string", "description": "a\u{202e}b\u{1b}c"}}});
        let mut found = tool("search", schema);
        found.description = Some("a\u{e0041}b".repeat(5000).into());
        let offer = checked(&server(&["search"]), &[found], |_| false);
        let tool = &offer.tools[0];
        assert_eq!(
            tool.parameters["properties"]["description"]["description"],
            "abc"
        );
        assert!(tool.description.starts_with("abab"));
        assert!(tool.description.chars().count() <= MAX_DESCRIPTION);
    }

    #[test]
    fn a_tool_that_is_described_with_the_key_is_not_offered_and_what_is_not_seen_is_taken_out() {
        let hidden = json!({"type": "object", "properties": {"q": {"enum": ["a\u{202e}b"]}}});
        let mut said = tool("search", hidden.clone());
        let offer = checked(&server(&["search"]), &[said.clone()], |_| false);
        let shown = offer.tools[0].parameters.pointer("/properties/q/enum/0");
        assert_eq!(shown, Some(&json!("ab")));
        let named = json!({"type": "object", "properties": {"q\u{e0041}": {}}});
        let offer = checked(&server(&["search"]), &[tool("search", named)], |_| false);
        assert!(offer.missing[0].contains("not seen"), "{offer:?}");
        said.description = Some("Send s3cret.".into());
        let key = |text: &str| text.contains("s3cret");
        let offer = checked(&server(&["search"]), &[said], key);
        assert!(
            offer.tools.is_empty() && offer.missing[0].contains("its key"),
            "{offer:?}"
        );
        assert!(!offer.missing[0].contains("s3cret"));
        let mut schema = hidden;
        schema["description"] = json!("s3cret");
        let offer = checked(&server(&["search"]), &[tool("search", schema)], key);
        assert!(offer.tools.is_empty());
    }
}
