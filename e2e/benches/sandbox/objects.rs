//! The objects that are measured.

use anyhow::Result;
use oarmaster_e2e::Space;
use oarmaster_e2e::installed::image;
use serde_json::{Value, json};

/// One of our objects.
fn ours(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "oarmaster.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// The reply of a model that runs a piece of Python.
pub fn python(code: &str) -> Value {
    json!({"toolCalls": [{"name": "RunCode", "arguments": {"language": "python", "code": code}}]})
}

/// A provider, a pool and an agent of this name, whose model gives these replies, then says that it is done.
pub async fn agent(space: &Space, name: &str, replies: &[Value]) -> Result<()> {
    let mut rules: Vec<Value> = replies
        .iter()
        .enumerate()
        .map(|(turn, reply)| json!({"when": {"turn": turn}, "reply": reply}))
        .collect();
    rules.push(json!({"reply": {"text": "done"}}));
    let models =
        json!([{"name": "m", "pricing": {"inputPerMillion": "1", "outputPerMillion": "2"}}]);
    let provider = json!({"type": "Scripted", "script": {"rules": rules}, "models": models});
    let pool = json!({"members": [{"provider": {"name": name}, "model": "m"}]});
    let agent = json!({
        "instructions": "Do what you are told.",
        "model": {"pool": {"name": name}, "maxOutputTokens": 1000},
        "tools": [{"builtin": "RunCode"}],
        "limits": {"turns": 500, "toolCalls": 500},
        "sandbox": {"image": image("python"), "memory": "128Mi", "disk": "64Mi"},
    });
    for object in [
        ours("ModelProvider", name, provider),
        ours("ModelPool", name, pool),
        ours("Agent", name, agent),
    ] {
        space.create(&object.to_string()).await?;
    }
    Ok(())
}

/// A Task of that agent.
pub async fn task(space: &Space, name: &str, agent: &str) -> Result<()> {
    let spec = json!({
        "agent": {"name": agent}, "params": {"prompt": "Work."}, "retry": {"limit": 0}, "budget": {"usd": "10"},
    });
    space.create(&ours("Task", name, spec).to_string()).await?;
    Ok(())
}

/// A pod of two containers as a Task's, a sidecar and a main one, that does nothing but say when it began; or of three, with one that ends before them.
pub fn bare(name: &str, before: bool) -> Value {
    let container = |name: &str, command: &[&str]| {
        json!({
            "name": name, "image": image("python"), "imagePullPolicy": "IfNotPresent", "command": command,
            "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true,
            },
        })
    };
    let mut beside = container("beside", &["sleep", "600"]);
    if let Some(beside) = beside.as_object_mut() {
        beside.insert("restartPolicy".to_owned(), json!("Always"));
    }
    let mut init = vec![beside];
    if before {
        init.insert(0, container("before", &["true"]));
    }
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"bench": "bare"}},
        "spec": {
            "automountServiceAccountToken": false, "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65533, "seccompProfile": {"type": "RuntimeDefault"}},
            "initContainers": init,
            "containers": [container("main", &["date", "+%s%N"])],
        },
    })
}
