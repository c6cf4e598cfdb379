//! Clients that are not ours: the official `openai` and `anthropic` Python packages and the npm package `openai`, with a ServiceAccount's token.

use crate::support::{allow_use, beside_others, create, pool, says, scripted};
use anyhow::Result;
use oarmaster_e2e::command::Run;
use oarmaster_e2e::gateway::{DATA, Gateway, token};
use oarmaster_e2e::{javascript, python};
use serde_json::json;

const OPENAI: &str = r#"
import os, openai
client = openai.OpenAI(base_url=os.environ["URL"] + "/v1", api_key=os.environ["TOKEN"], max_retries=0)
try:
    print("models", sorted(model.id for model in client.models.list()))
    messages = [{"role": "user", "content": "Say it."}]
    whole = client.chat.completions.create(model="default", messages=messages)
    print("whole", whole.choices[0].message.content, whole.usage.prompt_tokens, whole.usage.completion_tokens)
    pieces, usage = [], None
    for chunk in client.chat.completions.create(model="default", messages=messages, stream=True, stream_options={"include_usage": True}):
        pieces += [choice.delta.content or "" for choice in chunk.choices]
        usage = chunk.usage or usage
    print("stream", "".join(pieces), usage.prompt_tokens, usage.completion_tokens)
    response = client.responses.create(model="default", input="Say it.")
    print("response", response.output_text, response.usage.input_tokens, response.usage.output_tokens)
    with client.responses.stream(model="default", input="Say it.") as stream:
        final = [event for event in stream][-1].response
    print("streamed", "".join(part.text for item in final.output for part in item.content), final.status)
except openai.PermissionDeniedError as error:
    print("denied", error.status_code, error.code)
"#;

const ANTHROPIC: &str = r#"
import os, anthropic
client = anthropic.Anthropic(base_url=os.environ["URL"], api_key=os.environ["TOKEN"], max_retries=0)
ask = {"model": "default", "max_tokens": 100, "messages": [{"role": "user", "content": "Say it."}]}
try:
    print("models", sorted(model.id for model in client.models.list()))
    whole = client.messages.create(**ask)
    print("whole", whole.content[0].text, whole.stop_reason, whole.usage.input_tokens, whole.usage.output_tokens)
    with client.messages.stream(**ask) as stream:
        text, final = "".join(stream.text_stream), stream.get_final_message()
    print("stream", text, final.stop_reason, final.usage.input_tokens, final.usage.output_tokens)
    print("count", client.messages.count_tokens(model="default", messages=ask["messages"]).input_tokens > 0)
except anthropic.PermissionDeniedError as error:
    print("denied", error.status_code, error.type, error.error_code)
"#;

const OPENAI_JAVASCRIPT: &str = r#"
import OpenAI from "openai";
const client = new OpenAI({ baseURL: process.env.URL + "/v1", apiKey: process.env.TOKEN, maxRetries: 0 });
const messages = [{ role: "user", content: "Say it." }];
try {
  const models = [];
  for await (const model of client.models.list()) models.push(model.id);
  console.log("models", models.sort());
  const whole = await client.chat.completions.create({ model: "default", messages });
  console.log("whole", whole.choices[0].message.content, whole.usage.prompt_tokens, whole.usage.completion_tokens);
  const stream = client.chat.completions.stream({ model: "default", messages, stream_options: { include_usage: true } });
  const final = await stream.finalChatCompletion();
  console.log("stream", final.choices[0].message.content, final.usage.prompt_tokens, final.usage.completion_tokens);
  const response = await client.responses.create({ model: "default", input: "Say it." });
  console.log("response", response.output_text, response.usage.input_tokens, response.usage.output_tokens);
  const streamed = await client.responses.stream({ model: "default", input: "Say it." }).finalResponse();
  console.log("streamed", streamed.output_text, streamed.status);
} catch (error) {
  if (!(error instanceof OpenAI.PermissionDeniedError)) throw error;
  console.log("denied", error.status, error.code);
}
"#;

