//! Images into a registry, through skopeo: a Debian package that needs no
//! engine and no service, and reads the login that docker and podman write.
//! What was built for two architectures becomes one image for both.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use crate::apt;
use crate::cmd;
use crate::images::{Built, index};

/// Copies each image to `<registry>/<name>:<tag>`.
pub fn push(images: &[Built], registry: &str, tag: &str) -> Result<()> {
    if cmd::find("skopeo").is_none() {
        apt::install(&["skopeo"]).context("pushing needs skopeo")?;
    }
    let mut by_name: BTreeMap<&str, Vec<&Built>> = BTreeMap::new();
    for image in images {
        by_name.entry(&image.short).or_default().push(image);
    }
    for (short, images) in by_name {
        let target = format!("{registry}/{short}:{tag}");
        let layout = tempfile::tempdir().context("failed to create a temporary folder")?;
        let source = match images.as_slice() {
            [image] => format!("docker-archive:{}", image.archive.display()),
            several => {
                index::write(layout.path(), tag, several)?;
                format!("oci:{}:{tag}", layout.path().display())
            }
        };
        let mut command = cmd::command("skopeo");
        // Without a policy file of the machine's own there is nothing to check
        // about an image that was just built here.
        command.args(["--insecure-policy", "copy", "--all"]);
        if local(registry) {
            command.arg("--dest-tls-verify=false");
        }
        command.arg(source);
        cmd::output(command.arg(format!("docker://{target}")))?;
        println!("pushed {target}");
    }
    println!("install with: --set images.registry={registry} --set images.tag={tag}");
    Ok(())
}

/// A registry on this machine speaks plain HTTP, as with every other client.
fn local(registry: &str) -> bool {
    let host = registry.split('/').next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn only_this_machine_is_spoken_to_without_tls() {
        assert!(local("localhost:5000/team"));
        assert!(local("127.0.0.1"));
        assert!(!local("registry.example.com/localhost"));
        assert!(!local("localhost.example.com:5000"));
    }
}
