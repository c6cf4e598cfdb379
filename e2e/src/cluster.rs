//! Which cluster a test talks to, and how.

use crate::command::{self, Output};
use anyhow::{Context as _, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A cluster: its kubeconfig, and a client with the rights of that kubeconfig.
#[derive(Clone)]
pub struct Cluster {
    /// The kubeconfig, for programs that take one.
    pub kubeconfig: PathBuf,
    /// A client.
    pub client: Client,
    config: Config,
}

impl Cluster {
    /// A cluster that runs pods: `OARMASTER_E2E_KUBECONFIG`, else `KUBECONFIG`, else the local cluster of `cargo xtask cluster up`.
    ///
    /// # Errors
    /// When there is none, or its kubeconfig cannot be read.
    pub async fn node() -> Result<Self> {
        let named = named("OARMASTER_E2E_KUBECONFIG").or_else(|| named("KUBECONFIG"));
        let path = match named {
            Some(path) => path,
            None => local(&["cluster", "kubeconfig"]).await?,
        };
        Self::open(path).await
    }

    /// An API server, with or without nodes: `OARMASTER_API_KUBECONFIG`, else the cluster of [`Cluster::node`].
    ///
    /// # Errors
    /// When there is none, or its kubeconfig cannot be read.
    pub async fn api() -> Result<Self> {
        match named("OARMASTER_API_KUBECONFIG") {
            Some(path) => Self::open(path).await,
            None => Self::node().await,
        }
    }

    async fn open(kubeconfig: PathBuf) -> Result<Self> {
        crypto();
        let read = Kubeconfig::read_from(&kubeconfig)
            .with_context(|| format!("failed to read kubeconfig {}", kubeconfig.display()))?;
        let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
            .await
            .with_context(|| format!("failed to use kubeconfig {}", kubeconfig.display()))?;
        let client = client(config.clone())?;
        Ok(Self {
            kubeconfig,
            client,
            config,
        })
    }

    /// A client that acts as somebody else, with exactly that identity's rights.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn acting_as(&self, user: &str, groups: &[&str]) -> Result<Client> {
        let mut config = self.config.clone();
        config.auth_info.impersonate = Some(user.to_owned());
        config.auth_info.impersonate_groups =
            Some(groups.iter().map(|&group| group.to_owned()).collect());
        client(config)
    }

    /// Runs `kubectl` with this cluster's kubeconfig.
    ///
    /// # Errors
    /// When it cannot be started or does not end within two minutes. A non-zero exit code is no error: see [`Output`].
    pub async fn kubectl<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Output> {
        command::Run::new("kubectl")
            .env("KUBECONFIG", &self.kubeconfig)
            .args(args)
            .output()
            .await
    }
}

/// rustls needs one provider for the process; a second call changes nothing.
pub fn crypto() {
    // The error says that there is one already, which is what is wanted.
    drop(rustls::crypto::ring::default_provider().install_default());
}

fn client(mut config: Config) -> Result<Client> {
    // Watches are ended by their own deadline; anything else must answer soon.
    config.connect_timeout = Some(Duration::from_secs(10));
    config.read_timeout = Some(Duration::from_secs(300));
    Client::try_from(config).context("failed to make a Kubernetes client")
}

/// The root of the checkout.
#[must_use]
pub fn checkout() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

fn named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// The path that `cargo xtask` prints.
async fn local(args: &[&str]) -> Result<PathBuf> {
    let out = command::xtask(args).output().await?;
    let path = out.stdout.trim();
    if out.code != Some(0) || path.is_empty() {
        bail!(
            "no cluster: set KUBECONFIG or run `cargo xtask cluster up`\n{}",
            out.text()
        );
    }
    Ok(PathBuf::from(path))
}
