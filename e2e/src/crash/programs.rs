//! The programs of this build, with the arguments that the chart gives them.

use super::files::Files;
use super::kubelet::logged;
use super::process::Daemon;
use crate::cluster::Cluster;
use crate::command::{Run, built};
use crate::installed::RELEASE;
use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::Api;
use std::net::TcpListener as Port;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};
use tokio::process::Command;

const PROGRAMS: [&str; 4] = [
    "oarmaster-operator",
    "oarmaster-gateway",
    "oarmaster-runner",
    "oarmaster-exec",
];

/// Builds the programs and copies them: somebody's next build must not change what runs.
pub(super) async fn programs(dir: &Path) -> Result<PathBuf> {
    let copied = dir.join("bin");
    std::fs::create_dir(&copied)?;
    for name in PROGRAMS {
        // By a process of its own: a child that is forked meanwhile would hold our open file, and exec of it would fail.
        let paths = [built(name).await?, copied.join(name)];
        Run::new("cp").args(&paths).stdout().await?;
    }
    Ok(copied)
}

pub(super) async fn operator(
    cluster: &Cluster,
    programs: &Path,
    files: &Files,
    kubeconfig: &Path,
    gateway: &str,
) -> Result<Daemon> {
    let api: Api<Deployment> = Api::namespaced(cluster.client.clone(), RELEASE);
    let chart = api.get("oarmaster-operator").await?;
    let template = chart.spec.map(|spec| spec.template);
    let args = rehomed(
        template,
        &[
            ("--gateway-url", gateway.to_owned()),
            ("--token-file", files.path("admin.token")),
            ("--ca-dir", files.ca_dir.display().to_string()),
            ("--metrics-addr", "127.0.0.1:0".to_owned()),
        ],
    )?;
    Ok(daemon(programs, files, "operator", kubeconfig, args))
}

pub(super) async fn gateway(
    cluster: &Cluster,
    programs: &Path,
    files: &Files,
    kubeconfig: &Path,
    ports: &Ports,
) -> Result<Daemon> {
    let api: Api<StatefulSet> = Api::namespaced(cluster.client.clone(), RELEASE);
    let chart = api.get("oarmaster-gateway").await?;
    let template = chart.spec.map(|spec| spec.template);
    let args = rehomed(
        template,
        &[
            ("--data-addr", format!("127.0.0.1:{}", ports.data)),
            ("--read-addr", format!("127.0.0.1:{}", ports.read)),
            ("--admin-addr", format!("127.0.0.1:{}", ports.admin)),
            ("--metrics-addr", "127.0.0.1:0".to_owned()),
            ("--data-dir", files.path("data")),
            ("--private-endpoints", "127.0.0.0/8".to_owned()),
        ],
    )?;
    Ok(daemon(programs, files, "gateway", kubeconfig, args))
}

/// The arguments that the chart gives a container, but for where things are.
fn rehomed(template: Option<PodTemplateSpec>, here: &[(&str, String)]) -> Result<Vec<String>> {
    let spec = template.and_then(|template| template.spec);
    let main = spec.and_then(|spec| spec.containers.into_iter().next());
    let mut args = main
        .and_then(|main| main.args)
        .context("the chart gives no arguments")?;
    for (flag, value) in here {
        let prefix = format!("{flag}=");
        args.retain(|arg| !arg.starts_with(&prefix));
        args.push(format!("{prefix}{value}"));
    }
    Ok(args)
}

fn daemon(
    programs: &Path,
    files: &Files,
    name: &'static str,
    kubeconfig: &Path,
    args: Vec<String>,
) -> Daemon {
    let program = programs.join(format!("oarmaster-{name}"));
    let log = PathBuf::from(files.path(&format!("{name}.log")));
    let kubeconfig = kubeconfig.to_owned();
    Daemon::start(move || {
        let mut command = Command::new(&program);
        command
            .args(&args)
            .env("KUBECONFIG", &kubeconfig)
            .env("POD_NAMESPACE", RELEASE)
            // The same name every time: a restarted container has its pod's name, and finds its lease.
            .env("OARMASTER_IDENTITY", "crash-matrix")
            .stdin(Stdio::null());
        logged(&mut command, &log);
        command
    })
}

/// Ports of this machine that are free. They stay the same over the gateway's restarts, as in a cluster.
pub(super) struct Ports {
    pub(super) data: u16,
    pub(super) read: u16,
    pub(super) admin: u16,
}

/// Below the ports that the kernel gives to connections (from 32768 on) and that Services have on nodes (from 30000 on): one of those could be
/// somebody's by the time that the gateway listens, which then ends.
const FIRST_PORT: u16 = 20_000;
/// Each process looks through so many, beginning somewhere else, and each of its rigs goes on where the one before stopped.
const SPREAD: u16 = 8_000;

impl Ports {
    pub(super) fn free() -> Result<Self> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let begin = u16::try_from(std::process::id() % u32::from(SPREAD))?;
        let next = || {
            let candidates = (0..SPREAD).map(|_| {
                let number = NEXT.fetch_add(1, Ordering::Relaxed);
                FIRST_PORT + (begin + number % SPREAD) % SPREAD
            });
            let mut free = candidates.filter(|port| Port::bind(("127.0.0.1", *port)).is_ok());
            free.next().context("no port is free")
        };
        Ok(Self {
            data: next()?,
            read: next()?,
            admin: next()?,
        })
    }
}

pub(super) fn localhost(port: u16) -> String {
    format!("https://localhost:{port}")
}
