//! Images and charts.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::cache::checkout;
use crate::cmd;
use crate::demo::{Place, RELEASE, helm, kubectl};

/// Builds the images, and loads or pushes them.
pub fn images(place: &Place) -> Result<()> {
    let mut command = Command::new(std::env::current_exe().context("failed to find this program")?);
    command.arg("images");
    match &place.registry {
        None => command.arg("--load"),
        Some(registry) => command.args(["--push", registry]),
    };
    command.current_dir(checkout());
    cmd::pass(&mut command)
}

/// Installs both charts and waits until everything is ready.
pub fn charts(place: &Place) -> Result<()> {
    for chart in ["oarmaster-crds", "oarmaster"] {
        let mut command = helm(&place.kubeconfig)?;
        command.args(["upgrade", "--install", chart, &format!("charts/{chart}")]);
        command.args(["--namespace", RELEASE, "--create-namespace"]);
        command.args(["--wait", "--timeout", "5m"]);
        if let (Some(registry), "oarmaster") = (&place.registry, chart) {
            command.args(["--set", &format!("images.registry={registry}")]);
            // The class allows the images of the language that the agent uses.
            command.args([
                "--set",
                &format!("sandboxClass.spec.images.allow={{docker.io/library/*,{registry}/*}}"),
            ]);
        }
        command.current_dir(checkout());
        if let Err(error) = cmd::output(&mut command) {
            show(place);
            return Err(error.context(format!(
                "failed to install chart {chart}; what the pods say: kubectl --kubeconfig {} -n {RELEASE} describe pods",
                place.kubeconfig.display()
            )));
        }
    }
    restart(place)
}

/// A tag that is built anew keeps its name, so that pods which run already would keep the old image.
fn restart(place: &Place) -> Result<()> {
    for workload in [
        "deployment/oarmaster-operator",
        "statefulset/oarmaster-gateway",
    ] {
        let mut command = kubectl(&place.kubeconfig)?;
        command.args(["-n", RELEASE, "rollout", "status", workload, "--timeout=3m"]);
        cmd::output(&mut command).inspect_err(|_| show(place))?;
    }
    Ok(())
}

/// What runs and what happened, for the person who has to find out.
fn show(place: &Place) {
    for args in [
        vec!["-n", RELEASE, "get", "pods", "-o", "wide"],
        vec!["-n", RELEASE, "get", "events", "--sort-by=.lastTimestamp"],
        vec![
            "-n",
            RELEASE,
            "logs",
            "-l",
            "app.kubernetes.io/name=oarmaster",
            "--tail=20",
            "--prefix",
        ],
    ] {
        let Ok(mut command) = kubectl(&place.kubeconfig) else {
            return;
        };
        // The error that led here is the one that counts.
        if let Ok(text) = cmd::output(command.args(args)) {
            eprintln!("{text}");
        }
    }
}
