//! ModelProvider: what may be created.

use crate::support::{Case, check, denied, in_space, object, taken, with_spec};
use anyhow::Result;
use serde_json::{Value, json};

/// A provider behind an endpoint, without keys.
pub fn remote() -> Value {
    object(
        "ModelProvider",
        json!({
            "type": "OpenAICompatible",
            "endpoint": "https://api.example.com/v1",
            "models": [{"name": "m", "pricing": {"inputPerMillion": "3", "outputPerMillion": "15"}}],
        }),
    )
}

/// A scripted provider.
pub fn scripted() -> Value {
    object(
        "ModelProvider",
        json!({
            "type": "Scripted",
            "models": [{"name": "m", "pricing": {"inputPerMillion": "0", "outputPerMillion": "0"}}],
            "script": {"rules": [{"reply": {"text": "hello"}}]},
        }),
    )
}

fn key(name: &str, secret: &str) -> Value {
    json!({"name": name, "secretKeyRef": {"name": secret, "key": "api-key"}})
}

fn p(patch: Value) -> Value {
    with_spec(&remote(), patch)
}

fn s(patch: Value) -> Value {
    with_spec(&scripted(), patch)
}

const EXCLUSIVE: &str = "type Scripted takes neither endpoint nor keys";
const ARGUMENTS: &str = "set exactly one of arguments or rawArguments";

pub fn cases() -> Vec<Case> {
    let mut all = types();
    all.extend(remotes());
    all.extend(scripts());
    all
}

fn types() -> Vec<Case> {
    vec![
        taken("a remote provider", remote()),
        taken("a scripted provider", scripted()),
        denied(
            "a remote provider without endpoint",
            p(json!({"endpoint": null})),
            &["type OpenAICompatible needs endpoint, like https://api.example.com/v1"],
        ),
        denied(
            "a scripted provider without script",
            s(json!({"script": null})),
            &["type Scripted needs script with at least one rule"],
        ),
        denied(
            "a remote provider with a script",
            p(json!({"script": {"rules": [{"reply": {"text": "x"}}]}})),
            &["script is for type Scripted only"],
        ),
        denied(
            "a scripted provider with an endpoint",
            s(json!({"endpoint": "https://api.example.com/v1"})),
            &[EXCLUSIVE],
        ),
        denied(
            "a scripted provider with keys",
            s(json!({"keys": [key("main", "s")]})),
            &[EXCLUSIVE],
        ),
        denied(
            "a type that there is not",
            p(json!({"type": "Antropic"})),
            &[
                "spec.type",
                "\"Anthropic\"",
                "\"OpenAICompatible\", \"Scripted\"",
            ],
        ),
        taken(
            "a vendor at its own endpoint, at the table's price",
            p(
                json!({"type": "Anthropic", "endpoint": null, "keys": [key("main", "s")],
                "models": [{"name": "claude-sonnet-4-5"}]}),
            ),
        ),
        taken(
            "a vendor behind a proxy that has the key",
            p(json!({"type": "Gemini", "endpoint": "https://proxy.example.com"})),
        ),
        denied(
            "a vendor without a key",
            p(json!({"type": "Cohere", "endpoint": null})),
            &[
                "a vendor takes no request without a key: set keys, like [{name: main, secretKeyRef: {name: openai, key: api-key}}]",
            ],
        ),
        denied(
            "a vendor without a key, in an empty list",
            p(json!({"type": "Groq", "endpoint": null, "keys": []})),
            &[
                "a vendor takes no request without a key: set keys, like [{name: main, secretKeyRef: {name: openai, key: api-key}}]",
            ],
        ),
        denied(
            "no type",
            p(json!({"type": null})),
            &["spec.type: Required value"],
        ),
    ]
}

