//! Brings a tier up: every step in order, each finished when what it started
//! answers.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::cache;
use crate::cluster::debian::{self, Runtime};
use crate::cluster::go::{self, Built};
use crate::cluster::layout::{
    CGROUP, INTERFACE, Layout, NETWORK, NODE, OLDEST, Ports, State, Tier, write,
};
use crate::cluster::net::{self, Addresses};
use crate::cluster::policy::{self, Policy};
use crate::cluster::process::Program;
use crate::cluster::{addons, args, cgroups, down, iptables, load, pki, template};
use crate::cmd::{self, Progress};

/// How long a part may take to answer on a machine that is busy with builds.
const PATIENCE: Duration = Duration::from_secs(120);

/// Programs that are built or downloaded before anything starts.
pub struct Parts {
    pub kubernetes: Built,
    /// Only where pods run.
    pub node: Option<NodeParts>,
}

/// What a node needs besides Kubernetes.
pub struct NodeParts {
    pub coredns: Built,
    pub calico: Built,
    pub runtime: Runtime,
}

impl Parts {
    /// Names the builds of all programs that run for a cluster's whole life.
    fn key(&self, layout: &Layout) -> String {
        let key = match &self.node {
            None => self.kubernetes.key.clone(),
            Some(node) => format!("{}-{}", self.kubernetes.key, node.calico.key),
        };
        match layout.oldest {
            true => format!("{key}-{OLDEST}"),
            false => key,
        }
    }
}

/// Builds and downloads what the tier needs.
pub fn parts(tier: Tier) -> Result<Parts> {
    let kubernetes = go::kubernetes()?;
    let node = match tier {
        Tier::Api => None,
        Tier::Node => Some(NodeParts {
            coredns: go::coredns()?,
            calico: go::calico()?,
            runtime: Runtime::get()?,
        }),
    };
    Ok(Parts { kubernetes, node })
}

/// Makes the tier run. Does nothing to one that runs already and was built
/// from the same sources, but to enforce policies or not; anything else that
/// is left is removed first.
pub fn up(layout: &Layout, policy: Policy) -> Result<()> {
    let mut progress = Progress::start();
    if layout.tier == Tier::Node {
        let installed = debian::install_tools()?;
        if !installed.is_empty() {
            progress.done(&format!("installed {}", installed.join(", ")));
        }
    }
    let parts = parts(layout.tier)?;
    progress.done("programs are there");
    let _lock = cache::lock(layout.lock())?;
    if let Some(state) = healthy(layout, &parts)? {
        if let Some(node) = &parts.node {
            addons::apply(layout, &state, &parts)?;
            if policy::switch(layout, &state, node, policy)? {
                progress.done(match policy {
                    Policy::Enforced => "NetworkPolicies are enforced from now on",
                    Policy::Ignored => "NetworkPolicies are not enforced any more",
                });
            }
        }
        progress.done("already up");
        return Ok(());
    }
    if down::remains(layout)? {
        down::down(layout)?;
        progress.done("removed what was left");
    }
    start(layout, &parts, policy, &mut progress)
}

/// The record of a complete cluster of this build whose programs all run and
/// whose API server answers. The policy agent is left out: it can be started
/// by itself.
fn healthy(layout: &Layout, parts: &Parts) -> Result<Option<State>> {
    let Ok(Some(state)) = layout.load() else {
        return Ok(None);
    };
    let mut programs = Program::all(layout)?;
    programs.retain(|program| program.name() != policy::AGENT);
    let same = state.complete && state.build == parts.key(layout);
    if !same || programs.is_empty() || programs.iter().any(|p| p.running().is_none()) {
        return Ok(None);
    }
    // A machine that is busy with a build makes it slow, which is no reason to
    // throw its objects away.
    let answers = wait(layout, "the API server", || {
        cmd::output(kubectl(layout, parts).args(["get", "--raw=/readyz"])).map(drop)
    });
    Ok(answers.is_ok().then_some(state))
}

