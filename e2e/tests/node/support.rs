//! The objects that most tests need, and who may run beside whom.

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use oarmaster_crds::SandboxClass;
use oarmaster_e2e::installed::{RELEASE, image, installed};
use oarmaster_e2e::mock::{Gate, Mock, Reply};
use oarmaster_e2e::task::SOON;
use oarmaster_e2e::{Space, wait};
use serde_json::{Value, json};
use tokio::sync::{RwLock, Semaphore};

/// Price of the model in all tests: pico-USD per input and per output token.
pub const PRICES: (u64, u64) = (1_000_000, 2_000_000);

/// The right of the gateway to read the keys of a namespace.
pub const KEYS: &str = "oarmaster-gateway-keys";

/// Held for reading by tests that look at their own namespace only, for writing by those that break what all share.
static COMPONENTS: RwLock<()> = RwLock::const_new(());
/// So many tests at once, whatever the harness's number of threads: more only makes all of them slow on two cores.
static ROOM: Semaphore = Semaphore::const_new(3);

/// Runs a test beside others, in a namespace of its own.
pub async fn beside_others(name: &str, test: impl AsyncFnOnce(&Space) -> Result<()>) -> Result<()> {
    let _others = COMPONENTS.read().await;
    let _room = ROOM.acquire().await?;
    in_space(name, test).await
}

/// Runs a test alone, since it breaks a component that all share.
pub async fn alone(name: &str, test: impl AsyncFnOnce(&Space) -> Result<()>) -> Result<()> {
    let _others = COMPONENTS.write().await;
    in_space(name, test).await
}

async fn in_space(name: &str, test: impl AsyncFnOnce(&Space) -> Result<()>) -> Result<()> {
    Space::with(installed().await?, name, async |space| {
        let account = format!("--serviceaccount={RELEASE}:oarmaster-gateway");
        // What the owner of a namespace does once, so that its keys can be used.
        let grant = [
            "create",
            "rolebinding",
            KEYS,
            &format!("--clusterrole={KEYS}"),
            &account,
        ];
        space.kubectl(&grant).await?;
        test(space).await
    })
    .await
}

/// Runs a test with a class of its own, which is deleted afterwards.
pub async fn with_class(
    space: &Space,
    spec: Value,
    test: impl AsyncFnOnce(&Api<SandboxClass>, &str) -> Result<()>,
) -> Result<()> {
    let classes: Api<SandboxClass> = Api::all(space.cluster.client.clone());
    let made = serde_json::from_value(object("SandboxClass", &space.name, spec))?;
    classes.create(&PostParams::default(), &made).await?;
    let ended = test(&classes, &space.name).await;
    classes
        .delete(&space.name, &DeleteParams::background())
        .await?;
    ended
}

/// Creates objects in the test's namespace.
pub async fn create(space: &Space, objects: &[Value]) -> Result<()> {
    for object in objects {
        space.create(&object.to_string()).await?;
    }
    Ok(())
}

/// A Task `work` with RunCode whose first model call arrived and is held until the gate opens. It is answered `first`, every later one
/// with the text `then`.
pub async fn held_at_first_call(
    space: &Space,
    api_key: &str,
    first: Reply,
    then: &'static str,
) -> Result<(Gate, Mock)> {
    let gate = Gate::default();
    let held = gate.clone();
    let mock = Mock::start(&space.cluster, move |call| match call.turn {
        0 => first.clone().after(&held),
        _ => Reply::text(then),
    })
    .await?;
    let objects = [
        key(api_key),
        mocked(&mock),
        pool(),
        agent(&["RunCode"]),
        task(&json!({})),
    ];
    create(space, &objects).await?;
    mock.until("the first call", SOON, |bill| bill.len() == 1)
        .await?;
    Ok((gate, mock))
}

/// The ModelProvider `model` that answers the n-th turn with the n-th reply, and every later one with the last.
pub fn scripted(replies: &[Value]) -> Value {
    let last = replies.len() - 1;
    let rules: Vec<Value> = replies
        .iter()
        .enumerate()
        .map(|(turn, reply)| {
            let when = if turn == last {
                json!({})
            } else {
                json!({"turn": turn})
            };
            json!({"when": when, "reply": reply})
        })
        .collect();
    provider(json!({"type": "Scripted", "script": {"rules": rules}}))
}

