//! Images and charts.

use anyhow::{Context as _, Result};

use crate::cache::checkout;
use crate::cmd;
use crate::demo::{Place, RELEASE, helm, kubectl};

/// Builds the images, and loads or pushes them. Answers what was said about it: which images are new to the local cluster.
pub fn images(place: &Place) -> Result<String> {
    let mut command = cmd::this_program();
    command.arg("images");
    match &place.registry {
        None => command.arg("--load"),
        Some(registry) => command.args(["--push", registry]),
    };
    command.current_dir(checkout());
    cmd::tee(&mut command)
}

/// Installs both charts and waits until everything is ready.
pub fn charts(place: &Place, fresh: &str) -> Result<()> {
    for chart in ["oarmaster-crds", "oarmaster"] {
        let mut command = helm(&place.kubeconfig)?;
        command.args(["upgrade", "--install", chart, &format!("charts/{chart}")]);
        command.args(["--namespace", RELEASE, "--create-namespace"]);
        if let (Some(registry), "oarmaster") = (&place.registry, chart) {
            let allow =
                format!("sandboxClass.spec.images.allow={{docker.io/library/*,{registry}/*}}");
            let registry = format!("images.registry={registry}");
            command.args([
                "--set",
                &registry,
                "--set",
                &allow,
                "--set",
                "images.pullPolicy=Always",
            ]);
        }
        command.current_dir(checkout());
        cmd::output(&mut command).with_context(|| format!("failed to install chart {chart}"))?;
    }
    for (image, workload) in [
        ("operator", "deployment/oarmaster-operator"),
        ("gateway", "statefulset/oarmaster-gateway"),
        ("webhook", "deployment/oarmaster-webhook"),
        ("runner", "deployment/oarmaster-pilots"),
    ] {
        // The tag is the version, so that helm sees no difference in an image that was built anew.
        if place.registry.is_some() || fresh.contains(&format!("loaded {}", place.image(image))) {
            rollout(place, &["restart", workload])?;
        }
        rollout(place, &["status", workload, "--timeout=3m"]).inspect_err(|_| show(place))?;
    }
    Ok(())
}

fn rollout(place: &Place, args: &[&str]) -> Result<()> {
    let mut command = kubectl(&place.kubeconfig)?;
    command.args(["-n", RELEASE, "rollout"]).args(args);
    cmd::output(&mut command).map(|_| ()).with_context(|| {
        format!(
            "Oarmaster does not get ready; more of what its pods say: kubectl --kubeconfig {} -n {RELEASE} describe pods",
            place.kubeconfig.display()
        )
    })
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
