//! Which cluster a test talks to, and how.

use crate::command::{self, Output, Run};
use anyhow::{Context as _, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::Mutex;

/// A cluster: its kubeconfig, and a client with the rights of that kubeconfig.
#[derive(Clone)]
pub struct Cluster {
    /// The kubeconfig, for programs that take one.
    pub kubeconfig: PathBuf,
    /// A client.
    pub client: Client,
    config: Config,
    path: OsString,
}

impl Cluster {
    /// A cluster that runs pods: `OARMASTER_E2E_KUBECONFIG`, else `KUBECONFIG`, else the local cluster of `cargo xtask cluster up`.
    ///
    /// # Errors
    /// When there is none, or its kubeconfig cannot be read.
    pub async fn node() -> Result<Self> {
        let named = named("OARMASTER_E2E_KUBECONFIG").or_else(|| named("KUBECONFIG"));
        Self::open(named, "").await
    }

    /// An API server, with or without nodes: `OARMASTER_API_KUBECONFIG`, else the local one of `cargo xtask cluster up --api-only`.
    ///
    /// # Errors
    /// When there is none, or its kubeconfig cannot be read.
    pub async fn api() -> Result<Self> {
        Self::open(named("OARMASTER_API_KUBECONFIG"), "--api-only").await
    }

    async fn open(kubeconfig: Option<PathBuf>, local: &'static str) -> Result<Self> {
        crypto();
        let own = std::env::var_os("PATH").unwrap_or_default();
        let (kubeconfig, path) = match kubeconfig {
            Some(kubeconfig) if has(&own, "kubectl") && has(&own, "helm") => (kubeconfig, own),
            None => environment(local).await?,
            // The kubeconfig may be that of the local cluster, and its programs nowhere else.
            Some(kubeconfig) => match environment(local).await {
                Ok((_, path)) => (kubeconfig, path),
                Err(_) => (kubeconfig, own),
            },
        };
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
            path,
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

    /// A program that finds this cluster in its environment, and kubectl and helm on its PATH.
    #[must_use]
    pub fn run(&self, program: &str) -> Run {
        Run::new(program)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("PATH", &self.path)
    }

    /// Runs `kubectl` with this cluster's kubeconfig.
    ///
    /// # Errors
    /// When it cannot be started or does not end within two minutes. A non-zero exit code is no error: see [`Output`].
    pub async fn kubectl<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Output> {
        self.run("kubectl").args(args).output().await
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

fn has(path: &OsStr, program: &str) -> bool {
    std::env::split_paths(path).any(|folder| folder.join(program).is_file())
}

/// Kubeconfig and search path of a local cluster. Asked for once: cargo takes a while to find that there is nothing to build.
async fn environment(tier: &'static str) -> Result<(PathBuf, OsString)> {
    static KNOWN: Mutex<BTreeMap<&str, (PathBuf, OsString)>> = Mutex::const_new(BTreeMap::new());
    let mut known = KNOWN.lock().await;
    if let Some(made) = known.get(tier) {
        return Ok(made.clone());
    }
    let made = ask(tier).await?;
    known.insert(tier, made.clone());
    Ok(made)
}

/// The shell commands that `cargo xtask cluster env` prints, carried out.
async fn ask(tier: &str) -> Result<(PathBuf, OsString)> {
    let mut args = vec!["cluster", "env"];
    args.extend(Some(tier).filter(|tier| !tier.is_empty()));
    let out = command::xtask(&args).output().await?;
    if out.code != Some(0) {
        bail!(
            "no cluster: run `cargo xtask cluster up {tier}` or set KUBECONFIG\n{}",
            out.text()
        );
    }
    let script = format!("{}\nprintf '%s\\n' \"$KUBECONFIG\" \"$PATH\"", out.stdout);
    let told = Run::new("sh").args(&["-c", &script]).stdout().await?;
    let mut lines = told.lines();
    let kubeconfig = lines.next().context("no KUBECONFIG")?;
    let path = lines.next().context("no PATH")?;
    Ok((kubeconfig.into(), path.into()))
}
