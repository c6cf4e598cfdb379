//! The objects that the gateway is run with: everything on. Callers are [`TOKENS`] tokens of [`ACCOUNTS`] ServiceAccounts in ten namespaces.

use crate::api::{Api, uid};
use crate::tls::Files;
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::fs;

/// Namespace of the release.
pub const RELEASE: &str = "oarmaster-system";
/// Distinct tokens: each is one of a pod of a workload.
pub const TOKENS: usize = 1000;
/// ServiceAccounts that they are of.
pub const ACCOUNTS: usize = 100;
/// Budgets that every call counts for.
pub const BUDGETS: usize = 4;
/// The token of an application that abuses the gateway, in a namespace of its own.
pub const ABUSER: &str = "abuser";
/// The operator's token.
pub const OPERATOR: &str = "operator";
/// Bytes of a token: about those of a ServiceAccount's.
const TOKEN: usize = 900;
/// Namespaces of the callers.
const NAMESPACES: usize = 10;
/// That of the abuser.
const ABUSERS: &str = "team-abuse";
const PREFIX: &str = "caller-";
const PILOT: &str = "pilot-";

/// The token of a number.
pub fn token(number: usize) -> String {
    format!("{:x<TOKEN$}", format!("{PREFIX}{}-", number % TOKENS))
}

/// The token of a Task's pod.
pub fn pilot(number: usize) -> String {
    format!("{:x<TOKEN$}", format!("{PILOT}{number}-"))
}

/// Whom a token belongs to.
pub fn user(token: &str) -> Option<Value> {
    if let Some(number) = token.strip_prefix(PILOT) {
        let pod = format!("job-{}-x", number.split('-').next()?);
        let extra = json!({
            "authentication.kubernetes.io/pod-name": [pod],
            "authentication.kubernetes.io/pod-uid": [uid("pods", "team", &pod)],
        });
        let name = "system:serviceaccount:team:oarmaster-sandbox";
        return Some(json!({"username": name, "uid": "u", "groups": [], "extra": extra}));
    }
    let name = if token == OPERATOR {
        format!("system:serviceaccount:{RELEASE}:oarmaster-operator")
    } else if token == ABUSER {
        format!("system:serviceaccount:{ABUSERS}:app")
    } else {
        let (number, _) = token.strip_prefix(PREFIX)?.split_once('-')?;
        let account = number.parse::<usize>().ok()? % ACCOUNTS;
        let namespace = account % NAMESPACES;
        format!("system:serviceaccount:team-{namespace}:app-{account}")
    };
    Some(
        json!({"username": name, "uid": "u", "groups": ["system:serviceaccounts", "system:authenticated"], "extra": {}}),
    )
}

fn ours(kind: &str, name: &str, spec: Value) -> Value {
    let metadata = if kind == "Budget" {
        json!({"name": name})
    } else {
        json!({"name": name, "namespace": "team"})
    };
    json!({"apiVersion": "oarmaster.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
}

/// A Secret.
pub fn secret(api: &Api, namespace: &str, name: &str, data: &[(&str, &[u8])]) -> Result<()> {
    let data: serde_json::Map<String, Value> = data
        .iter()
        .map(|(entry, bytes)| {
            let bytes = k8s_openapi::ByteString(bytes.to_vec());
            Ok(((*entry).to_owned(), serde_json::to_value(bytes)?))
        })
        .collect::<Result<_>>()?;
    let metadata = json!({"namespace": namespace, "name": name});
    let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data});
    api.apply("secrets", object)
}

/// A ModelPool of model `m` of these providers.
pub fn pool(api: &Api, name: &str, providers: &[&str], more: &Value) -> Result<()> {
    let members: Vec<Value> = providers
        .iter()
        .map(|provider| json!({"provider": {"name": provider}, "model": "m"}))
        .collect();
    let mut spec = json!({"members": members});
    merge(&mut spec, more)?;
    api.apply("modelpools", ours("ModelPool", name, spec))
}

/// A ModelProvider: the mock, as it behaves under this name.
pub fn provider(api: &Api, mock: u16, name: &str, model: &Value) -> Result<()> {
    let mut price = json!({"name": "m", "pricing": {"inputPerMillion": "1", "outputPerMillion": "2"}, "contextTokens": 1_000_000});
    merge(&mut price, model)?;
    let spec = json!({
        "type": "OpenAICompatible", "endpoint": format!("https://127.0.0.1:{mock}/{name}/v1"),
        "keys": [{"name": "main", "secretKeyRef": {"name": "model", "key": "api-key"}}],
        "models": [price],
    });
    api.apply("modelproviders", ours("ModelProvider", name, spec))
}

fn merge(into: &mut Value, more: &Value) -> Result<()> {
    let into = into.as_object_mut().context("a spec is no object")?;
    for (field, value) in more.as_object().context("a spec is no object")? {
        into.insert(field.clone(), value.clone());
    }
    Ok(())
}

/// Pod and Job of a Task's first attempt; gives the Task's UID.
pub fn pod(api: &Api, number: usize) -> Result<String> {
    let task = format!("11111111-2222-3333-4444-{number:012}");
    let (name, job) = (format!("task-{number}"), format!("job-{number}"));
    let labels = json!({"oarmaster.dev/sandbox": "true", "oarmaster.dev/task-uid": task, "oarmaster.dev/attempt": "1"});
    let owner = json!([{"apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task", "name": name, "uid": task, "controller": true}]);
    let meta =
        json!({"namespace": "team", "name": job, "labels": labels, "ownerReferences": owner});
    api.apply(
        "jobs",
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta}),
    )?;
    let owner = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": uid("jobs", "team", &job), "controller": true}]);
    let meta = json!({"namespace": "team", "name": format!("{job}-x"), "labels": labels, "ownerReferences": owner});
    api.apply(
        "pods",
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta}),
    )?;
    Ok(task)
}

/// Everything that is there when the gateway starts.
pub fn prepare(api: &Api, files: &Files, mock: u16) -> Result<()> {
    let names = (0..NAMESPACES).map(|number| format!("team-{number}"));
    for name in names.chain(["team", ABUSERS, RELEASE].map(str::to_owned)) {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": name}}});
        api.apply("namespaces", object)?;
    }
    let certificate = fs::read(&files.certificate)?;
    let key = fs::read(&files.key)?;
    let data = [("tls.crt", certificate.as_slice()), ("tls.key", &key)];
    secret(api, RELEASE, "oarmaster-gateway-tls", &data)?;
    secret(api, "team", "model", &[("api-key", b"sk-bench-key-0")])?;
    for name in ["plain", "steady", "keyed"] {
        provider(api, mock, name, &json!({}))?;
        pool(api, name, &[name], &json!({}))?;
    }
    let budgets: [_; BUDGETS] = [
        ("all", "Cluster", "Total"),
        ("namespaces", "Namespace", "Month"),
        ("pools", "Pool", "Day"),
        ("people", "Requester", "Hour"),
    ];
    for (name, per, window) in budgets {
        let spec = json!({"per": per, "window": window, "usd": "900000"});
        api.apply("budgets", ours("Budget", name, spec))?;
    }
    Ok(())
}