/// What a client prints with the token of somebody who may not use the pool, and of somebody who may.
async fn told(name: &str, client: impl Fn() -> Run) -> Result<(String, String)> {
    let mut told = (String::new(), String::new());
    beside_others(name, async |space| {
        let reply = json!({"text": "Grüße from the pool", "usage": {"inputTokens": 12, "outputTokens": 34}});
        create(space, &[scripted(&[reply]), pool()]).await?;
        for account in ["caller", "stranger"] {
            space.kubectl(&["create", "serviceaccount", account]).await?;
        }
        allow_use(space, "caller", "default").await?;
        let gateway = Gateway::open(&space.cluster, DATA).await?;
        let ca = std::env::temp_dir().join(format!("{}.crt", space.name));
        std::fs::write(&ca, &gateway.ca)?;
        let ask = async |account: &str| {
            let audience = Some("oarmaster-gateway");
            let bearer = token(&space.cluster, &space.name, account, audience).await?;
            client()
                .env("URL", &gateway.url)
                .env("TOKEN", &bearer)
                .env("SSL_CERT_FILE", &ca)
                .env("NODE_EXTRA_CA_CERTS", &ca)
                .stdout()
                .await
        };
        told = (ask("stranger").await?, ask("caller").await?);
        std::fs::remove_file(&ca)?;
        Ok(())
    })
    .await?;
    Ok(told)
}

async fn told_in_python(package: &str, script: &str) -> Result<(String, String)> {
    let programs = python::environment(&[package]).await?;
    let name = package.split('=').next().unwrap_or(package);
    let client = || Run::new(programs.join("python")).args(&["-c", script]);
    told(name, client).await
}

/// What a caller of OpenAI's surfaces must have heard.
fn check_openais(stranger: &str, caller: &str) {
    assert_eq!(stranger, "models []\ndenied 403 forbidden\n");
    let lines: Vec<&str> = caller.lines().collect();
    assert_eq!(lines.len(), 5, "{caller}");
    assert!(lines[0].contains("default"), "{caller}");
    assert_eq!(lines[1], "whole Grüße from the pool 12 34");
    assert_eq!(lines[2], "stream Grüße from the pool 12 34");
    assert_eq!(lines[3], "response Grüße from the pool 12 34");
    assert_eq!(lines[4], "streamed Grüße from the pool completed");
}

#[tokio::test]
async fn openais_speaks_to_a_pool_when_rbac_allows_use() -> Result<()> {
    let (stranger, caller) = told_in_python("openai==3.54.0", OPENAI).await?;
    check_openais(&stranger, &caller);
    Ok(())
}

#[tokio::test]
async fn openais_of_javascript_speaks_to_a_pool_when_rbac_allows_use() -> Result<()> {
    let (node, folder) = javascript::environment(&["openai@7.59.0"]).await?;
    let words = ["--input-type=module", "-e", OPENAI_JAVASCRIPT];
    let client = || Run::new(&node).args(&words).dir(&folder);
    let (stranger, caller) = told("openai-js", client).await?;
    check_openais(&stranger, &caller);
    Ok(())
}

#[tokio::test]
async fn anthropics_speaks_to_a_pool_when_rbac_allows_use() -> Result<()> {
    let (stranger, caller) = told_in_python("anthropic==2.14.0", ANTHROPIC).await?;
    assert_eq!(
        stranger,
        "models []\ndenied 403 permission_error forbidden\n"
    );
    let lines: Vec<&str> = caller.lines().collect();
    assert_eq!(lines.len(), 4, "{caller}");
    assert!(lines[0].contains("default"), "{caller}");
    assert_eq!(lines[1], "whole Grüße from the pool end_turn 12 34");
    assert_eq!(lines[2], "stream Grüße from the pool end_turn 12 34");
    assert_eq!(lines[3], "count True");
    Ok(())
}

#[tokio::test]
async fn a_pool_that_does_not_answer_says_so() -> Result<()> {
    beside_others("sdk-fault", async |space| {
        create(space, &[scripted(&[says("x")])]).await?;
        space
            .kubectl(&["create", "serviceaccount", "caller"])
            .await?;
        allow_use(space, "caller", "absent").await?;
        let gateway = Gateway::open(&space.cluster, DATA).await?;
        let bearer = token(
            &space.cluster,
            &space.name,
            "caller",
            Some("oarmaster-gateway"),
        )
        .await?;
        let body = json!({"model": "absent", "messages": [{"role": "user", "content": "hi"}]});
        let answer = gateway
            .http
            .post(format!("{}/v1/chat/completions", gateway.url))
            .bearer_auth(&bearer)
            .json(&body)
            .send()
            .await?;
        let (status, text) = (answer.status().as_u16(), answer.text().await?);
        assert_eq!(status, 404, "{text}");
        assert!(text.contains("absent"), "names the pool: {text}");
        Ok(())
    })
    .await
}
