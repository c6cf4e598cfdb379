//! An upstream that is not ours: an unmodified LiteLLM proxy from PyPI, with its own mock model, and with our mock behind it.

use crate::support::{
    agent, beside_others, create, key, object, pool, provider, python, says, scripted, task,
};
use anyhow::{Context as _, Result};
use oarmaster_e2e::command::{Run, Service};
use oarmaster_e2e::mock::{Mock, Reply, node_address};
use oarmaster_e2e::{Space, python as environments};
use oarmaster_protocol::journal::Body;
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

const MASTER_KEY: &str = "sk-e2e-master-key";

/// Starts the proxy at the node's address, with a model `canned` of its own and a model `mock` that is our mock.
async fn proxy(space: &Space, programs: &Path, mock: &Mock) -> Result<(Service, String)> {
    let node = node_address(&space.cluster).await?;
    // The proxy cannot be told to choose a port itself.
    let port = TcpListener::bind(SocketAddr::new(node, 0))?
        .local_addr()?
        .port();
    let config = json!({
        "model_list": [
            {"model_name": "mock", "litellm_params": {"model": "openai/mock", "api_base": mock.endpoint, "api_key": "behind"}},
            {"model_name": "canned", "litellm_params": {"model": "openai/canned", "api_key": "none", "mock_response": "A canned answer."}},
        ],
        "general_settings": {"master_key": MASTER_KEY},
        "litellm_settings": {"num_retries": 0},
    });
    let file = std::env::temp_dir().join(format!("{}.yaml", space.name));
    std::fs::write(&file, config.to_string())?;
    let service = Run::new(programs.join("litellm"))
        .args(&["--config".as_ref(), file.as_os_str()])
        .args(&["--host", &node.to_string(), "--port", &port.to_string()])
        .args(&["--num_workers", "1", "--telemetry", "False"])
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        .within(Duration::from_secs(120))
        .serve("Uvicorn running on")
        .await?;
    std::fs::remove_file(&file)?;
    Ok((service, format!("http://{node}:{port}/v1")))
}
