//! An upstream that is not ours: an unmodified LiteLLM proxy from PyPI, with its own mock model, and with our mock behind it.

use crate::quickstart;
use crate::support::{agent, allow_use, beside_others, create, key, object, pool, provider, task};
use anyhow::{Context as _, Result};
use kube::Api;
use oarmaster_e2e::command::{Run, Service};
use oarmaster_e2e::forward::Forward;
use oarmaster_e2e::gateway::{DATA, Gateway, POD, token};
use oarmaster_e2e::installed::RELEASE;
use oarmaster_e2e::mock::{Mock, Reply, node_address};
use oarmaster_e2e::{Space, python as environments};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

const LITELLM: &str = "litellm[proxy]==1.102.4";
const MASTER_KEY: &str = "sk-e2e-master-key";

/// Starts the proxy at the node's address with one model, and says where it is.
async fn proxy(
    space: &Space,
    programs: &Path,
    name: &str,
    params: Value,
    ca: Option<&Path>,
) -> Result<(Service, String)> {
    let node = node_address(&space.cluster).await?;
    // The proxy cannot be told to choose a port itself.
    let port = TcpListener::bind(SocketAddr::new(node, 0))?
        .local_addr()?
        .port();
    let config = json!({
        "model_list": [{"model_name": name, "litellm_params": params}],
        "general_settings": {"master_key": MASTER_KEY},
        "litellm_settings": {"num_retries": 0},
    });
    let file = std::env::temp_dir().join(format!("{}.yaml", space.name));
    std::fs::write(&file, config.to_string())?;
    let mut run = Run::new(programs.join("litellm"))
        .args(&["--config".as_ref(), file.as_os_str()])
        .args(&["--host", &node.to_string(), "--port", &port.to_string()])
        .args(&["--num_workers", "1", "--telemetry", "False"])
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        .within(Duration::from_secs(120));
    if let Some(ca) = ca {
        run = run.env("SSL_CERT_FILE", ca);
    }
    let service = run.serve("Uvicorn running on").await?;
    std::fs::remove_file(&file)?;
    Ok((service, format!("http://{node}:{port}/v1")))
}

/// The ModelProvider that is the proxy, with the master key in the Secret.
fn through(endpoint: &str, model: &str) -> Value {
    let mut through = provider(json!({
        "type": "OpenAICompatible",
        "endpoint": endpoint,
        "keys": [{"name": "main", "secretKeyRef": {"name": "model", "key": "api-key"}}],
    }));
    through["spec"]["models"][0]["name"] = json!(model);
    through
}

