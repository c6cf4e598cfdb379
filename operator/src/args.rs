//! Flags, each also an environment variable, and what they resolve to.

use crate::certs::Rules;
use clap::Parser;
use jiff::Timestamp;
use oarmaster_controllers::Settings;
use oarmaster_controllers::class::targets::{Places, servers};
use oarmaster_crds::GepDuration;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Least time that a step of the CA's rotation lasts: the gateway and its callers must have heard of the step before.
const LEAST_OVERLAP: Duration = Duration::from_secs(30);

/// Where a pod's DNS servers are.
const RESOLVER: &str = "/etc/resolv.conf";

/// The operator of Oarmaster: makes sandbox Jobs for Tasks and keeps every status true.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// Namespace of the installation.
    #[arg(long, env = "OARMASTER_NAMESPACE")]
    namespace: String,
    /// The gateway's admin API, like https://oarmaster-gateway.oarmaster-system.svc:8445.
    #[arg(long, env = "OARMASTER_GATEWAY_URL")]
    gateway_url: String,
    /// Name of the gateway's Service.
    #[arg(
        long,
        env = "OARMASTER_GATEWAY_SERVICE",
        default_value = "oarmaster-gateway"
    )]
    gateway_service: String,
    /// Image of pilot and sandbox supervisor.
    #[arg(long, env = "OARMASTER_RUNNER_IMAGE")]
    runner_image: String,
    /// Pool of the installation's namespace that `default` means where a namespace has none. Empty: there is none.
    #[arg(long, env = "OARMASTER_DEFAULT_POOL", default_value = "default")]
    default_pool: String,
    /// File with the token for the gateway's admin API.
    #[arg(
        long,
        env = "OARMASTER_TOKEN_FILE",
        default_value = "/var/run/oarmaster/token"
    )]
    token_file: PathBuf,
    /// Directory where the Secret oarmaster-ca is mounted.
    #[arg(long, env = "OARMASTER_CA_DIR", default_value = "/etc/oarmaster/ca")]
    ca_dir: PathBuf,
    /// Renews the certificates, and replaces the CA, that were issued before this time, like 2026-11-21T10:00:00Z.
    #[arg(long, env = "OARMASTER_RENEW_BEFORE", value_name = "TIME")]
    renew_before: Option<Timestamp>,
    /// How long the next CA is trusted before it signs, and the one before after that; longer than the longest Task, at least 30s.
    #[arg(long, env = "OARMASTER_CA_OVERLAP", default_value = "216h", value_name = "DURATION", value_parser = overlap)]
    ca_overlap: Duration,
    /// An address outside the cluster that answers: sandbox pods try it, to prove that their NetworkPolicy is enforced.
    #[arg(long, env = "OARMASTER_PROBE_INTERNET", default_value = "1.1.1.1:443")]
    probe_internet: SocketAddr,
    /// Where metrics and health are served.
    #[arg(long, env = "OARMASTER_METRICS_ADDR", default_value = "0.0.0.0:9090")]
    metrics_addr: SocketAddr,
    /// Name of this process, in the lease and in events. Default: the host name.
    #[arg(long, env = "OARMASTER_IDENTITY")]
    identity: Option<String>,
}

/// What the process runs with.
#[derive(Debug)]
pub struct Config {
    /// What the controllers run with.
    pub settings: Settings,
    /// The gateway's admin API.
    pub gateway_url: String,
    /// File with the token for it.
    pub token_file: PathBuf,
    /// Where the CA's Secret is mounted.
    pub ca_dir: PathBuf,
    /// When certificates are renewed.
    pub rules: Rules,
    /// Where metrics and health are served.
    pub metrics_addr: SocketAddr,
}

impl Args {
    /// Resolves what was left out.
    #[must_use]
    pub fn resolve(self) -> Config {
        let Self {
            namespace,
            gateway_url,
            gateway_service,
            runner_image,
            default_pool,
            token_file,
            ca_dir,
            renew_before,
            ca_overlap,
            probe_internet,
            metrics_addr,
            identity,
        } = self;
        let host = || std::env::var("HOSTNAME").ok();
        let identity = identity
            .or_else(host)
            .filter(|name| !name.is_empty())
            // Two processes without a name must not take each other for themselves.
            .unwrap_or_else(|| format!("oarmaster-operator-{}", std::process::id()));
        Config {
            settings: Settings {
                namespace,
                gateway_service,
                runner_image,
                default_pool: Some(default_pool).filter(|name| !name.is_empty()),
                places: Places {
                    internet: probe_internet,
                    // In a pod these are the cluster's. Without the file there is one place less to try.
                    dns: servers(&std::fs::read_to_string(RESOLVER).unwrap_or_default()),
                },
                identity,
            },
            gateway_url,
            token_file,
            ca_dir,
            rules: Rules {
                renew_before: renew_before.map(Timestamp::as_second),
                overlap: i64::try_from(ca_overlap.as_secs()).unwrap_or(i64::MAX),
            },
            metrics_addr,
        }
    }
}

fn overlap(text: &str) -> Result<Duration, String> {
    let given = GepDuration::new(text)
        .get()
        .map_err(|error| error.to_string())?;
    if given < LEAST_OVERLAP {
        return Err(format!("it is at least {}s", LEAST_OVERLAP.as_secs()));
    }
    Ok(given)
}
