//! The running gateway, as its callers see it: by port-forward, TLS verified with the CA that it publishes.

use crate::cluster::Cluster;
use crate::forward::Forward;
use crate::installed::RELEASE;
use anyhow::{Context as _, Result, bail};
use futures::TryStreamExt as _;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt as _};
use oarmaster_protocol::admin::TaskUsage;
use oarmaster_protocol::journal::{Artifact, Body, Record};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Name of the gateway's pod.
pub const POD: &str = "oarmaster-gateway-0";
/// The listener for model calls.
pub const DATA: u16 = 8443;
/// The listener for reads.
pub const READ: u16 = 8444;

/// One listener of the gateway, and an HTTP client that trusts its certificate.
pub struct Gateway {
    /// Its URL on this machine.
    pub url: String,
    /// The client.
    pub http: reqwest::Client,
    /// The CA, as PEM.
    pub ca: String,
    _forward: Option<Forward>,
}

impl Gateway {
    /// A listener that this machine reaches by itself.
    ///
    /// # Errors
    /// When the CA cannot be used.
    pub fn at(url: &str, ca: &str) -> Result<Self> {
        let http = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(ca.as_bytes())?])
            .timeout(Duration::from_secs(30))
            .build()?;
        Ok(Self {
            url: url.to_owned(),
            http,
            ca: ca.to_owned(),
            _forward: None,
        })
    }

    /// Opens a listener.
    ///
    /// # Errors
    /// When the CA is not published, or no local port can be opened.
    pub async fn open(cluster: &Cluster, port: u16) -> Result<Self> {
        let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), RELEASE);
        let ca = maps
            .get("oarmaster-gateway-ca")
            .await?
            .data
            .and_then(|mut data| data.remove("ca.crt"))
            .context("ConfigMap oarmaster-gateway-ca has no ca.crt")?;
        let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), RELEASE);
        let forward = Forward::open(pods, POD, port).await?;
        let url = format!("https://localhost:{}", forward.address.port());
        Ok(Self {
            _forward: Some(forward),
            ..Self::at(&url, &ca)?
        })
    }
}

/// A token of a ServiceAccount, for an audience (none: the API server's own).
///
/// # Errors
/// When the API server refuses.
pub async fn token(
    cluster: &Cluster,
    namespace: &str,
    account: &str,
    audience: Option<&str>,
) -> Result<String> {
    token_of(&cluster.client, namespace, account, audience, None).await
}

/// As [`token`], asked for with another client, and for a pod that it ends with.
///
/// # Errors
/// When the API server refuses.
pub async fn token_of(
    client: &Client,
    namespace: &str,
    account: &str,
    audience: Option<&str>,
    pod: Option<&Pod>,
) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: audience.map(str::to_owned).into_iter().collect(),
            bound_object_ref: pod.map(|pod| BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: Some(pod.name_any()),
                uid: pod.uid(),
            }),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let made = accounts
        .create_subresource::<TokenRequest, TokenRequest>(
            "token",
            account,
            &PostParams::default(),
            &request,
        )
        .await
        .with_context(|| format!("failed to get a token of {namespace}/{account}"))?;
    Ok(made.status.context("a token request without status")?.token)
}

/// The read API, as one ServiceAccount.
pub struct Reader {
    gateway: Gateway,
    namespace: String,
    token: String,
}

impl Reader {
    /// As a ServiceAccount of `namespace`.
    ///
    /// # Errors
    /// As [`Gateway::open`] and [`token`].
    pub async fn open(cluster: &Cluster, namespace: &str, account: &str) -> Result<Self> {
        Ok(Self {
            gateway: Gateway::open(cluster, READ).await?,
            namespace: namespace.to_owned(),
            token: token(cluster, namespace, account, None).await?,
        })
    }

    /// Through a listener that is open already, with a token of an identity in `namespace`.
    #[must_use]
    pub fn of(gateway: Gateway, namespace: &str, token: String) -> Self {
        Self {
            gateway,
            namespace: namespace.to_owned(),
            token,
        }
    }

    /// What the gateway answers for `what` of a Task.
    ///
    /// # Errors
    /// When there is no answer, or it is no success.
    pub async fn bytes(&self, task: &str, what: &str) -> Result<Vec<u8>> {
        let Self {
            gateway,
            namespace,
            token,
        } = self;
        let url = format!(
            "{}/read/v1/namespaces/{namespace}/tasks/{task}/{what}",
            gateway.url
        );
        let answer = gateway.http.get(&url).bearer_auth(token).send().await?;
        let status = answer.status();
        let body = answer.bytes().await?;
        if !status.is_success() {
            bail!("{url}: {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(body.to_vec())
    }

    async fn json<T: DeserializeOwned>(&self, task: &str, what: &str) -> Result<T> {
        let bytes = self.bytes(task, what).await?;
        serde_json::from_slice(&bytes).with_context(|| format!("failed to read {what} of {task}"))
    }

    /// The journal of a Task.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn transcript(&self, task: &str) -> Result<Vec<Record>> {
        let bytes = self.bytes(task, "transcript").await?;
        let lines = bytes.split(|&byte| byte == b'\n');
        lines
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).context("failed to read a record"))
            .collect()
    }

    /// Follows the journal of a Task that runs until a record satisfies `wanted`.
    ///
    /// # Errors
    /// When the attempt ends before that, or 60 s pass.
    pub async fn until(
        &self,
        task: &str,
        what: &str,
        wanted: impl Fn(&Body) -> bool,
    ) -> Result<()> {
        let Self {
            gateway,
            namespace,
            token,
        } = self;
        let url = format!(
            "{}/read/v1/namespaces/{namespace}/tasks/{task}/transcript?follow=true",
            gateway.url
        );
        let request = gateway.http.get(&url).bearer_auth(token);
        let answer = request.timeout(Duration::from_secs(60)).send().await?;
        let mut lines = Vec::new();
        let mut pieces = answer.error_for_status()?.bytes_stream();
        while let Some(piece) = pieces
            .try_next()
            .await
            .with_context(|| format!("waiting for {what}"))?
        {
            lines.extend_from_slice(&piece);
            while let Some(end) = lines.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = lines.drain(..=end).collect();
                let record: Record = serde_json::from_slice(&line)?;
                if wanted(&record.body) {
                    return Ok(());
                }
            }
        }
        bail!("the transcript of {task} ended before {what}")
    }

    /// What a Task used.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn usage(&self, task: &str) -> Result<TaskUsage> {
        self.json(task, "usage").await
    }

    /// The artifacts of a Task.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn artifacts(&self, task: &str) -> Result<Vec<Artifact>> {
        self.json(task, "artifacts").await
    }
}
