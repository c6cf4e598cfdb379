//! Who the gateway listens to.

use crate::support::{beside_others, create, pool, says, scripted};
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use oarmaster_e2e::gateway::{DATA, Gateway, READ, token};
use oarmaster_e2e::installed::{RELEASE, image};
use oarmaster_e2e::task::SOON;
use oarmaster_e2e::wait;
use serde_json::json;

const ASK: &str = r#"
import json, os, ssl, urllib.error, urllib.request
trust = ssl.create_default_context(cadata=os.environ["CA"])
def ask(token, path, body):
    request = urllib.request.Request(os.environ["GATEWAY"] + path, json.dumps(body).encode(), {"content-type": "application/json"})
    if token:
        request.add_header("authorization", "Bearer " + open(token).read())
    try:
        return urllib.request.urlopen(request, context=trust, timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code
call = {"model": "default", "messages": [{"role": "user", "content": "hi"}]}
print("none", ask(None, "/v1/chat/completions", call))
print("default", ask("/var/run/secrets/kubernetes.io/serviceaccount/token", "/v1/chat/completions", call))
print("ours", ask("/var/run/own/token", "/v1/chat/completions", call))
print("claim", ask("/var/run/own/token", "/task/v1/claim", {"assignment": "sha256:0", "nonce": "n"}))
"#;

#[tokio::test]
async fn a_pod_that_is_not_a_tasks_is_refused() -> Result<()> {
    beside_others("identity", async |space| {
        create(space, &[scripted(&[says("hello")]), pool()]).await?;
        let ca = Gateway::open(&space.cluster, DATA).await?.ca;
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "stranger"},
            "spec": {
                "restartPolicy": "Never",
                "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "ask",
                    "image": image("python"),
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python3", "-c", ASK],
                    "env": [
                        {"name": "CA", "value": ca},
                        {"name": "GATEWAY", "value": format!("https://oarmaster-gateway.{RELEASE}.svc:{DATA}")},
                    ],
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": "own", "mountPath": "/var/run/own"}],
                }],
                "volumes": [{"name": "own", "projected": {"sources": [
                    {"serviceAccountToken": {"audience": "oarmaster-gateway", "path": "token", "expirationSeconds": 600}},
                ]}}],
            },
        });
        create(space, &[pod]).await?;
        let pods = space.api::<Pod>();
        wait::until(pods.clone(), "stranger", "its end", SOON, |pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            matches!(phase, Some("Succeeded" | "Failed"))
        })
        .await?;
        let told = pods.logs("stranger", &LogParams::default()).await?;
        assert_eq!(told, "none 401\ndefault 401\nours 403\nclaim 403\n");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn reads_are_guarded_by_rbac() -> Result<()> {
    beside_others("reads", async |space| {
        let transcript = format!("/read/v1/namespaces/{}/tasks/work/transcript", space.name);
        let gateway = Gateway::open(&space.cluster, READ).await?;
        let ask = async |bearer: Option<String>| -> Result<u16> {
            let request = gateway.http.get(format!("{}{transcript}", gateway.url));
            let request = match bearer {
                Some(bearer) => request.bearer_auth(bearer),
                None => request,
            };
            Ok(request.send().await.context("no answer")?.status().as_u16())
        };
        assert_eq!(ask(None).await?, 401);
        assert_eq!(ask(Some("nonsense".to_owned())).await?, 401);
        let nobody = token(&space.cluster, &space.name, "default", None).await?;
        assert_eq!(ask(Some(nobody)).await?, 403);
        let foreign = token(
            &space.cluster,
            &space.name,
            "default",
            Some("oarmaster-gateway"),
        )
        .await?;
        assert_eq!(
            ask(Some(foreign)).await?,
            401,
            "a token for model calls reads nothing"
        );
        Ok(())
    })
    .await
}
