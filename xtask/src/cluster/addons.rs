//! What the cluster holds from the start: name service and storage.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result};

use crate::cluster::args;
use crate::cluster::layout::{Layout, NODE, State};
use crate::cluster::load::COREDNS;
use crate::cluster::template;
use crate::cluster::up::{Parts, kubectl};
use crate::cmd;

/// The directories that claims get: one for a gateway, the rest for tests that
/// install another.
const VOLUMES: usize = 4;

/// Applies everything; gives released volumes back.
pub fn apply(layout: &Layout, state: &State, parts: &Parts) -> Result<()> {
    let servers: Vec<String> = args::upstream().iter().map(ToString::to_string).collect();
    let forward = if servers.is_empty() {
        String::new()
    } else {
        format!("forward . {}", servers.join(" "))
    };
    let values = [
        ("dns_ip", state.addresses.dns().to_string()),
        ("coredns_image", COREDNS.to_owned()),
        ("forward", forward),
    ];
    let mut objects = template::read("manifests/coredns.yaml", &values)?;
    objects.push_str("---\n");
    objects.push_str(&template::read("manifests/storage.yaml", &[])?);
    let released = released(layout, parts)?;
    for n in 1..=VOLUMES {
        let volume = format!("local-{n}");
        let path = layout.volumes().join(&volume);
        if released.contains(&volume) {
            let mut delete = kubectl(layout, parts);
            cmd::output(delete.args(["delete", "persistentvolume", &volume]))?;
            fs::remove_dir_all(&path)
                .with_context(|| format!("failed to empty {}", path.display()))?;
        }
        // Kubernetes gives the directory to the claim's group when it is
        // mounted; from then on it is left alone.
        if !path.is_dir() {
            fs::create_dir_all(&path)
                .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o770)))
                .with_context(|| format!("failed to create {}", path.display()))?;
        }
        let values = [
            ("volume", volume),
            ("volumes", layout.volumes().display().to_string()),
            ("node", NODE.to_owned()),
        ];
        objects.push_str("---\n");
        objects.push_str(&template::read("manifests/volume.yaml", &values)?);
    }
    let mut apply = kubectl(layout, parts);
    cmd::output_with(apply.args(["apply", "--filename=-"]), &objects)?;
    Ok(())
}

/// Volumes whose claim is gone: Kubernetes keeps them from the next claim.
fn released(layout: &Layout, parts: &Parts) -> Result<Vec<String>> {
    let format = "jsonpath={range .items[?(@.status.phase==\"Released\")]}{.metadata.name} {end}";
    let mut command = kubectl(layout, parts);
    let names = cmd::output(command.args(["get", "persistentvolumes", "--output", format]))?;
    Ok(names.split_whitespace().map(ToOwned::to_owned).collect())
}
