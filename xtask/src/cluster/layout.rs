//! Where each tier keeps its files, and what it remembers of one `up`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::cache;
use crate::cluster::net::Addresses;

/// The node's name, also its host name label.
pub const NODE: &str = "oarmaster";
/// The name of the pods' network, by which CNI marks what it makes.
pub const NETWORK: &str = "oarmaster";
/// The interface that carries the node's address.
pub const INTERFACE: &str = "oarmaster0";
/// The cgroup that holds every pod.
pub const CGROUP: &str = "/oarmaster";

/// The oldest Kubernetes that is supported.
pub const OLDEST: &str = "1.33";

/// How much of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// A node that runs pods; needs root.
    Node,
    /// API server and controllers only; needs no rights.
    Api,
}

/// The files of one tier.
#[derive(Debug, Clone)]
pub struct Layout {
    pub tier: Tier,
    pub state: PathBuf,
    /// Whether the API server writes down who asked for what.
    pub audit: bool,
    /// Whether the API server is as that of [`OLDEST`].
    pub oldest: bool,
}

impl Layout {
    /// The one place of a tier.
    pub fn of(tier: Tier) -> Result<Self> {
        let state = match tier {
            Tier::Node => PathBuf::from("/var/lib/oarmaster-cluster"),
            Tier::Api => cache::root()?.join("api-cluster"),
        };
        Ok(Self {
            tier,
            state,
            audit: false,
            oldest: false,
        })
    }

    /// The place of a cluster that is measured, beside the other API tier.
    pub fn measured() -> Result<Self> {
        Ok(Self {
            tier: Tier::Api,
            state: cache::root()?.join("bench-cluster"),
            audit: true,
            oldest: false,
        })
    }

    /// The name of the lock that `up` and `down` take.
    pub fn lock(&self) -> &'static str {
        match self.tier {
            Tier::Node => "cluster",
            Tier::Api => "api-cluster",
        }
    }

    pub fn run(&self) -> PathBuf {
        self.state.join("run")
    }

    pub fn pids(&self) -> PathBuf {
        self.run().join("pids")
    }

    pub fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    pub fn pki(&self) -> PathBuf {
        self.state.join("pki")
    }

    pub fn config(&self) -> PathBuf {
        self.state.join("config")
    }

    /// What the API server writes its audit log to.
    pub fn audit_log(&self) -> PathBuf {
        self.logs().join("audit.log")
    }

    pub fn audit_policy(&self) -> PathBuf {
        self.config().join("audit.yaml")
    }

    pub fn volumes(&self) -> PathBuf {
        self.state.join("volumes")
    }

    pub fn kubeconfigs(&self) -> PathBuf {
        self.state.join("kubeconfigs")
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfigs().join("admin")
    }

    pub fn containerd_socket(&self) -> PathBuf {
        self.run().join("containerd.sock")
    }

    fn record(&self) -> PathBuf {
        self.state.join("state.json")
    }

    /// What the last `up` recorded, if anything is left of one.
    pub fn load(&self) -> Result<Option<State>> {
        let path = self.record();
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).with_context(|| {
                format!(
                    "failed to read {}; run `cargo xtask cluster down`",
                    path.display()
                )
            })?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("failed to read {}", path.display())),
        }
    }

    /// Writes the record; replaces it in one step.
    pub fn save(&self, state: &State) -> Result<()> {
        let fresh = self.state.join("state.json.new");
        write(&fresh, &serde_json::to_vec_pretty(state)?)?;
        fs::rename(&fresh, self.record()).context("failed to name the cluster's record")
    }
}

/// What `down` and a second `up` must know of the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Which build of the programs runs.
    pub build: String,
    pub addresses: Addresses,
    pub ports: Ports,
    /// Folders outside our own that did not exist before: some programs have
    /// fixed paths.
    pub absent: Vec<PathBuf>,
    /// Kernel settings as they were: the kubelet and kube-proxy change some.
    pub sysctls: Vec<(PathBuf, String)>,
    /// Set when everything was ready.
    pub complete: bool,
}

/// The ports that are chosen at `up`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ports {
    pub api: u16,
    pub etcd: u16,
    pub kubelet: u16,
    pub proxy_health: u16,
    pub proxy_metrics: u16,
    pub policy_health: u16,
}

/// Writes a file readable by its owner only; keys and kubeconfigs are among
/// them.
pub fn write(path: &Path, content: &[u8]) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("failed to create {}", folder.display()))?;
    }
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content))
        .with_context(|| format!("failed to write {}", path.display()))
}
