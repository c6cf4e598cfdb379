//! ModelProvider: what may be created.

use crate::pool::SELECTOR;
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

fn whole(name: &str, secret: &str) -> Value {
    json!({"name": name, "secretRef": {"name": secret}})
}

fn p(patch: Value) -> Value {
    with_spec(&remote(), patch)
}

fn s(patch: Value) -> Value {
    with_spec(&scripted(), patch)
}

const EXCLUSIVE: &str = "type Scripted takes neither endpoint nor keys";
const NO_KEY: &str = "a vendor takes no request without a key: set keys, like [{name: main, secretKeyRef: {name: openai, key: api-key}}], or for Bedrock [{name: main, secretRef: {name: bedrock}}]";
const ARGUMENTS: &str = "set exactly one of arguments or rawArguments";

pub fn cases() -> Vec<Case> {
    let mut all = types();
    all.extend(remotes());
    all.extend(clouds());
    all.extend(scripts());
    all
}

fn types() -> Vec<Case> {
    let weight = |weight: i64| {
        let mut key = key("main", "a");
        key["weight"] = json!(weight);
        p(json!({ "keys": [key] }))
    };
    let allowed = |allowed: Value| p(json!({ "allowedNamespaces": allowed }));
    vec![
        taken("a spare key", weight(0)),
        denied(
            "a key with less than nothing",
            weight(-1),
            &["spec.keys[0].weight", "greater than or equal to 0"],
        ),
        denied(
            "a key with too much weight",
            weight(1001),
            &["spec.keys[0].weight", "less than or equal to 1000"],
        ),
        taken(
            "a provider for chosen namespaces",
            allowed(json!({"from": "Selector", "selector": {"matchLabels": {"team": "a"}}})),
        ),
        denied(
            "a provider for chosen namespaces, without a choice",
            allowed(json!({"from": "Selector"})),
            &[SELECTOR],
        ),
        denied(
            "a selector with a value that no label has",
            allowed(json!({"from": "Selector", "selector": {"matchLabels": {"team": "a b"}}})),
            &[
                "spec.allowedNamespaces.selector.matchLabels",
                "should match",
            ],
        ),
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
            &[NO_KEY],
        ),
        denied(
            "a vendor without a key, in an empty list",
            p(json!({"type": "Groq", "endpoint": null, "keys": []})),
            &[NO_KEY],
        ),
        denied(
            "no type",
            p(json!({"type": null})),
            &["spec.type: Required value"],
        ),
    ]
}

