//! `cargo xtask demo`: from a checkout to an agent that repairs a program, in a cluster. Safe to run twice.

mod down;
mod install;
mod quickstart;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::cluster::{self, Policy, Target};
use crate::cmd::{self, Progress};

/// Namespace of the release.
const RELEASE: &str = "oarmaster-system";
/// Namespace of the demo.
const NAMESPACE: &str = "demo";

/// `cargo xtask demo`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Action>,
    /// With KUBECONFIG set: where the images are pushed to, and pulled from by the cluster
    #[arg(long, env = "OARMASTER_REGISTRY")]
    registry: Option<String>,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Remove everything that the demo made
    Down,
}

/// The cluster of the demo.
struct Place {
    kubeconfig: PathBuf,
    /// Where images come from; none: they are loaded into the local cluster.
    registry: Option<String>,
}

impl Place {
    /// The full name of one of the images that `cargo xtask images` makes.
    fn image(&self, name: &str) -> String {
        let registry = self.registry.as_deref().unwrap_or("docker.io/oarmaster");
        format!("{registry}/{name}:{}", env!("CARGO_PKG_VERSION"))
    }
}

/// Runs the command.
pub fn run(args: Args) -> Result<ExitCode> {
    let Args { command, registry } = args;
    match command {
        Some(Action::Down) => down::run()?,
        None => up(registry)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn up(registry: Option<String>) -> Result<()> {
    let mut progress = Progress::start();
    let place = place(registry)?;
    progress.done("cluster is up");
    let oar = oar()?;
    progress.done("oar is built");
    let fresh = install::images(&place)?;
    progress.done("images are built and where the cluster finds them");
    install::charts(&place, &fresh)?;
    progress.done("Oarmaster is installed with Helm");
    quickstart::apply(&place)?;
    progress.done("provider, pool, agent and task are applied");
    let done = quickstart::watch(&place, &oar);
    progress.done("the task has ended");
    quickstart::table(&place)?;
    done?;
    quickstart::next(&place, &oar);
    Ok(())
}

fn place(registry: Option<String>) -> Result<Place> {
    match cluster::target()? {
        Target::Local => Ok(Place {
            kubeconfig: cluster::ensure(Policy::Enforced)
                .context("failed to start the local cluster; `cargo xtask cluster down` cleans up, then try again")?,
            registry: None,
        }),
        Target::External(kubeconfig) => {
            let Some(registry) = registry else {
                bail!(
                    "KUBECONFIG names a cluster of yours, which needs the images from a registry that it can reach: \
                     set OARMASTER_REGISTRY=registry.example.com/oarmaster (or --registry) and be logged in there; \
                     unset KUBECONFIG to use the local cluster instead"
                );
            };
            Ok(Place {
                kubeconfig,
                registry: Some(registry),
            })
        }
        Target::None(missing) => bail!(
            "this machine cannot run pods: {missing}\nSet KUBECONFIG to a cluster that runs (kind, for example), and \
             OARMASTER_REGISTRY to a registry that it can reach"
        ),
    }
}

/// Builds the command line; answers where it is.
fn oar() -> Result<PathBuf> {
    let mut command = cmd::cargo();
    command.args(["build", "--package", "oarmaster-cli"]);
    cmd::pass(&mut command)?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| crate::cache::checkout().join("target"), PathBuf::from);
    Ok(target.join("debug/oar"))
}

/// kubectl for the demo's cluster.
fn kubectl(kubeconfig: &Path) -> Result<Command> {
    let mut command = cluster::kubectl()?;
    command.env("KUBECONFIG", kubeconfig);
    Ok(command)
}

/// helm for the demo's cluster.
fn helm(kubeconfig: &Path) -> Result<Command> {
    let mut command = cluster::helm()?;
    command.env("KUBECONFIG", kubeconfig);
    Ok(command)
}
