use crate::json::Fields;
use crate::responses::adapt;
use serde_json::{Value, json};

fn adapted(body: &Value, thinks: bool) -> (Value, Vec<String>) {
    let mut fields = Fields::parse(body.to_string().as_bytes()).unwrap();
    let dropped = adapt(&mut fields, "gpt-5", thinks);
    (serde_json::from_str(&fields.to_json()).unwrap(), dropped)
}

#[test]
fn nothing_is_kept_and_the_rest_keeps_its_bytes() {
    let body =
        r#"{"model":"m","input":[ {"role":"user","content":"\u00e9 1.50"} ],"temperature":1.50}"#;
    let mut fields = Fields::parse(body.as_bytes()).unwrap();
    assert!(adapt(&mut fields, "gpt-4o", false).is_empty());
    let kept = body.strip_suffix('}').unwrap();
    assert_eq!(fields.to_json(), format!("{kept},\"store\":false}}"));
    for (stored, dropped) in [
        (json!(true), vec!["store"]),
        (json!(false), vec![]),
        (Value::Null, vec![]),
    ] {
        let (body, left) = adapted(&json!({"store": stored, "input": "x"}), false);
        assert_eq!(
            (body, left),
            (
                json!({"store": false, "input": "x"}),
                dropped.into_iter().map(str::to_owned).collect()
            )
        );
    }
}

#[test]
fn thoughts_are_asked_for_encrypted_where_there_are_any() {
    let encrypted = "reasoning.encrypted_content";
    for (body, thinks, include) in [
        (json!({}), false, Value::Null),
        (json!({}), true, json!([encrypted])),
        (
            json!({"reasoning": {"effort": "low"}}),
            false,
            json!([encrypted]),
        ),
        (json!({"include": ["x"]}), true, json!(["x", encrypted])),
        (
            json!({"include": [encrypted, "x"]}),
            true,
            json!([encrypted, "x"]),
        ),
        // The vendor's to refuse.
        (json!({"include": 7}), true, json!(7)),
    ] {
        assert_eq!(adapted(&body, thinks).0["include"], include, "{body}");
    }
}

#[test]
fn what_only_others_can_read_is_left_out() {
    let thought = |id: &str, encrypted: Value| json!({"type": "reasoning", "id": id, "summary": [], "encrypted_content": encrypted});
    let call = |extra: Value| {
        let mut call =
            json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
        if !extra.is_null() {
            call["extra_content"] = extra;
        }
        call
    };
    let nameless = json!({"type": "reasoning", "summary": [], "encrypted_content": "gAAA"});
    for (item, becomes, dropped) in [
        (
            thought("rs_1", json!("gAAA")),
            Some(thought("rs_1", json!("gAAA"))),
            "",
        ),
        (thought("rs_1", Value::Null), None, "reasoning"),
        (thought("rs_1", json!("")), None, "reasoning"),
        (thought("rs_1", json!("google:x")), None, "reasoning"),
        (thought("rs_1", json!("redacted:x")), None, "reasoning"),
        (thought("rs_gateway_1", json!("gAAA")), Some(nameless), ""),
        (
            call(json!({"google": {"thought_signature": "x"}})),
            Some(call(Value::Null)),
            "extra_content",
        ),
        (call(Value::Null), Some(call(Value::Null)), ""),
        (
            json!({"role": "user", "content": "reasoning"}),
            Some(json!({"role": "user", "content": "reasoning"})),
            "",
        ),
    ] {
        let (body, left) = adapted(&json!({"input": [item, "odd"]}), false);
        let mut expected: Vec<Value> = becomes.into_iter().collect();
        expected.push(json!("odd"));
        assert_eq!(body["input"], json!(expected), "{item}");
        assert_eq!(left.join(","), dropped, "{item}");
    }
}
