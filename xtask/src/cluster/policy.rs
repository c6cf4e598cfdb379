//! Whether NetworkPolicies are enforced. Calico's plugin joins the pods in
//! either case; its agent Felix makes the rules, and is started and stopped
//! while the cluster runs, so that both kinds are one cluster with the same
//! objects in it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::cluster::args;
use crate::cluster::iptables::{self, Whose};
use crate::cluster::layout::{Layout, State};
use crate::cluster::process::{self, Program};
use crate::cluster::up::{NodeParts, Parts, kubectl, node_path, wait};
use crate::cmd;

/// The agent's name.
pub const AGENT: &str = "felix";

/// What becomes of NetworkPolicies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// They hold.
    Enforced,
    /// They are stored, and nothing heeds them.
    Ignored,
}

impl Policy {
    /// What holds in a cluster that runs.
    pub fn now(layout: &Layout) -> Self {
        match Program::new(layout, AGENT).running() {
            Some(_) => Self::Enforced,
            None => Self::Ignored,
        }
    }
}

/// The objects of Calico that plugin and agent read.
pub fn objects(layout: &Layout, parts: &Parts, node: &NodeParts) -> Result<()> {
    let definitions = node.calico.folder.join("crd");
    let mut create = kubectl(layout, parts);
    create.arg("create").arg("--filename").arg(&definitions);
    cmd::output(&mut create)?;
    let mut established = kubectl(layout, parts);
    established.args(["wait", "--for=condition=Established", "--timeout=20s"]);
    established.arg("--filename").arg(&definitions);
    cmd::output(&mut established)?;
    let text = crate::cluster::template::read("manifests/calico.yaml", &[])?;
    let mut create = kubectl(layout, parts);
    cmd::output_with(create.args(["create", "--filename=-"]), &text).map(drop)
}

/// Makes it so; answers whether anything had to be done.
pub fn switch(layout: &Layout, state: &State, node: &NodeParts, wanted: Policy) -> Result<bool> {
    let agent = Program::new(layout, AGENT);
    let now = Policy::now(layout);
    match wanted {
        Policy::Enforced if now == wanted => return Ok(false),
        Policy::Enforced => start(layout, state, node, &agent)?,
        Policy::Ignored => {
            process::stop(&agent.running().into_iter().collect::<Vec<_>>())?;
            agent.forget()?;
            // A stopped agent leaves its rules, and those of a crashed one are
            // there without it.
            iptables::clean(Whose::Agent)?;
        }
    }
    Ok(now != wanted)
}

fn start(layout: &Layout, state: &State, node: &NodeParts, agent: &Program) -> Result<()> {
    let kubeconfig = layout.kubeconfigs().join("calico");
    let env = [
        ("PATH", node_path(&node.runtime)),
        ("DATASTORE_TYPE", "kubernetes".to_owned()),
        ("KUBECONFIG", kubeconfig.display().to_string()),
    ];
    let args = args::felix(layout, state)?;
    agent.start(&node.calico.program(AGENT), &args, &env)?;
    wait(layout, "NetworkPolicy enforcement", || {
        ready(state.ports.policy_health)
    })
}

/// Asks the agent whether its rules are in the kernel.
fn ready(port: u16) -> Result<()> {
    let mut stream =
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("failed to reach felix")?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /readiness HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .context("failed to read felix's answer")?;
    let status = answer.lines().next().unwrap_or_default();
    if !status.contains(" 20") {
        bail!("felix is not ready: {status}");
    }
    Ok(())
}
