//! Programs of a `run` with a pool, in the live pod: an unmodified one of the package `openai-agents`, and what a program meets at its budget.

use crate::support::{beside_others, calls, create, object, pool, run, scripted, with_class};
use anyhow::{Context as _, Result, ensure};
use oarmaster_crds::{Task, conditions};
use oarmaster_e2e::cluster::checkout;
use oarmaster_e2e::command::{Run, Service};
use oarmaster_e2e::installed::image;
use oarmaster_e2e::mock::node_address;
use oarmaster_e2e::network::enforced;
use oarmaster_e2e::task::{failure, holds};
use oarmaster_e2e::{Space, apply, python};
use oarmaster_protocol::journal::Body;
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// Brings packages in, as pip does where there is a registry.
const FETCH: &str = r#"
import io, os, urllib.request, zipfile
with urllib.request.urlopen(os.environ["PACKAGES"], timeout=60) as archive:
    zipfile.ZipFile(io.BytesIO(archive.read())).extractall("packages")
"#;

/// What the sample's program prints: the second answer is streamed.
const SAID: &str =
    "multiply(6, 7)\nwhole: 6 times 7 is 42.\nmultiply(6, 7)\nstreamed: 6 times 7 is 42. True\n";

/// The model `model`: it asks for the tool, and then says what that gave. Each answer has the same usage.
fn model() -> Value {
    let usage = json!({"inputTokens": 12, "outputTokens": 34});
    let mut first = calls("multiply", json!({"a": 6, "b": 7}));
    first["usage"] = usage.clone();
    scripted(&[
        first,
        json!({"text": "6 times 7 is ${last}.", "usage": usage}),
    ])
}

/// Serves what is in the folder as the Service `packages`.
async fn serve(space: &Space, folder: &str) -> Result<Service> {
    let node = node_address(&space.cluster).await?;
    let port = TcpListener::bind(SocketAddr::new(node, 0))?
        .local_addr()?
        .port();
    let service = Run::new("python3")
        .args(&["-u", "-m", "http.server", &port.to_string()])
        .args(&["--bind", &node.to_string(), "--directory", folder])
        .within(Duration::from_secs(60))
        .serve("Serving HTTP on")
        .await?;
    let objects = [
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "packages"},
            "spec": {"ports": [{"port": 80, "targetPort": port}]},
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "packages", "labels": {"kubernetes.io/service-name": "packages"}},
            "addressType": if node.is_ipv4() { "IPv4" } else { "IPv6" },
            "endpoints": [{"addresses": [node.to_string()]}], "ports": [{"port": port}],
        }),
    ];
    create(space, &objects).await?;
    Ok(service)
}

/// The sample's Task, whose packages come from this domain.
fn sample(class: &str, domain: &str) -> Result<(Value, String)> {
    let path = checkout().join("config/samples/agent-program/task.yaml");
    let documents = apply::documents(&std::fs::read_to_string(path)?)?;
    let mut task = serde_json::to_value(documents.first().context("no sample")?)?;
    let command = task["spec"]["run"]["command"][2].as_str();
    let (pip, program) = command
        .and_then(|command| command.split_once(" && "))
        .context("the sample does not run pip first")?;
    let package = pip.rsplit(' ').next().context("pip installs nothing")?;
    let (package, program) = (package.to_owned(), format!("python3 fetch.py && {program}"));
    let run = &mut task["spec"]["run"];
    run["command"][2] = json!(program);
    run["sandbox"] = json!({
        "class": {"name": class}, "image": image("python"), "memory": "320Mi", "disk": "256Mi",
        "egress": {"domains": [domain]},
    });
    run["env"]["PACKAGES"] = json!(format!("http://{domain}/packages.zip"));
    let files = task["spec"]["files"].as_array_mut();
    files
        .context("the sample has no files")?
        .push(json!({"path": "fetch.py", "content": FETCH}));
    Ok((task, package))
}

fn printed(task: &Task) -> Result<&str> {
    let output = task
        .status
        .as_ref()
        .and_then(|status| status.output.as_ref());
    let tail = output.and_then(|output| output["stdoutTail"].as_str());
    tail.context("the program printed nothing")
}

