//! A real one-node Kubernetes on this machine, from Go modules and Debian
//! packages. The sources it is built from are in `e2e/cluster`.

mod addons;
mod args;
mod cgroups;
mod check;
mod debian;
mod down;
mod go;
mod iptables;
mod layout;
mod load;
mod measured;
mod net;
mod pki;
mod policy;
mod process;
mod template;
mod toolchain;
mod up;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;

use crate::cache;
use crate::cluster::debian::Runtime;
use crate::cluster::layout::{Layout, Tier};
pub use crate::cluster::measured::{Measured, measured};
pub use crate::cluster::policy::Policy;
use crate::cluster::process::Program;
use crate::cmd;

/// The exit code that tells a machine that cannot run pods from a failure.
pub const CANNOT: u8 = 3;

/// `cargo xtask cluster`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Start the cluster; does nothing if it runs
    Up {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        kind: Kind,
        /// The API server is as that of the oldest Kubernetes that is supported
        #[arg(long, requires = "api_only")]
        oldest: bool,
    },
    /// Stop the cluster and remove everything it made
    Down(Which),
    /// Print what runs; fails unless the cluster is complete
    Status(Which),
    /// Print the path of the administrator's kubeconfig
    Kubeconfig(Which),
    /// Print shell commands that put kubectl, helm and the kubeconfig in place
    Env(Which),
    /// Import image archives (docker-archive) into the node
    Load {
        /// The archives
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// Tell whether this machine can run pods; exit code 3 if not
    Check(Kind),
    /// Compile and download everything that the cluster needs, start nothing
    Build(Which),
}

#[derive(clap::Args, Clone, Copy)]
struct Which {
    /// Only etcd, API server and controllers; needs no rights
    #[arg(long)]
    api_only: bool,
}

impl Which {
    fn layout(self) -> Result<Layout> {
        Layout::of(if self.api_only { Tier::Api } else { Tier::Node })
    }
}

#[derive(clap::Args, Clone, Copy)]
struct Kind {
    /// NetworkPolicies are stored and not enforced; a cluster that runs is
    /// switched and keeps its objects
    #[arg(long)]
    no_policy: bool,
}

impl Kind {
    fn policy(self) -> Policy {
        if self.no_policy {
            Policy::Ignored
        } else {
            Policy::Enforced
        }
    }
}