/// The ModelProvider `model` that is the mock, with the key in [`key`].
pub fn mocked(mock: &Mock) -> Value {
    provider(json!({
        "type": "OpenAICompatible",
        "endpoint": mock.endpoint,
        "keys": [{"name": "main", "secretKeyRef": {"name": "model", "key": "api-key"}}],
    }))
}

/// The ModelProvider `model` with this spec; its one model is `mock`.
pub fn provider(mut spec: Value) -> Value {
    spec["models"] =
        json!([{"name": "mock", "pricing": {"inputPerMillion": "1", "outputPerMillion": "2"}}]);
    object("ModelProvider", "model", spec)
}

/// The Secret with the mock's key.
pub fn key(value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "model"}, "stringData": {"api-key": value},
    })
}

/// The ModelPool `default` of [`provider`]. A model that fails is not waited for as long as one outside of tests.
pub fn pool() -> Value {
    object(
        "ModelPool",
        "default",
        json!({"members": [{"provider": {"name": "model"}, "model": "mock"}], "failover": {"deadline": "10s"}}),
    )
}

/// The Agent `worker` with these tools, in a small sandbox.
pub fn agent(tools: &[&str]) -> Value {
    let tools: Vec<Value> = tools.iter().map(|tool| json!({"builtin": tool})).collect();
    object(
        "Agent",
        "worker",
        json!({
            "instructions": "Do what you are told.",
            "model": {"maxOutputTokens": 1000},
            "tools": tools,
            "sandbox": {"image": image("python"), "memory": "128Mi", "disk": "64Mi"},
        }),
    )
}

/// The Task `work` of the Agent `worker`; `more` is added to its spec.
pub fn task(more: &Value) -> Value {
    let mut spec =
        json!({"agent": {"name": "worker"}, "params": {"prompt": "Work."}, "retry": {"limit": 0}});
    merge(&mut spec, more);
    object("Task", "work", spec)
}

/// A Task that runs code in a small sandbox; `more` is added to its spec.
pub fn run(name: &str, mut run: Value, more: &Value) -> Value {
    merge(
        &mut run,
        &json!({"sandbox": {"image": image("python"), "memory": "128Mi", "disk": "64Mi"}}),
    );
    let mut spec = json!({"run": run, "retry": {"limit": 0}});
    merge(&mut spec, more);
    object("Task", name, spec)
}

/// One of our objects.
pub fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec,
    })
}

fn merge(into: &mut Value, more: &Value) {
    for (name, value) in more.as_object().into_iter().flatten() {
        into[name] = value.clone();
    }
}

/// The reply that ends with a text.
pub fn says(text: &str) -> Value {
    json!({"text": text})
}

/// The reply that calls a tool.
pub fn calls(tool: &str, arguments: Value) -> Value {
    json!({"toolCalls": [{"name": tool, "arguments": arguments}]})
}

/// The reply that runs a piece of Python.
pub fn python(code: &str) -> Value {
    calls("RunCode", json!({"language": "python", "code": code}))
}

/// Lets a ServiceAccount use a pool: kubectl's `create role` knows no verbs but its own.
pub async fn allow_use(space: &Space, account: &str, pool: &str) -> Result<()> {
    let rbac = |kind: &str, rest: Value| {
        let mut object = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": "use"}});
        merge(&mut object, &rest);
        object
    };
    let rule = json!({"apiGroups": ["oarmaster.dev"], "resources": ["modelpools"], "resourceNames": [pool], "verbs": ["use"]});
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "use"});
    let subject = json!({"kind": "ServiceAccount", "name": account, "namespace": space.name});
    create(
        space,
        &[
            rbac("Role", json!({"rules": [rule]})),
            rbac(
                "RoleBinding",
                json!({"roleRef": role, "subjects": [subject]}),
            ),
        ],
    )
    .await
}

/// A pod of nobody's that runs `command`, and is ready when that listens on a port.
pub fn serving(name: &str, port: u16, command: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "serve",
                "image": image("python"),
                "imagePullPolicy": "IfNotPresent",
                "command": command,
                "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    })
}

/// Waits until a pod is ready.
pub async fn ready(space: &Space, name: &str) -> Result<Pod> {
    let is_ready = |pod: &Pod| {
        let conditions = pod.status.iter().flat_map(|status| &status.conditions);
        let mut all = conditions.flatten();
        all.any(|held| held.type_ == "Ready" && held.status == "True")
    };
    wait::until(space.api::<Pod>(), name, "readiness", SOON, is_ready).await
}
