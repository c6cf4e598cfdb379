//! Everything that one matrix runs on. Dropped, it leaves no process behind.

use super::files::{Files, kubelet_client, mount};
use super::kubelet::{Kubelet, Settings, logged};
use super::process::Daemon;
use super::programs::{Ports, gateway, localhost, operator, programs};
use crate::cluster::{Cluster, crypto};
use crate::gateway::{Gateway, Reader, token, token_of};
use crate::installed::RELEASE;
use crate::proxy::{Identity, Proxy, Rule, Switch, Upstream};
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use kube::api::ListParams;
use oarmaster_protocol::admin::AttemptReport;
use serde::de::DeserializeOwned;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;

/// How long a step may take on a machine that is busy with a build.
const PATIENCE: Duration = Duration::from_secs(60);

/// Operator, gateway and kubelet, with a proxy before each server that they talk to.
pub struct Rig {
    /// The API server.
    pub cluster: Cluster,
    /// The operator.
    pub operator: Arc<Daemon>,
    /// The gateway.
    pub gateway: Arc<Daemon>,
    /// The kubelet.
    pub kubelet: Arc<Kubelet>,
    /// What the operator asks of the API server and of the gateway is under this.
    pub asked: Switch,
    admin: Gateway,
    admin_token: String,
    read: String,
    data: String,
    ca: String,
    programs: PathBuf,
    dir: TempDir,
    _proxies: [Proxy; 2],
}

impl Rig {
    /// Starts everything. The charts are installed already.
    ///
    /// # Errors
    /// When something of it does not come up.
    pub async fn start(cluster: Cluster) -> Result<Self> {
        Self::begin(cluster, true).await
    }