#[tokio::test]
async fn an_unmodified_agent_program_runs_keyless_and_metered() -> Result<()> {
    beside_others("agents-program", async |space| {
        let domain = format!("packages.{}.svc.cluster.local", space.name);
        let class = json!({"egress": {"domains": [domain]}});
        with_class(space, class, async |_, class| {
            let (task, package) = sample(class, &domain)?;
            let folder = python::archive(&[&package]).await?;
            let folder = folder.to_str().context("the cache's path is no text")?;
            let _service = serve(space, folder).await?;
            create(space, &[model(), pool(), task]).await?;
            if !enforced() {
                let done = space.failed("agent-program", "IsolationUnproven").await?;
                let told = failure(&done).1;
                ensure!(told.contains("has egress or a pool"), "{told}");
                return Ok(());
            }
            let done = space.complete("agent-program").await?;
            ensure!(printed(&done)? == SAID, "{done:#?}");
            ensure!(holds(&done, conditions::ISOLATED), "{done:#?}");
            let usage = done.status.and_then(|status| status.usage);
            let usage = usage.context("no usage")?;
            let tokens = (usage.input_tokens, usage.output_tokens);
            ensure!((usage.calls, tokens) == (4, (48, 136)), "{usage:?}");
            ensure!(usage.usd == "0.00032", "{usage:?}");
            let journal = space.journal("agent-program").await?;
            let unread =
                |body: &Body| matches!(body, Body::Answer { message, .. } if message.is_null());
            ensure!(journal.count(unread) == 4, "{journal:#?}");
            Ok(())
        })
        .await
    })
    .await
}

/// Every line of its output is what one attempt came to.
const PROGRAM: &str = r#"
import json, os, socket, urllib.error, urllib.request

def ask(path, body, **headers):
    request = urllib.request.Request(path, json.dumps(body).encode(), {"content-type": "application/json", **headers})
    try:
        return json.load(urllib.request.urlopen(request, timeout=60))
    except urllib.error.HTTPError as error:
        return json.load(error)

openai, anthropic = os.environ["OPENAI_BASE_URL"], os.environ["ANTHROPIC_BASE_URL"]
messages = [{"role": "user", "content": "hello"}]
said = ask(openai + "/chat/completions", {"model": "gpt-5.2", "messages": messages}, authorization="Bearer none")
print("chat", said["choices"][0]["message"]["content"])
said = ask(anthropic + "/v1/messages", {"model": "claude-opus-5", "max_tokens": 10, "messages": messages})
print("messages", said["content"][0]["text"])
print("other", ask(openai + "/chat/completions", {"model": "other", "messages": messages})["error"]["code"])
print("task api", ask(anthropic + "/task/v1/result", {})["error"]["code"])
try:
    socket.create_connection(("127.0.0.1", int(anthropic.rsplit(":", 1)[1]) + 1), timeout=5)
except PermissionError:
    print("elsewhere refused")
print([name for name in sorted(os.environ) if "KEY" in name or "TOKEN" in name or "PROXY" in name.upper()])
"#;

const TOLD: &str = "chat hi\nmessages hi\nother forbidden\ntask api not_found\nelsewhere refused\n['ANTHROPIC_API_KEY', 'OPENAI_API_KEY']\n";

#[tokio::test]
async fn a_program_has_its_pool_and_its_budget_and_nothing_else() -> Result<()> {
    beside_others("program-pool", async |space| {
        let mut other = pool();
        other["metadata"]["name"] = json!("other");
        create(
            space,
            &[scripted(&[json!({"text": "hi"})]), pool(), other],
        )
        .await?;
        let program = json!({"language": "python", "code": PROGRAM, "pool": {"name": "default"}});
        create(
            space,
            &[
                run("work", program, &json!({})),
                run(
                    "poor",
                    json!({
                        "language": "python", "pool": {"name": "default"},
                        "code": "import os, urllib.request; urllib.request.urlopen(os.environ['OPENAI_BASE_URL'] + '/chat/completions', b'{\"model\": \"m\", \"messages\": [{\"role\": \"user\", \"content\": \"hello\"}]}')",
                    }),
                    &json!({"budget": {"usd": "0.000001"}}),
                ),
                object("Task", "later", json!({
                    "run": {"command": ["true"], "sandbox": {"image": image("python")}, "pool": {"name": "absent"}},
                })),
            ],
        )
        .await?;
        if !enforced() {
            let done = space.failed("work", "IsolationUnproven").await?;
            ensure!(failure(&done).1.contains("has egress or a pool"), "{done:#?}");
            return Ok(());
        }
        let done = space.complete("work").await?;
        ensure!(printed(&done)? == TOLD, "{done:#?}");
        let poor = space.failed("poor", "ToolFailed").await?;
        let told = failure(&poor).1;
        ensure!(
            told.starts_with("its model calls took $0 of spec.budget, $0.000001; the program failed"),
            "{told}"
        );
        ensure!(told.contains("429"), "{told}");
        space
            .task_until("later", "waits for its pool", |task| {
                let status = task.status.as_ref();
                let held = status.and_then(|status| {
                    conditions::find(&status.conditions, conditions::ACCEPTED)
                });
                held.is_some_and(|held| held.message.contains("ModelPool absent does not exist"))
            })
            .await?;
        Ok(())
    })
    .await
}
