//! A client that is not ours: the official `openai` Python package, with a ServiceAccount's token.

use crate::support::{allow_use, beside_others, create, pool, says, scripted};
use anyhow::Result;
use oarmaster_e2e::command::Run;
use oarmaster_e2e::gateway::{DATA, Gateway, token};
use oarmaster_e2e::python;
use serde_json::json;

const CLIENT: &str = r#"
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
except openai.PermissionDeniedError as error:
    print("denied", error.status_code, error.code)
"#;

#[tokio::test]
async fn streams_through_a_pool_when_rbac_allows_use() -> Result<()> {
    let programs = python::environment(&["openai==3.54.0"]).await?;
    beside_others("openai", async |space| {
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
            Run::new(programs.join("python"))
                .args(&["-c", CLIENT])
                .env("URL", &gateway.url)
                .env("TOKEN", &bearer)
                .env("SSL_CERT_FILE", &ca)
                .stdout()
                .await
        };

        let told = ask("stranger").await?;
        assert_eq!(told, "models []\ndenied 403 forbidden\n");
        let told = ask("caller").await?;
        std::fs::remove_file(&ca)?;
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), 3, "{told}");
        assert!(lines[0].contains("default"), "{told}");
        assert_eq!(lines[1], "whole Grüße from the pool 12 34");
        assert_eq!(lines[2], "stream Grüße from the pool 12 34");
        Ok(())
    })
    .await
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