/// Runs the command.
pub fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Action::Up {
            which,
            kind,
            oldest,
        } => up(
            &Layout {
                oldest,
                ..which.layout()?
            },
            kind.policy(),
        ),
        Action::Down(which) => down(&which.layout()?),
        Action::Status(which) => status(&which.layout()?),
        Action::Kubeconfig(which) => {
            println!("{}", running(&which.layout()?)?.kubeconfig().display());
            Ok(ExitCode::SUCCESS)
        }
        Action::Env(which) => env(&which.layout()?),
        Action::Load { archives } => {
            for name in load(&archives)? {
                println!("loaded {name}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Action::Check(kind) => Ok(check(kind.policy())),
        Action::Build(which) => {
            let layout = which.layout()?;
            up::parts(layout.tier)?;
            if layout.tier == Tier::Node {
                go::helm()?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The cluster that demo and tests use.
#[derive(Debug)]
pub enum Target {
    /// The one that `cluster up` makes on this machine.
    Local,
    /// A running one that KUBECONFIG names.
    External(PathBuf),
    /// None: KUBECONFIG is not set and this machine cannot run pods.
    None(String),
}

/// Decides by KUBECONFIG, else by what this machine can do. A KUBECONFIG that
/// does not answer is an error, not a reason to use another cluster.
pub fn target() -> Result<Target> {
    let local = Layout::of(Tier::Node)?.kubeconfig();
    if let Some(path) = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty()) {
        if path == *local.as_os_str() {
            return Ok(Target::Local);
        }
        let mut command = kubectl()?;
        command.args(["get", "--raw=/readyz", "--request-timeout=5s"]);
        cmd::output(&mut command).with_context(|| {
            format!(
                "the cluster of KUBECONFIG={} does not answer; unset it to use the local cluster",
                path.display()
            )
        })?;
        return Ok(Target::External(PathBuf::from(path)));
    }
    let missing = check::node(Policy::Enforced);
    Ok(if missing.is_empty() {
        Target::Local
    } else {
        Target::None(missing.join("; "))
    })
}

/// The kubectl that was built with the cluster, without a kubeconfig.
pub fn kubectl() -> Result<Command> {
    Ok(cmd::command(go::kubernetes()?.program("kubectl")))
}

/// Helm.
pub fn helm() -> Result<Command> {
    Ok(cmd::command(go::helm()?.program("helm")))
}

/// What says how Argo CD and kstatus see objects of ours, by their own code.
pub fn gitops() -> Result<Command> {
    Ok(cmd::command(go::gitops()?.program("gitops")))
}

/// promtool.
pub fn promtool() -> Result<Command> {
    Ok(cmd::command(go::promtool()?.program("promtool")))
}

/// Starts the local cluster unless it runs, and makes it one of this kind.
pub fn ensure(policy: Policy) -> Result<PathBuf> {
    let layout = Layout::of(Tier::Node)?;
    up::up(&layout, policy)?;
    Ok(layout.kubeconfig())
}

/// Imports image archives; answers the names of those that were not there.
pub fn load(archives: &[PathBuf]) -> Result<Vec<String>> {
    let layout = running(&Layout::of(Tier::Node)?)?;
    load::load(&layout, &Runtime::get()?, archives)
}

fn up(layout: &Layout, policy: Policy) -> Result<ExitCode> {
    if layout.tier == Tier::Node && check(policy) != ExitCode::SUCCESS {
        return Ok(ExitCode::from(CANNOT));
    }
    up::up(layout, policy)?;
    let tier = if layout.tier == Tier::Api {
        " --api-only"
    } else {
        ""
    };
    println!("to use it: eval \"$(cargo xtask cluster env{tier})\"");
    Ok(ExitCode::SUCCESS)
}

fn down(layout: &Layout) -> Result<ExitCode> {
    let _lock = cache::lock(layout.lock())?;
    if !down::remains(layout)? {
        println!("nothing to remove");
        return Ok(ExitCode::SUCCESS);
    }
    if layout.tier == Tier::Node && !rustix::process::geteuid().is_root() {
        bail!("the cluster was started as root; run again with sudo");
    }
    let mut progress = cmd::Progress::start();
    down::down(layout)?;
    progress.done("down");
    Ok(ExitCode::SUCCESS)
}

fn check(policy: Policy) -> ExitCode {
    let missing = check::node(policy);
    if missing.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("this machine cannot run pods:");
    for reason in missing {
        eprintln!("- {reason}");
    }
    eprintln!(
        "Or set KUBECONFIG to a cluster that runs, kind for example. The API server alone runs \
         here: cargo xtask cluster up --api-only"
    );
    ExitCode::from(CANNOT)
}

fn status(layout: &Layout) -> Result<ExitCode> {
    let Some(state) = layout.load()? else {
        println!("down");
        return Ok(ExitCode::FAILURE);
    };
    let mut complete = state.complete;
    for program in Program::all(layout)? {
        let running = program.running();
        complete &= running.is_some();
        let said = running.map_or_else(|| "ended".to_owned(), |mark| format!("pid {}", mark.pid));
        println!("{:24} {said}", program.name());
    }
    println!("{:24} {}", "node address", state.addresses.node);
    println!(
        "{:24} https://{}:{}",
        "API server", state.addresses.node, state.ports.api
    );
    println!("{:24} {}", "pods", state.addresses.pods);
    println!("{:24} {}", "services", state.addresses.services);
    if layout.tier == Tier::Node {
        let said = match Policy::now(layout) {
            Policy::Enforced => "enforced",
            Policy::Ignored => "not enforced",
        };
        println!("{:24} {said}", "NetworkPolicies");
    }
    println!("{:24} {}", "kubeconfig", layout.kubeconfig().display());
    println!("{:24} {}", "logs", layout.logs().display());
    println!(
        "{}",
        if complete {
            "up"
        } else {
            "incomplete; run `cargo xtask cluster up`"
        }
    );
    Ok(if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn env(layout: &Layout) -> Result<ExitCode> {
    let layout = running(layout)?;
    let folders = [go::kubernetes()?.folder, go::helm()?.folder];
    let folders: Vec<String> = folders
        .iter()
        .map(|folder| folder.display().to_string())
        .collect();
    println!("export KUBECONFIG='{}'", layout.kubeconfig().display());
    println!("export PATH='{}':\"$PATH\"", folders.join(":"));
    Ok(ExitCode::SUCCESS)
}

/// The same layout, if its cluster was brought up.
fn running(layout: &Layout) -> Result<Layout> {
    match layout.load()? {
        Some(state) if state.complete => Ok(layout.clone()),
        _ => bail!("the cluster is not up; run `cargo xtask cluster up`"),
    }
}
