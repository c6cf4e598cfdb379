//! `cargo xtask demo down`.

use std::path::Path;

use anyhow::Result;

use crate::cluster::{self, Target};
use crate::cmd::{self, Progress};
use crate::demo::{NAMESPACE, RELEASE, helm, kubectl};

/// Removes everything: the local cluster as a whole; from a cluster of the user's, what the demo installed.
pub fn run() -> Result<()> {
    match cluster::target()? {
        Target::External(kubeconfig) => external(&kubeconfig),
        Target::Local | Target::None(_) => cmd::pass(cmd::this_program().args(["cluster", "down"])),
    }
}

fn external(kubeconfig: &Path) -> Result<()> {
    let mut progress = Progress::start();
    // Tasks first: the operator, which still runs, ends what they have at the gateway.
    cmd::output(kubectl(kubeconfig)?.args([
        "delete",
        "namespace",
        NAMESPACE,
        "--ignore-not-found",
        "--timeout=3m",
    ]))?;
    progress.done("the demo's namespace is deleted");
    for chart in ["oarmaster", "oarmaster-crds"] {
        cmd::output(helm(kubeconfig)?.args([
            "uninstall",
            chart,
            "--namespace",
            RELEASE,
            "--ignore-not-found",
            "--wait",
            "--timeout=3m",
        ]))?;
    }
    progress.done("the charts are uninstalled");
    cmd::output(kubectl(kubeconfig)?.args([
        "delete",
        "namespace",
        RELEASE,
        "--ignore-not-found",
        "--timeout=3m",
    ]))?;
    progress.done("the release's namespace is deleted");
    println!(
        "The definitions stay: deleting them deletes every Agent and Task of the cluster. If that is what you want:
  kubectl delete crd agents.oarmaster.dev approvals.oarmaster.dev budgets.oarmaster.dev modelpools.oarmaster.dev modelproviders.oarmaster.dev sandboxclasses.oarmaster.dev tasks.oarmaster.dev workflows.oarmaster.dev"
    );
    Ok(())
}