fn start(layout: &Layout, parts: &Parts, policy: Policy, progress: &mut Progress) -> Result<()> {
    if layout.tier == Tier::Node && iptables::present() {
        bail!(
            "this machine has chains KUBE-* or cali-* that are not ours: another Kubernetes runs here. Set \
             KUBECONFIG to use it; if it is gone, remove its chains or restart the machine"
        );
    }
    fs::create_dir_all(&layout.state)
        .and_then(|()| fs::set_permissions(&layout.state, fs::Permissions::from_mode(0o711)))
        .with_context(|| format!("failed to create {}", layout.state.display()))?;
    let mut state = record(layout, parts)?;
    layout.save(&state)?;
    pki::write_all(layout, &state)?;
    if layout.audit {
        let policy = template::read("config/audit.yaml", &[])?;
        write(&layout.audit_policy(), policy.as_bytes())?;
    }

    if let Some(node) = &parts.node {
        interface(&state)?;
        iptables::masquerade(state.addresses.pods)?;
        cgroups::make(CGROUP)?;
        containerd(layout, &state, node)?;
    }
    let run = |name: &str, args: Vec<String>| -> Result<()> {
        Program::new(layout, name).start(&parts.kubernetes.program(name), &args, &[])
    };
    run("etcd", args::etcd(layout, &state))?;
    run("kube-apiserver", args::apiserver(layout, &state))?;
    progress.done("etcd and API server started");
    if let Some(node) = &parts.node {
        own_images(layout, parts, node)?;
        progress.done("containerd has the cluster's own images");
    }
    wait(layout, "the API server", || {
        cmd::output(kubectl(layout, parts).args(["get", "--raw=/readyz"])).map(drop)
    })?;
    progress.done("API server ready");
    run(
        "kube-controller-manager",
        args::controller_manager(layout, &state),
    )?;
    if let Some(node_parts) = &parts.node {
        run("kube-scheduler", args::scheduler(layout))?;
        policy::objects(layout, parts, node_parts)?;
        // Before the first pod: what runs without the agent is open.
        policy::switch(layout, &state, node_parts, policy)?;
        progress.done(match policy {
            Policy::Enforced => "NetworkPolicies are enforced",
            Policy::Ignored => "NetworkPolicies are not enforced",
        });
        let env = [("PATH", node_path(&node_parts.runtime))];
        let node = |name: &str, args: Vec<String>| -> Result<()> {
            Program::new(layout, name).start(&parts.kubernetes.program(name), &args, &env)
        };
        node("kubelet", args::kubelet(layout, &state)?)?;
        node("kube-proxy", args::proxy(layout, &state)?)?;
        addons::apply(layout, &state, parts)?;
        progress.done("controllers, kubelet and kube-proxy started");
        wait(layout, "the node", || {
            let ready = format!("node/{NODE}");
            let mut command = kubectl(layout, parts);
            command.args(["wait", "--for=condition=Ready", "--timeout=5s", &ready]);
            cmd::output(&mut command).map(drop)
        })?;
        progress.done("node ready");
    }
    wait(layout, "the service account controller", || {
        cmd::output(kubectl(layout, parts).args(["get", "serviceaccount", "default"])).map(drop)
    })?;
    if parts.node.is_some() {
        wait(layout, "the name service", || {
            let mut command = kubectl(layout, parts);
            command.args(["-n", "kube-system", "rollout", "status", "--timeout=5s"]);
            cmd::output(command.arg("deployment/coredns")).map(drop)
        })?;
        progress.done("name service ready");
    }
    state.complete = true;
    layout.save(&state)?;
    progress.done("up");
    Ok(())
}

/// Chooses addresses and ports, and notes what `down` puts back.
fn record(layout: &Layout, parts: &Parts) -> Result<State> {
    let loopback = Addresses::loopback();
    let addresses = match layout.tier {
        Tier::Node => net::choose(&net::taken()?)?,
        Tier::Api => loopback.clone(),
    };
    // The node's address is not there yet and nobody else's: its ports are
    // free.
    let (api, kubelet) = match layout.tier {
        Tier::Node => (6443, 10250),
        Tier::Api => (net::free_port(addresses.node, 0)?, 0),
    };
    let ports = Ports {
        api,
        kubelet,
        etcd: net::free_port(loopback.node, 0)?,
        proxy_health: net::free_port(loopback.node, 0)?,
        proxy_metrics: net::free_port(loopback.node, 0)?,
        policy_health: net::free_port(loopback.node, 0)?,
    };
    let (absent, sysctls) = match layout.tier {
        Tier::Node => (down::absent_folders(), down::read_sysctls()),
        Tier::Api => (Vec::new(), Vec::new()),
    };
    Ok(State {
        build: parts.key(layout),
        addresses,
        ports,
        absent,
        sysctls,
        complete: false,
    })
}