    /// The same, with an operator that asks both servers itself: a proxy has a new connection for each request, which is what is measured then.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn direct(cluster: Cluster) -> Result<Self> {
        Self::begin(cluster, false).await
    }

    async fn begin(cluster: Cluster, proxied: bool) -> Result<Self> {
        crypto();
        let dir = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o755))
            .tempdir()?;
        let programs = programs(dir.path()).await?;
        let asked = Switch::new(Rule::idle());
        let own = Identity::make()?;
        let files = Files::write(&cluster, dir.path(), &own).await?;

        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let before_api = format!("https://localhost:{}", listener.local_addr()?.port());
        let upstream = Upstream::new(&files.server, files.authorities.clone())?;
        let api = Proxy::start(&own, listener, upstream, asked.clone())?;
        let direct = files.kubeconfig("gateway", None)?;
        let before_gateway = TcpListener::bind(("127.0.0.1", 0)).await?;
        let ports = Ports::free()?;
        let (through, url) = if proxied {
            let port = before_gateway.local_addr()?.port();
            let through = files.kubeconfig("operator", Some(&before_api))?;
            (through, format!("https://localhost:{port}"))
        } else {
            let direct = files.kubeconfig("operator", None)?;
            (direct, localhost(ports.admin))
        };
        mount(&cluster, &files.ca_dir).await?;
        let operator = operator(&cluster, &programs, &files, &through, &url).await?;
        let leaf = leaf(&cluster).await?;
        mount(&cluster, &files.ca_dir).await?;

        let gateway = gateway(&cluster, &programs, &files, &direct, &ports).await?;
        let authority = || reqwest::Certificate::from_pem(leaf.ca.as_bytes());
        let upstream = Upstream::new(&localhost(ports.admin), vec![authority()?])?;
        let proxy = Proxy::start(&leaf.identity, before_gateway, upstream, asked.clone())?;
        let kubelet = Kubelet::start(Settings {
            client: kubelet_client(&cluster)?,
            runner: programs.join("oarmaster-runner"),
            exec: programs.join("oarmaster-exec"),
            dir: files.pods.clone(),
            identity: leaf.identity.clone(),
            gateway: Upstream::new(&localhost(ports.data), vec![authority()?])?,
        });
        Ok(Self {
            admin: Gateway::at(&localhost(ports.admin), &leaf.ca)?,
            admin_token: files.admin_token.clone(),
            read: localhost(ports.read),
            data: localhost(ports.data),
            ca: leaf.ca,
            programs,
            cluster,
            operator: Arc::new(operator),
            gateway: Arc::new(gateway),
            kubelet: Arc::new(kubelet),
            asked,
            dir,
            _proxies: [api, proxy],
        })
    }

    /// Where shared pilots ask for work, under the name of a pod of their Deployment.
    ///
    /// # Errors
    /// When there is no such pod.
    pub async fn door(&self) -> Result<Door> {
        let client = kubelet_client(&self.cluster)?;
        let pods: Api<Pod> = Api::namespaced(client.clone(), RELEASE);
        let pods = pods.list(&ListParams::default()).await?.items;
        let account = "oarmaster-pilots";
        let theirs = |pod: &&Pod| {
            let spec = pod.spec.as_ref();
            spec.and_then(|spec| spec.service_account_name.as_deref()) == Some(account)
        };
        let pod = pods
            .iter()
            .find(theirs)
            .context("no pod of the Deployment of the shared pilots")?;
        let audience = Some(oarmaster_protocol::AUDIENCE);
        Ok(Door {
            url: self.data.clone(),
            ca: self.ca.clone(),
            token: token_of(&client, RELEASE, account, audience, Some(pod)).await?,
        })
    }

    /// A process of shared pilots for so many attempts at once.
    ///
    /// # Errors
    /// As [`Self::door`].
    pub async fn pilots(&self, slots: u16) -> Result<Daemon> {
        let door = self.door().await?;
        let ca = self.dir.path().join("pilots-ca.crt");
        std::fs::write(&ca, &door.ca)?;
        let token = self.dir.path().join("pilots.token");
        std::fs::write(&token, &door.token)?;
        let (program, log) = (
            self.programs.join("oarmaster-runner"),
            self.dir.path().join("pilots.log"),
        );
        Ok(Daemon::start(move || {
            let mut command = Command::new(&program);
            command
                .args([
                    "pilots",
                    "--gateway",
                    &door.url,
                    "--slots",
                    &slots.to_string(),
                ])
                .arg("--token-file")
                .arg(&token)
                .arg("--ca-file")
                .arg(&ca)
                .stdin(Stdio::null());
            logged(&mut command, &log);
            command
        }))
    }

    /// What the gateway knows of an attempt, as it tells the operator.
    ///
    /// # Errors
    /// When it does not answer, or knows no such attempt.
    pub async fn report(&self, uid: &str, attempt: u32) -> Result<AttemptReport> {
        self.ask(&format!("/admin/v1/attempts/{uid}/{attempt}"))
            .await
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let request = self.admin.http.get(format!("{}{path}", self.admin.url));
        let answer = request.bearer_auth(&self.admin_token).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    /// The read API as an identity of `namespace`.
    ///
    /// # Errors
    /// When its token cannot be had.
    pub async fn reader(&self, namespace: &str, account: &str) -> Result<Reader> {
        let token = token(&self.cluster, namespace, account, None).await?;
        let gateway = Gateway::at(&self.read, &self.admin.ca)?;
        Ok(Reader::of(gateway, namespace, token))
    }

    /// The last lines that operator and gateway wrote, for the one who reads a failure.
    #[must_use]
    pub fn logs(&self) -> String {
        let last = |name: &str| {
            let text = std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let from = lines.len().saturating_sub(60);
            format!(
                "--- {name} ---\n{}\n",
                lines.get(from..).unwrap_or_default().join("\n")
            )
        };
        let kubelet = self.kubelet.failed().join("\n");
        format!(
            "{}{}--- kubelet ---\n{kubelet}",
            last("operator.log"),
            last("gateway.log") + &last("pilots.log")
        )
    }
}

/// Where shared pilots ask for work.
pub struct Door {
    /// The gateway's data listener.
    pub url: String,
    /// The CA, as PEM.
    pub ca: String,
    /// What says that they are pilots.
    pub token: String,
}

/// The gateway's certificate.
struct Leaf {
    identity: Identity,
    ca: String,
}

/// Waits until the operator has issued the gateway's certificate.
async fn leaf(cluster: &Cluster) -> Result<Leaf> {
    let issued = |secret: &Secret| {
        let data = secret.data.as_ref();
        data.is_some_and(|data| data.contains_key("tls.key"))
    };
    let api: Api<Secret> = Api::namespaced(cluster.client.clone(), RELEASE);
    let what = "the operator issues its certificate";
    let found = crate::wait::until(api, "oarmaster-gateway-tls", what, PATIENCE, issued).await?;
    let mut data = found.data.unwrap_or_default();
    let mut text = |name: &str| -> Result<String> {
        let value = data
            .remove(name)
            .with_context(|| format!("the Secret has no {name}"))?;
        Ok(String::from_utf8(value.0)?)
    };
    Ok(Leaf {
        identity: Identity {
            certificate: text("tls.crt")?,
            key: text("tls.key")?,
        },
        ca: text("ca.crt")?,
    })
}
