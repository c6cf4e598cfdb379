//! What the processes read: kubeconfigs, tokens, mounted Secrets.

use crate::cluster::Cluster;
use crate::gateway::{token, token_of};
use crate::installed::RELEASE;
use crate::proxy::Identity;
use anyhow::Result;
use k8s_openapi::api::core::v1::Secret;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use oarmaster_protocol::ADMIN_AUDIENCE;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// What the processes read.
pub(super) struct Files {
    pub(super) server: String,
    pub(super) authorities: Vec<reqwest::Certificate>,
    pub(super) base: Kubeconfig,
    pub(super) dir: PathBuf,
    pub(super) own_ca: PathBuf,
    pub(super) admin_token: String,
    pub(super) ca_dir: PathBuf,
    pub(super) pods: PathBuf,
}

impl Files {
    pub(super) fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    pub(super) async fn write(cluster: &Cluster, dir: &Path, own: &Identity) -> Result<Self> {
        let base = Kubeconfig::read_from(&cluster.kubeconfig)?;
        let context = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(base.clone(), &context).await?;
        let authorities = config.root_cert.iter().flatten();
        let authorities = authorities.map(|der| reqwest::Certificate::from_der(der));
        let own_ca = dir.join("own-ca.crt");
        std::fs::write(&own_ca, &own.certificate)?;
        for name in ["ca", "pods", "data"] {
            std::fs::create_dir(dir.join(name))?;
            std::fs::set_permissions(dir.join(name), Permissions::from_mode(0o755))?;
        }
        for (name, account) in [
            ("operator", "oarmaster-operator"),
            ("gateway", "oarmaster-gateway"),
        ] {
            let token = token(cluster, RELEASE, account, None).await?;
            std::fs::write(dir.join(format!("{name}.token")), token)?;
        }
        let admin_token = admin_token(cluster).await?;
        std::fs::write(dir.join("admin.token"), &admin_token)?;
        Ok(Self {
            server: config.cluster_url.to_string(),
            authorities: authorities.collect::<Result<_, _>>()?,
            base,
            dir: dir.to_owned(),
            own_ca,
            admin_token,
            ca_dir: dir.join("ca"),
            pods: dir.join("pods"),
        })
    }

    /// The kubeconfig of `operator` or `gateway`, by way of a proxy or direct, with the rights of the chart's ServiceAccount.
    pub(super) fn kubeconfig(&self, name: &str, through: Option<&str>) -> Result<PathBuf> {
        let mut config = self.base.clone();
        for user in config.auth_infos.iter_mut() {
            user.auth_info = Some(kube::config::AuthInfo {
                token_file: Some(self.dir.join(format!("{name}.token")).display().to_string()),
                ..kube::config::AuthInfo::default()
            });
        }
        for cluster in config
            .clusters
            .iter_mut()
            .filter_map(|held| held.cluster.as_mut())
        {
            if let Some(url) = through {
                cluster.server = Some(url.to_owned());
                cluster.certificate_authority = Some(self.own_ca.display().to_string());
                cluster.certificate_authority_data = None;
            }
        }
        let path = self.dir.join(format!("{name}.kubeconfig"));
        std::fs::write(&path, serde_json::to_vec(&config)?)?;
        Ok(path)
    }
}

/// What the kubelet does for the operator's volume: the Secret's keys as files.
pub(super) async fn mount(cluster: &Cluster, dir: &Path) -> Result<()> {
    let api: Api<Secret> = Api::namespaced(cluster.client.clone(), RELEASE);
    let secret = api.get("oarmaster-ca").await?;
    for (name, value) in secret.data.unwrap_or_default() {
        std::fs::write(dir.join(name), value.0)?;
    }
    Ok(())
}

/// A kubelet's rights: it alone gets tokens that are bound to pods, and the operator's.
pub(super) fn kubelet_client(cluster: &Cluster) -> Result<Client> {
    cluster.acting_as("crash-kubelet", &["system:nodes", "system:masters"])
}

async fn admin_token(cluster: &Cluster) -> Result<String> {
    let client = kubelet_client(cluster)?;
    let (account, audience) = ("oarmaster-operator", Some(ADMIN_AUDIENCE));
    token_of(&client, RELEASE, account, audience, None).await
}
