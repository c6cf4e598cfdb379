//! Images into the cluster's containerd: nothing can be pulled.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::cache::{self, Key};
use crate::cluster::debian::Runtime;
use crate::cluster::go::Built;
use crate::cluster::layout::Layout;
use crate::cmd;
use crate::images::archive::{self, Entry, Image};

/// The image that holds a pod's namespaces.
pub const PAUSE: &str = "docker.io/oarmaster/pause:local";
/// The name service.
pub const COREDNS: &str = "docker.io/oarmaster/coredns:local";

/// containerd's own client, in the kubelet's namespace.
pub fn ctr(layout: &Layout, runtime: &Runtime) -> Command {
    let mut command = cmd::command(runtime.ctr());
    command
        .arg("--address")
        .arg(layout.containerd_socket())
        .args(["--namespace", "k8s.io"]);
    command
}

/// The archives of the cluster's own images, made once.
pub fn own_images(kubernetes: &Built, coredns: &Built) -> Result<Vec<PathBuf>> {
    [
        (PAUSE, kubernetes.program("pause"), &kubernetes.key),
        (COREDNS, coredns.program("coredns"), &coredns.key),
    ]
    .into_iter()
    .map(|(name, program, build)| single(name, &program, build))
    .collect()
}

/// An image of one static program and nothing else.
fn single(name: &str, program: &Path, build: &str) -> Result<PathBuf> {
    let key = Key::default()
        .add("name", name.as_bytes())
        .add("build", build.as_bytes())
        .add("format", archive::FORMAT.as_bytes())
        .finish();
    let folder = cache::once(&format!("images/{key}"), |into| {
        let entries = [Entry::program("usr/local/bin/program", program)?];
        let image = Image {
            name: name.to_owned(),
            entrypoint: vec!["/usr/local/bin/program".to_owned()],
            user: "65532:65532".to_owned(),
            ..Image::default()
        };
        archive::write(&into.join("image.tar"), &image, &entries)
    })?;
    Ok(folder.join("image.tar"))
}

/// Imports those archives that the cluster does not have as they are; answers
/// the names of the new ones.
pub fn load(layout: &Layout, runtime: &Runtime, archives: &[PathBuf]) -> Result<Vec<String>> {
    let listed = cmd::output(ctr(layout, runtime).args(["images", "list"]))?;
    let known = digests(&listed);
    let mut loaded = Vec::new();
    for path in archives {
        let content = archive::read(path)?;
        // The kubelet's side of containerd also lists each image under the
        // digest of its configuration.
        let config = known.get(format!("sha256:{}", content.config).as_str());
        let there = content
            .names
            .iter()
            .all(|name| config.is_some() && known.get(name.as_str()) == config);
        if there {
            continue;
        }
        cmd::output(ctr(layout, runtime).args(["images", "import"]).arg(path))
            .with_context(|| format!("failed to load {}", path.display()))?;
        loaded.extend(content.names);
    }
    Ok(loaded)
}

/// Name and digest of each line that `ctr images list` prints.
fn digests(listed: &str) -> BTreeMap<&str, &str> {
    listed
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next()?;
            Some((name, words.nth(1)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listing_is_read() {
        let listed = "REF TYPE DIGEST SIZE PLATFORMS LABELS\n\
            docker.io/x/y:1 application/vnd.docker sha256:aa 1.3 MiB linux/amd64 -\n\
            sha256:cc application/vnd.docker sha256:aa 1.3 MiB linux/amd64 -\n";
        let known = digests(listed);
        assert_eq!(known.get("docker.io/x/y:1"), Some(&"sha256:aa"));
        assert_eq!(known.get("docker.io/x/y:1"), known.get("sha256:cc"));
        assert_eq!(known.len(), 2);
    }
}
