//! Flags, each also an environment variable.

use clap::Parser;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The admission server of Oarmaster: stamps who creates a Task, and checks our objects.
///
/// It needs no rights. The API server calls it by the chart's MutatingWebhookConfiguration and ValidatingWebhookConfiguration.
#[derive(Debug, Parser)]
#[command(name = "oarmaster-webhook", version)]
pub struct Args {
    /// Where it is served, TLS: /tasks and /objects for the API server, /healthz for probes
    #[arg(
        long,
        value_name = "ADDR",
        env = "OARMASTER_ADDR",
        default_value = "0.0.0.0:8443"
    )]
    addr: SocketAddr,
    /// Directory with tls.crt and tls.key: the mounted Secret oarmaster-webhook-tls. A new certificate is used without a restart
    #[arg(
        long,
        value_name = "DIR",
        env = "OARMASTER_TLS_DIR",
        default_value = "/etc/oarmaster/tls"
    )]
    tls_dir: PathBuf,
}

/// What the process runs with.
#[derive(Debug)]
pub struct Config {
    /// Where it is served.
    pub addr: SocketAddr,
    /// Where the Secret is mounted.
    pub tls_dir: PathBuf,
}

impl Args {
    /// The configuration.
    #[must_use]
    pub fn resolve(self) -> Config {
        let Self { addr, tls_dir } = self;
        Config { addr, tls_dir }
    }
}
