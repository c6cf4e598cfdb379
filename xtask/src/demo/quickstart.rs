//! The quickstart: config/samples/quickstart in a namespace, watched to its end.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cache::checkout;
use crate::cmd;
use crate::demo::{NAMESPACE, Place, RELEASE, kubectl};

/// The Task of the samples.
const TASK: &str = "fix-summary";
/// The sandbox image of the samples, which a cluster pulls from Docker Hub.
const SAMPLE_IMAGE: &str = "image: python:3.12-slim";

/// A ServiceAccount whose token the gateway is shown: the administrator's kubeconfig has a certificate only.
const ACCOUNT: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: demo}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: oar, namespace: demo}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: oar, namespace: demo}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: oarmaster-view}
subjects: [{kind: ServiceAccount, name: oar, namespace: demo}]
";

/// Applies the samples. A Task runs once, so that of an earlier demo is deleted first.
pub fn apply(place: &Place) -> Result<()> {
    cmd::output_with(
        kubectl(&place.kubeconfig)?.args(["apply", "-f", "-"]),
        ACCOUNT,
    )?;
    cmd::output(kubectl(&place.kubeconfig)?.args([
        "-n",
        NAMESPACE,
        "delete",
        &format!("tasks.oarmaster.dev/{TASK}"),
        "--ignore-not-found",
        "--timeout=60s",
    ]))?;
    let folder = checkout().join("config/samples/quickstart");
    let samples = samples(&folder, &place.image("python"))?;
    cmd::output_with(
        kubectl(&place.kubeconfig)?.args(["-n", NAMESPACE, "apply", "-f", "-"]),
        &samples,
    )
    .context("failed to apply config/samples/quickstart")?;
    Ok(())
}

/// The YAML files of a folder in order of their names, as one stream, with the sandbox image that `cargo xtask images` made.
fn samples(folder: &Path, image: &str) -> Result<String> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .with_context(|| format!("failed to list {}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "yaml")
    });
    paths.sort();
    let mut all = String::new();
    for path in paths {
        all.push_str("---\n");
        all.push_str(
            &fs::read_to_string(&path)
                .with_context(|| format!("failed to read {}", path.display()))?,
        );
    }
    if !all.contains(SAMPLE_IMAGE) {
        bail!("the samples have no `{SAMPLE_IMAGE}`");
    }
    Ok(all.replace(SAMPLE_IMAGE, &format!("image: {image}")))
}

/// Shows the Task live. An error when it does not become Complete.
pub fn watch(place: &Place, oar: &Path) -> Result<()> {
    println!();
    let mut command = Command::new(oar);
    command.args(["get", TASK, "--watch", "-n", NAMESPACE]);
    command.env("KUBECONFIG", &place.kubeconfig);
    command.env("OAR_TOKEN_FROM", format!("{NAMESPACE}/oar"));
    let done = cmd::pass(&mut command);
    println!();
    done.context("the demo's Task did not become Complete; its transcript is above")
}

/// What the cluster says.
pub fn table(place: &Place) -> Result<()> {
    println!("\n$ kubectl get otask -n {NAMESPACE} -o wide");
    cmd::pass(kubectl(&place.kubeconfig)?.args([
        "get",
        "tasks.oarmaster.dev",
        "-n",
        NAMESPACE,
        "-o",
        "wide",
    ]))
}

/// How to go on.
pub fn next(place: &Place, oar: &Path) {
    let env = if place.registry.is_none() {
        "eval \"$(cargo xtask cluster env)\"      # kubectl, helm, KUBECONFIG".to_owned()
    } else {
        format!("export KUBECONFIG={}", place.kubeconfig.display())
    };
    let folder = oar.parent().unwrap_or(oar).display();
    println!(
        "
To look further, in this shell:
  {env}
  export PATH={folder}:$PATH OAR_TOKEN_FROM={NAMESPACE}/oar
  kubectl get oarmaster -A
  kubectl describe otask {TASK} -n {NAMESPACE}
  oar logs {TASK} -n {NAMESPACE} --full
  oar result {TASK} -n {NAMESPACE}

To repair a program of yours (a folder with Python modules and their unittest files):
  oar run python-fixer -n {NAMESPACE} --files ./my-program --watch
The model of the demo is a script: it tries small changes until the tests pass. What it can repair:
config/samples/quickstart/README.md

To let a real model do it (README.md, \"A real model\"):
  kubectl create secret generic openai -n {NAMESPACE} --from-literal=api-key=...
  kubectl create rolebinding oarmaster-gateway-keys -n {NAMESPACE} --clusterrole=oarmaster-gateway-keys \\
    --serviceaccount={RELEASE}:oarmaster-gateway
  kubectl apply -n {NAMESPACE} -f config/samples/real-model/

To remove everything: make demo-down"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_are_one_stream_with_the_image_of_the_cluster() {
        let folder = checkout().join("config/samples/quickstart");
        let local = samples(&folder, "example.com/python:1").unwrap();
        assert!(local.contains("image: example.com/python:1") && !local.contains(SAMPLE_IMAGE));
        let kinds: Vec<&str> = local
            .lines()
            .filter_map(|line| line.strip_prefix("kind: "))
            .collect();
        assert_eq!(kinds, ["ModelProvider", "ModelPool", "Agent", "Task"]);
        assert!(local.contains(&format!("name: {TASK}")));
        assert!(!local.contains("namespace:"));
    }
}