/// The node's address needs an interface of its own: it must not be the
/// loopback, and the machine's own address may change. Not every kernel has
/// dummy devices; a bridge without ports carries an address as well.
fn interface(state: &State) -> Result<()> {
    let address = format!("{}/32", state.addresses.node);
    let ip = |args: &[&str]| cmd::output(cmd::command("ip").args(args));
    ip(&["link", "add", INTERFACE, "type", "bridge"])?;
    ip(&["address", "add", &address, "dev", INTERFACE])?;
    ip(&["link", "set", INTERFACE, "up"])?;
    Ok(())
}

/// The search path of the node's programs.
pub fn node_path(runtime: &Runtime) -> String {
    format!(
        "{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        runtime.path()
    )
}

fn containerd(layout: &Layout, state: &State, node: &NodeParts) -> Result<()> {
    let NodeParts {
        calico, runtime, ..
    } = node;
    let config = layout.config();
    let cni_bin = layout.run().join("cni-bin");
    let cni_conf = config.join("cni");
    fs::create_dir_all(&cni_bin)?;
    let plugins = cache::files(&runtime.plugins())?;
    for plugin in plugins.into_iter().chain([calico.program("calico")]) {
        if let Some(name) = plugin.file_name() {
            symlink(&plugin, cni_bin.join(name)).context("failed to link a network plugin")?;
        }
    }
    let shown = |path: PathBuf| path.display().to_string();
    let values = [
        ("state", shown(layout.state.clone())),
        ("run", shown(layout.run())),
        ("containerd_socket", shown(layout.containerd_socket())),
        ("pause_image", load::PAUSE.to_owned()),
        ("snapshotter", snapshotter(&layout.state)?.to_owned()),
        ("runc", shown(runtime.runc())),
        ("cni_bin", shown(cni_bin)),
        ("cni_conf", shown(cni_conf.clone())),
        ("network", NETWORK.to_owned()),
        ("node", NODE.to_owned()),
        ("logs", shown(layout.logs())),
        ("kubeconfigs", shown(layout.kubeconfigs())),
        ("pod_cidr", state.addresses.pods.to_string()),
    ];
    let network = template::read("config/cni.conflist", &values)?;
    write(&cni_conf.join("10-oarmaster.conflist"), network.as_bytes())?;
    let path = config.join("containerd.toml");
    write(
        &path,
        template::read("config/containerd.toml", &values)?.as_bytes(),
    )?;
    let env = [
        ("PATH", node_path(runtime)),
        ("LD_LIBRARY_PATH", runtime.libraries()?),
    ];
    let args = ["--config".to_owned(), shown(path)];
    Program::new(layout, "containerd").start(&runtime.containerd(), &args, &env)
}

/// An overlay cannot lie on an overlay, as inside another container.
fn snapshotter(state: &Path) -> Result<&'static str> {
    const OVERLAYFS_SUPER_MAGIC: i64 = 0x794c_7630;
    let found = rustix::fs::statfs(state)
        .with_context(|| format!("failed to look at {}", state.display()))?;
    let kernel = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let known = kernel
        .lines()
        .any(|line| line.trim_end().ends_with("\toverlay"));
    let stacked = found.f_type == OVERLAYFS_SUPER_MAGIC;
    Ok(if known && !stacked {
        "overlayfs"
    } else {
        "native"
    })
}

fn own_images(layout: &Layout, parts: &Parts, node: &NodeParts) -> Result<()> {
    wait(layout, "containerd", || {
        cmd::output(load::ctr(layout, &node.runtime).arg("version")).map(drop)
    })?;
    let images = load::own_images(&parts.kubernetes, &node.coredns)?;
    load::load(layout, &node.runtime, &images).map(drop)
}

/// kubectl as the administrator.
pub fn kubectl(layout: &Layout, parts: &Parts) -> Command {
    let mut command = cmd::command(parts.kubernetes.program("kubectl"));
    command
        .arg("--kubeconfig")
        .arg(layout.kubeconfig())
        .arg("--request-timeout=20s");
    command
}

/// Asks until it answers. A program that ended fails the wait at once.
pub fn wait(layout: &Layout, what: &str, mut ask: impl FnMut() -> Result<()>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let Err(error) = ask() else {
            return Ok(());
        };
        for program in Program::all(layout)? {
            program.must_run()?;
        }
        if Instant::now() >= deadline {
            return Err(error).with_context(|| {
                format!(
                    "{what} did not become ready within {} s; look into {}",
                    PATIENCE.as_secs(),
                    layout.logs().display()
                )
            });
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