#[tokio::test]
async fn a_task_completes_through_an_unmodified_litellm() -> Result<()> {
    let programs = environments::environment(&[LITELLM]).await?;
    beside_others("litellm", async |space| {
        let mock = Mock::start(&space.cluster, |call| match call.turn {
            0 => Reply::tool("Shell", &json!({"command": "cat number.txt"})).usage(201, 21),
            1 if call.last().contains("41") => Reply::tool(
                "EditFile",
                &json!({"path": "number.txt", "old": "41", "new": "42"}),
            )
            .usage(202, 22),
            _ => Reply::text("It is 42 now.").usage(203, 23),
        })
        .await?;
        let (_service, endpoint) = proxy(space, &programs, "mock", behind(&mock), None).await?;
        let more = json!({
            "files": [{"path": "number.txt", "content": "41\n"}],
            "accept": {"check": {"command": ["grep", "-qx", "42", "number.txt"]}, "rounds": 1},
        });
        create(
            space,
            &[
                key(MASTER_KEY),
                through(&endpoint, "mock"),
                pool(),
                agent(&["Shell", "EditFile"]),
                task(&more),
            ],
        )
        .await?;
        let done = space.complete("work").await?;
        let usage = done
            .status
            .and_then(|status| status.usage)
            .context("no usage")?;
        let bill = mock.bill();
        assert_eq!(bill.len(), 3, "{bill:#?}");
        assert!(
            bill.iter()
                .all(|call| call.authorization.as_deref() == Some("Bearer behind")),
            "through the proxy"
        );
        assert_eq!(
            (usage.input_tokens, usage.output_tokens),
            (606, 66),
            "{usage:?}"
        );
        assert_eq!(mock.billed(), (606, 66));
        let journal = space.journal("work").await?;
        assert!(
            matches!(journal.checks()[..], [(true, Some(0), _)]),
            "{journal:#?}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn our_usage_of_its_own_model_is_its_own_count() -> Result<()> {
    let programs = environments::environment(&[LITELLM]).await?;
    beside_others("litellm-canned", async |space| {
        let params = json!({"model": "openai/canned", "api_key": "none", "mock_response": "A canned answer."});
        let (_service, endpoint) = proxy(space, &programs, "canned", params, None).await?;
        create(
            space,
            &[
                key(MASTER_KEY),
                through(&endpoint, "canned"),
                canned_pool(),
                agent(&[]),
                task(&json!({})),
            ],
        )
        .await?;
        let done = space.complete("work").await?;
        let status = done.status.context("no status")?;
        assert_eq!(status.output, Some(json!({"text": "A canned answer."})));
        let ours = status.usage.context("no usage")?;
        assert!(ours.input_tokens > 0 && ours.output_tokens > 0, "{ours:?}");

        // Its count for the same messages.
        let messages = json!([
            {"role": "system", "content": "Do what you are told."},
            {"role": "user", "content": "Work."},
        ]);
        let its: Value = reqwest::Client::new()
            .post(format!("{endpoint}/chat/completions"))
            .bearer_auth(MASTER_KEY)
            .json(&json!({"model": "canned", "messages": messages}))
            .send()
            .await?
            .json()
            .await?;
        assert_eq!(
            its["usage"]["completion_tokens"], ours.output_tokens,
            "{its}"
        );
        assert_eq!(its["usage"]["prompt_tokens"], ours.input_tokens, "{its}");
        Ok(())
    })
    .await
}

fn canned_pool() -> Value {
    let mut canned = pool();
    canned["spec"]["members"][0]["model"] = json!("canned");
    canned
}

fn behind(mock: &Mock) -> Value {
    json!({"model": "openai/mock", "api_base": mock.endpoint, "api_key": "behind"})
}

/// The quickstart with the proxy between its Task and its script: the proxy asks our own gateway, as any caller with an SDK may.
#[tokio::test]
async fn the_quickstart_completes_through_an_unmodified_litellm() -> Result<()> {
    let programs = environments::environment(&[LITELLM]).await?;
    beside_others("litellm-quick", async |space| {
        let member = json!({"members": [{"provider": {"name": "scripted"}, "model": "repairer"}]});
        create(space, &[object("ModelPool", "script", member)]).await?;
        space.kubectl(&["create", "serviceaccount", "proxy"]).await?;
        allow_use(space, "proxy", "script").await?;
        let bearer = token(&space.cluster, &space.name, "proxy", Some("oarmaster-gateway")).await?;
        let gateway = Gateway::open(&space.cluster, DATA).await?;
        let ca = std::env::temp_dir().join(format!("{}.crt", space.name));
        std::fs::write(&ca, &gateway.ca)?;
        let params = json!({
            "model": format!("openai/{}/script", space.name), "api_base": format!("{}/v1", gateway.url), "api_key": bearer,
        });
        let (_service, endpoint) = proxy(space, &programs, "mock", params, Some(&ca)).await?;
        create(space, &[key(MASTER_KEY), through(&endpoint, "mock")]).await?;
        quickstart::apply(space, "config/samples/quickstart/4-task.yaml", &[("provider: {name: scripted}, model: repairer", "provider: {name: model}, model: mock")]).await?;

        let task = space.complete("fix-summary").await?;
        std::fs::remove_file(&ca)?;
        let usage = task.status.and_then(|status| status.usage).context("no usage")?;
        assert!(usage.calls >= 5, "{usage:?}");
        assert_eq!(usage.models, ["mock"]);
        // What passed through the proxy was counted on its other side too, by the pool that it asked.
        let metrics = Forward::open(Api::namespaced(space.cluster.client.clone(), RELEASE), POD, 9090).await?;
        let metrics = reqwest::get(format!("http://{}/metrics", metrics.address)).await?.text().await?;
        let counted = |pool: &str, kind: &str| -> i64 {
            let pool = format!("pool=\"{}/{pool}\"", space.name);
            let kind = format!("kind=\"{kind}\"");
            let lines = metrics.lines().filter(|line| line.starts_with("oarmaster_tokens_total{"));
            let ours = lines.filter(|line| line.contains(&pool) && line.contains(&kind));
            ours.filter_map(|line| line.rsplit(' ').next()?.parse::<i64>().ok()).sum()
        };
        assert_eq!(usage.input_tokens, counted("script", "input"), "{metrics}");
        assert_eq!(usage.output_tokens, counted("script", "output"), "{metrics}");
        assert_eq!(usage.input_tokens, counted("default", "input"), "{metrics}");
        Ok(())
    })
    .await
}