fn remotes() -> Vec<Case> {
    let endpoint = |text: &str| p(json!({ "endpoint": text }));
    let models = |models: Value| p(json!({ "models": models }));
    let price = |price: Value| models(json!([{"name": "m", "pricing": price}]));
    let many: Vec<Value> = (0..17).map(|n| key(&format!("k{n}"), "s")).collect();
    vec![
        taken("an address", endpoint("http://10.0.0.1:8000/v1")),
        taken("a host without path", endpoint("https://api.example.com")),
        denied(
            "no scheme",
            endpoint("api.example.com/v1"),
            &["spec.endpoint", "should match"],
        ),
        denied(
            "another scheme",
            endpoint("ftp://api.example.com"),
            &["spec.endpoint", "should match"],
        ),
        denied(
            "a password",
            endpoint("https://me:secret@api.example.com/v1"),
            &["spec.endpoint", "should match"],
        ),
        denied(
            "a query",
            endpoint("https://api.example.com/v1?key=x"),
            &["spec.endpoint", "should match"],
        ),
        denied(
            "a fragment",
            endpoint("https://api.example.com/v1#x"),
            &["spec.endpoint", "should match"],
        ),
        denied("an empty endpoint", endpoint(""), &["spec.endpoint"]),
        taken(
            "two keys",
            p(json!({"keys": [key("main", "a"), key("other", "b")]})),
        ),
        denied(
            "two keys of one name",
            p(json!({"keys": [key("main", "a"), key("main", "b")]})),
            &["spec.keys[1]", "Duplicate value"],
        ),
        denied(
            "17 keys",
            p(json!({ "keys": many })),
            &["spec.keys", "at most 16"],
        ),
        denied(
            "a Secret by its bare name",
            p(json!({"keys": [{"name": "main", "secretKeyRef": "openai"}]})),
            &["spec.keys[0].secretKeyRef", "must be of type object"],
        ),
        denied(
            "a key in the object",
            p(json!({"keys": [{"name": "main", "value": "sk-1"}]})),
            &["unknown field \"spec.keys[0].value\""],
        ),
        denied(
            "a key's name in capitals",
            p(json!({"keys": [key("Main", "a")]})),
            &["spec.keys[0].name", "should match"],
        ),
        denied(
            "a Secret's key with a slash",
            p(json!({"keys": [{"name": "main", "secretKeyRef": {"name": "s", "key": "a/b"}}]})),
            &["spec.keys[0].secretKeyRef.key", "should match"],
        ),
        denied(
            "no models",
            models(json!([])),
            &["spec.models", "at least 1"],
        ),
        denied(
            "the same model twice",
            models(json!([{"name": "m"}, {"name": "m"}])),
            &["spec.models[1]", "Duplicate value"],
        ),
        taken("a model without a price", models(json!([{"name": "m"}]))),
        denied(
            "half a price",
            price(json!({"inputPerMillion": "3"})),
            &["spec.models[0].pricing.outputPerMillion: Required value"],
        ),
        denied(
            "a price as a number",
            price(json!({"inputPerMillion": 3, "outputPerMillion": "15"})),
            &[
                "spec.models[0].pricing.inputPerMillion",
                "must be of type string",
            ],
        ),
        taken("limits", p(json!({"limits": {"concurrency": 64}}))),
        denied(
            "limits of no kind",
            p(json!({"limits": {}})),
            &[
                "spec.limits",
                "set requestsPerMinute, tokensPerMinute or concurrency",
            ],
        ),
        denied(
            "a free quota of no kind",
            models(json!([{"name": "m", "freeQuota": {}}])),
            &[
                "spec.models[0].freeQuota",
                "set requestsPerMinute, requestsPerDay, or both",
            ],
        ),
        denied(
            "no context",
            models(json!([{"name": "m", "contextTokens": 0}])),
            &["spec.models[0].contextTokens", "greater than or equal to 1"],
        ),
        taken(
            "timeouts",
            p(json!({"timeouts": {"connect": "500ms", "response": "1h"}})),
        ),
        denied(
            "a timeout in words",
            p(json!({"timeouts": {"connect": "2 seconds"}})),
            &["spec.timeouts.connect", "should match"],
        ),
    ]
}

fn scripts() -> Vec<Case> {
    let rules = |rules: Value| s(json!({"script": {"rules": rules}}));
    let reply = |reply: Value| rules(json!([{ "reply": reply }]));
    let call = |call: Value| reply(json!({"toolCalls": [call]}));
    vec![
        taken(
            "a tool call",
            call(
                json!({"name": "Shell", "arguments": {"command": "ls", "n": [1, {"deep": true}]}}),
            ),
        ),
        taken(
            "a tool call with broken arguments",
            call(json!({"name": "Shell", "rawArguments": "{\"a\":"})),
        ),
        denied(
            "a tool call without arguments",
            call(json!({"name": "Shell"})),
            &[ARGUMENTS],
        ),
        denied(
            "a tool call with both",
            call(json!({"name": "Shell", "arguments": {}, "rawArguments": ""})),
            &[ARGUMENTS],
        ),
        denied(
            "arguments as a text",
            call(json!({"name": "Shell", "arguments": "ls"})),
            &["arguments", "must be of type object"],
        ),
        taken("a fault", reply(json!({"fault": {"status": 503}}))),
        denied(
            "a fault with a text",
            reply(json!({"fault": {"status": 503}, "text": "x"})),
            &["a fault takes neither text nor toolCalls"],
        ),
        denied(
            "a fault that is none",
            reply(json!({"fault": {"status": 200}})),
            &["fault.status", "greater than or equal to 400"],
        ),
        denied(
            "no rules",
            rules(json!([])),
            &["spec.script.rules", "at least 1"],
        ),
        denied(
            "a rule without reply",
            rules(json!([{"when": {"turn": 0}}])),
            &["spec.script.rules[0].reply: Required value"],
        ),
    ]
}

#[tokio::test]
async fn a_provider_is_taken_or_refused_with_a_reason() -> Result<()> {
    in_space("provider", async |space| {
        check(&space.cluster.client, &space.name, &cases()).await
    })
    .await
}