fn clouds() -> Vec<Case> {
    let azure = |patch: Value| {
        let base = json!({"type": "AzureOpenAI", "endpoint": "https://x.openai.azure.com", "keys": [key("main", "s")],
            "models": [{"name": "gpt-4o"}]});
        with_spec(&p(base), patch)
    };
    let bedrock = |patch: Value| {
        let base = json!({"type": "Bedrock", "endpoint": null, "bedrock": {"region": "eu-central-1"},
            "keys": [whole("main", "s")], "models": [{"name": "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"}]});
        with_spec(&p(base), patch)
    };
    let of_azure = |own: Value| azure(json!({ "azure": own }));
    let of_bedrock = |own: Value| bedrock(json!({ "bedrock": own }));
    let mut one_more = serde_json::Map::new();
    one_more.extend((0..65).map(|n| (format!("m{n}"), json!("d"))));
    vec![
        taken("Azure by the v1 API", azure(json!({}))),
        taken(
            "Azure by a dated version, with deployments",
            of_azure(
                json!({"apiVersion": "2024-10-21", "deployments": {"gpt-4o": "prod_4o.eu-1"}}),
            ),
        ),
        denied(
            "Azure without a resource",
            azure(json!({"endpoint": null})),
            &["type AzureOpenAI needs endpoint, like https://NAME.openai.azure.com"],
        ),
        denied(
            "Azure with the path of the API",
            azure(json!({"endpoint": "https://x.openai.azure.com/openai/v1"})),
            &[
                "the endpoint of type AzureOpenAI ends before /openai, like https://NAME.openai.azure.com",
            ],
        ),
        denied(
            "a version that counts no streams",
            of_azure(json!({"apiVersion": "2024-06-01"})),
            &[
                "apiVersion is too old to count the tokens of a stream: write 2024-10-21 or a newer one, or leave it out for the v1 API",
            ],
        ),
        denied(
            "a version that is no date",
            of_azure(json!({"apiVersion": "latest-and-greatest"})),
            &["spec.azure.apiVersion"],
        ),
        denied(
            "a deployment with a slash",
            of_azure(json!({"deployments": {"gpt-4o": "a/b"}})),
            &["spec.azure.deployments", "should match"],
        ),
        denied(
            "65 deployments",
            of_azure(json!({ "deployments": one_more })),
            &["spec.azure.deployments", "at most 64"],
        ),
        denied(
            "another type with azure",
            p(json!({"azure": {}})),
            &["azure is for type AzureOpenAI only"],
        ),
        taken("Bedrock with a Secret", bedrock(json!({}))),
        taken(
            "Bedrock with the gateway's identity",
            bedrock(
                json!({"keys": null, "bedrock": {"region": "us-gov-west-1", "credentials": "Workload"}}),
            ),
        ),
        taken(
            "Bedrock behind a proxy that signs",
            bedrock(json!({"keys": null, "endpoint": "https://proxy.example.com"})),
        ),
        denied(
            "Bedrock without a region",
            bedrock(json!({"bedrock": null})),
            &["type Bedrock needs bedrock, like {region: eu-central-1}"],
        ),
        denied(
            "a region that is a host",
            of_bedrock(json!({"region": "eu-1.example.com/x"})),
            &["spec.bedrock.region", "should match"],
        ),
        denied(
            "credentials that there are not",
            of_bedrock(json!({"region": "eu-central-1", "credentials": "Node"})),
            &["spec.bedrock.credentials", "\"Secret\", \"Workload\""],
        ),
        denied(
            "Bedrock without a key",
            bedrock(json!({"keys": []})),
            &[NO_KEY],
        ),
        denied(
            "the gateway's identity and a key",
            of_bedrock(json!({"region": "eu-central-1", "credentials": "Workload"})),
            &["credentials Workload takes no keys: remove them, or set credentials: Secret"],
        ),
        denied(
            "Bedrock with one entry of a Secret",
            bedrock(json!({"keys": [key("main", "s")]})),
            &[
                "a key of type Bedrock is a whole Secret: write secretRef: {name: bedrock}; a key of any other type is one entry: write secretKeyRef: {name: openai, key: api-key}",
            ],
        ),
        denied(
            "another type with a whole Secret",
            p(json!({"keys": [whole("main", "s")]})),
            &["a key of type Bedrock is a whole Secret"],
        ),
        denied(
            "a key of both forms",
            p(
                json!({"keys": [{"name": "main", "secretRef": {"name": "s"}, "secretKeyRef": {"name": "s", "key": "k"}}]}),
            ),
            &["set exactly one of secretKeyRef or secretRef"],
        ),
        denied(
            "a key of no form",
            p(json!({"keys": [{"name": "main"}]})),
            &["set exactly one of secretKeyRef or secretRef"],
        ),
        denied(
            "another type with bedrock",
            p(json!({"bedrock": {"region": "eu-central-1"}})),
            &["bedrock is for type Bedrock only"],
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
    let fault = |fault: Value| reply(json!({ "fault": fault }));
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
        taken("a fault", fault(json!({"status": 503, "retryAfter": "-1"}))),
        taken("a page", fault(json!({"kind": "Page", "status": 200}))),
        taken(
            "an answer that breaks",
            reply(json!({"fault": {"kind": "Cut", "after": 0}, "text": "x"})),
        ),
        denied(
            "a fault with a text",
            reply(json!({"fault": {"status": 503}, "text": "x"})),
            &["a fault of this kind answers nothing: leave out text and toolCalls"],
        ),
        denied(
            "an error with the status of success",
            fault(json!({"status": 200})),
            &["status is for the kinds Error (400 to 599), Page and Empty"],
        ),
        denied(
            "a status that is none",
            fault(json!({"kind": "Page", "status": 100})),
            &["fault.status", "greater than or equal to 200"],
        ),
        denied(
            "a wait without an error",
            fault(json!({"kind": "Page", "retryAfter": "1"})),
            &["retryAfter is for the kind Error"],
        ),
        denied(
            "a code without an error",
            fault(json!({"kind": "Cut", "code": "x"})),
            &["code and message are for the kinds Error, ErrorInSuccess and ErrorInStream"],
        ),
        denied(
            "a place without a break",
            fault(json!({"after": 1})),
            &["after is for the kinds ErrorInStream, Stall, Cut and Unended"],
        ),
        denied(
            "a fault that nobody knows",
            fault(json!({"kind": "Explode"})),
            &["fault.kind", "Unsupported value"],
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
