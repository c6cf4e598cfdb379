//! CA and certificates are replaced while a Task and a stream run.

use crate::support::{agent, allow_use, alone, create, key, mocked, pool, task};
use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::Api;
use oarmaster_e2e::forward::Forward;
use oarmaster_e2e::gateway::{DATA, Gateway, POD, token};
use oarmaster_e2e::installed::RELEASE;
use oarmaster_e2e::mock::{Gate, Mock, Reply};
use oarmaster_e2e::task::SOON;
use oarmaster_e2e::{Cluster, Space, kill, release, wait};
use serde_json::json;
use std::time::Duration;

/// The certificates that are to be trusted, once they satisfy `done`; the one that signs is the first.
async fn trusted(
    cluster: &Cluster,
    what: &str,
    done: impl Fn(&[String]) -> bool,
) -> Result<Vec<String>> {
    const END: &str = "-----END CERTIFICATE-----\n";
    let split = |map: &ConfigMap| -> Vec<String> {
        let bundle = map.data.as_ref().and_then(|data| data.get("ca.crt"));
        let all = bundle.map(String::as_str).unwrap_or_default();
        all.split_inclusive(END).map(str::to_owned).collect()
    };
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), RELEASE);
    let map = wait::until(maps, "oarmaster-gateway-ca", what, SOON, |map| {
        done(&split(map))
    })
    .await?;
    Ok(split(&map))
}

/// Whether a client that trusts this CA alone talks to the gateway, on a connection of its own. An answer of any kind will do.
async fn accepts(cluster: &Cluster, ca: &str) -> Result<bool> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), RELEASE);
    let forward = Forward::open(pods, POD, DATA).await?;
    let url = format!("https://localhost:{}", forward.address.port());
    match Gateway::at(&url, ca)?.http.get(&url).send().await {
        Ok(_) => Ok(true),
        Err(error) if format!("{error:?}").contains("UnknownIssuer") => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Waits until the gateway's certificate is one of this CA.
async fn serves(cluster: &Cluster, ca: &str) -> Result<()> {
    let served = async {
        while !accepts(cluster, ca).await? {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(SOON, served).await {
        Ok(served) => served,
        Err(_) => bail!("the gateway still has another CA's certificate"),
    }
}

/// A stream of a caller that is no Task: its first bytes have arrived.
async fn stream(space: &Space) -> Result<(Vec<u8>, Gateway, reqwest::Response)> {
    space
        .kubectl(&["create", "serviceaccount", "caller"])
        .await?;
    allow_use(space, "caller", "default").await?;
    let gateway = Gateway::open(&space.cluster, DATA).await?;
    let audience = Some("oarmaster-gateway");
    let bearer = token(&space.cluster, &space.name, "caller", audience).await?;
    let body = json!({
        "model": "default", "stream": true, "messages": [{"role": "user", "content": "Tell."}],
    });
    let request = gateway
        .http
        .post(format!("{}/v1/chat/completions", gateway.url));
    let request = request
        .bearer_auth(bearer)
        .timeout(Duration::from_secs(600));
    let mut answer = request.json(&body).send().await?.error_for_status()?;
    let first = answer.chunk().await?.context("the stream is empty")?;
    Ok((first.to_vec(), gateway, answer))
}

#[tokio::test]
async fn a_rotation_disturbs_nothing_and_ends_the_old_ca() -> Result<()> {
    alone("certificates", async |space| {
        let cluster = &space.cluster;
        let (tell, work) = (Gate::default(), Gate::default());
        let (telling, working) = (tell.clone(), work.clone());
        let mock = Mock::start(cluster, move |call| match call.turn {
            _ if call.last() == "Tell." => Reply::text("told").pausing(&telling),
            0 => Reply::python("print('worked')").after(&working),
            _ => Reply::text("done"),
        })
        .await?;
        let mut provider = mocked(&mock);
        provider["spec"]["timeouts"] = json!({"idle": "10m"});
        create(space, &[key("one"), provider, pool(), agent(&["RunCode"])]).await?;
        let old = trusted(cluster, "a CA", |all| all.len() == 1)
            .await?
            .remove(0);

        // Published, and not yet used: whatever starts from here on trusts both.
        let now = jiff::Timestamp::now().round(jiff::Unit::Second)?;
        let renew = format!("certificates.renewBefore={now}");
        release::upgrade(cluster, &[&renew]).await?;
        let both = trusted(cluster, "the next CA", |all| all.len() == 2).await?;
        assert_eq!(both[0], old, "the old one signs");
        let new = both[1].clone();
        create(space, &[task(&json!({}))]).await?;
        mock.until("the first call", SOON, |bill| bill.len() == 1)
            .await?;
        let (mut told, _gateway, mut rest) = stream(space).await?;

        // It signs, and the one before is still trusted for the 30 s.
        release::upgrade(cluster, &["certificates.caOverlap=30s"]).await?;
        trusted(cluster, "its turn", |all| all[0] == new).await?;
        serves(cluster, &new).await?;
        // It alone is trusted.
        let alone = trusted(cluster, "the end of the old CA", |all| all.len() == 1).await?;
        assert_eq!(alone, std::slice::from_ref(&new));
        ensure!(!accepts(cluster, &old).await?, "the old CA is refused");

        tell.open();
        while let Some(piece) = rest.chunk().await? {
            told.extend_from_slice(&piece);
        }
        let told = String::from_utf8(told)?;
        ensure!(
            told.contains("told") && told.ends_with("data: [DONE]\n\n"),
            "{told}"
        );

        // The pilot's connection is an old one: it has to make another, to a certificate of the new CA.
        let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), RELEASE);
        kill::container(&pods.get(POD).await?, "gateway")?;
        mock.until("the call once more", SOON, |bill| bill.len() == 3)
            .await?;
        work.open();
        let done = space.complete("work").await?;
        assert_eq!(done.status.and_then(|status| status.attempt), Some(1));

        // And who begins now knows the new one alone.
        let mut after = task(&json!({}));
        after["metadata"]["name"] = json!("after");
        create(space, &[after]).await?;
        space.complete("after").await?;

        let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), RELEASE);
        let issued = async || -> Result<Vec<_>> {
            let mut all = Vec::new();
            for name in ["oarmaster-ca", "oarmaster-gateway-tls"] {
                all.push(secrets.get(name).await?.data);
            }
            Ok(all)
        };
        let before = issued().await?;
        let defaults = ["certificates.renewBefore=", "certificates.caOverlap=216h"];
        release::upgrade(cluster, &defaults).await?;
        ensure!(issued().await? == before, "an upgrade issues nothing");
        Ok(())
    })
    .await
}
